//! What of it is put on record as findings, each once, and closed when it is over by itself.

use std::collections::{BTreeMap, BTreeSet};

use lienthong_audit::finding;
use lienthong_compliance::observed::Holding;
use lienthong_compliance::sign::agency_of;
use lienthong_compliance::{DayCount, News, Pair, day};
use lienthong_duty::dispute;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Finding, FindingClosed, FindingKind};
use lienthong_proto::lienthong::registry::v1::DisputeCause;
use time::Date;

use super::Examiner;
use crate::arbiter::Actor;
use crate::error::BrokerError;
use crate::limits::{COMPLIANCE_FINDINGS_AT_ONCE, COMPLIANCE_TOLD_MAX};
use crate::records::{Act, RECORDER, administration};
use crate::shelf::Shelf;

/// Kinds of findings that the examiner makes.
const KINDS: [FindingKind; 5] = [
    FindingKind::StaleData,
    FindingKind::InvalidCopy,
    FindingKind::ContractDrift,
    FindingKind::UndeclaredRefusal,
    FindingKind::CountsDiffer,
];

/// Nodes that one finding names.
const NODES_NAMED_MAX: usize = 8;

/// What was told, and stands.
#[derive(Debug, Default)]
pub(super) struct Told {
    open: BTreeMap<String, Finding>,
    /// Ids of findings that are over, or that somebody has closed: not told again.
    over: BTreeSet<String>,
}

impl Told {
    pub(super) async fn open(shelf: &Shelf) -> Result<Told, BrokerError> {
        let ours = |kind: FindingKind| KINDS.contains(&kind);
        let (found, _) = shelf
            .findings(None, COMPLIANCE_TOLD_MAX, |entry| {
                entry.closed.is_none() && entry.finding.as_ref().is_some_and(|one| ours(one.kind()))
            })
            .await?;
        let open = found.into_iter().filter_map(|entry| entry.finding).map(|one| (one.id.clone(), one));
        Ok(Told { open: open.collect(), over: BTreeSet::new() })
    }

    fn is_over(&mut self, id: String) {
        if self.over.len() >= COMPLIANCE_TOLD_MAX {
            self.over.clear();
        }
        self.over.insert(id);
    }
}

impl Examiner {
    /// Agencies of which a node runs another contract than the registered one, and why.
    pub async fn drifts(&self) -> BTreeMap<String, String> {
        let told = self.told.lock().await;
        let drifts = told.open.values().filter(|one| one.kind() == FindingKind::ContractDrift);
        drifts
            .filter_map(|one| Some((agency_of(one.nodes.first()?)?.to_owned(), one.detail.clone())))
            .collect()
    }

    /// Takes note that the contract which a node runs was refused, or taken: `why` it was refused.
    pub async fn published(&self, node: &str, why: Option<&str>) {
        let mut told = self.told.lock().await;
        let of_node = |one: &&Finding| {
            one.kind() == FindingKind::ContractDrift && one.nodes.iter().any(|of| of == node)
        };
        let open: Vec<Finding> = told.open.values().filter(of_node).cloned().collect();
        let (mut standing, mut over) = (Vec::new(), Vec::new());
        if let Some(why) = why {
            let detail = finding::detail(why);
            if open.iter().any(|one| one.detail == detail) {
                return;
            }
            let epoch = self.desk.steward.current().epoch();
            let about: [&[u8]; 3] = [node.as_bytes(), why.as_bytes(), &epoch.to_be_bytes()];
            standing.push(Finding {
                id: finding::id(FindingKind::ContractDrift, &about),
                kind: FindingKind::ContractDrift.into(),
                nodes: vec![node.to_owned()],
                detail,
                ..Finding::default()
            });
        } else {
            let reason = "the contract that the node runs is registered now";
            over.extend(open.into_iter().map(|one| (one.id, reason)));
        }
        if let Err(error) = self.settle(&mut told, standing, over).await {
            tracing::error!(%error, node, "a drift of a contract is not on record");
        }
    }

    /// Puts on record what is new, and closes what is over. `settled` is false for a moment after the start: what nodes
    /// have kept for the broker is not counted yet, so that nothing is late that only waits.
    pub(super) async fn tell(&self, news: Vec<News>, settled: bool) -> Result<(), BrokerError> {
        let mut told = self.told.lock().await;
        let (mut standing, mut over, mut acts) = (Vec::new(), Vec::new(), Vec::new());
        for one in news {
            match one {
                News::Stale { of, since_ms, lag_ms, allowed_ms } if settled => {
                    standing.push(self.stale(&of, since_ms, lag_ms, allowed_ms));
                }
                News::InvalidCopy { pair, alive_ms, allowed_ms } if settled => {
                    standing.push(self.invalid_copy(&pair, alive_ms, allowed_ms));
                }
                News::CountsDiffer { pair, day, count } => {
                    standing.push(self.counts_differ(&pair, day, count));
                }
                News::CountsAgree { pair, day } => {
                    over.push((counts_id(&pair, day), "the records that were missing have come"));
                }
                News::DayClosed { day, pairs, differing } => acts.push((
                    format!("days/{}", day::written(day)),
                    format!("{pairs} pairs of provider, dataset and consumer reconciled, {differing} differ"),
                )),
                News::Stale { .. } | News::InvalidCopy { .. } | News::Fresh { .. } => {}
            }
        }
        standing.extend(self.undeclared().await);
        let stands: BTreeSet<&str> = standing.iter().map(|one| one.id.as_str()).collect();
        for one in told.open.values().filter(|one| !stands.contains(one.id.as_str())) {
            match one.kind() {
                FindingKind::StaleData if settled => over.push((one.id.clone(), "the data flows again")),
                FindingKind::InvalidCopy if settled => over.push((one.id.clone(), "the copy was fed again")),
                FindingKind::UndeclaredRefusal => over.push((one.id.clone(), "its dispute has ended")),
                _ => {}
            }
        }
        self.settle(&mut told, standing, over).await?;
        for (resource, detail) in acts {
            let act = Act {
                actor: RECORDER,
                action: "compliance.reconcile",
                resource: &resource,
                detail: &detail,
                ..Act::default()
            };
            self.desk.ledger.record(vec![administration(act)]).await?;
        }
        Ok(())
    }

    fn stale(&self, (provider, dataset): &Holding, since_ms: i64, lag_ms: i64, allowed_ms: i64) -> Finding {
        let about: [&[u8]; 3] = [provider.as_bytes(), dataset.as_bytes(), &since_ms.to_be_bytes()];
        let detail = format!(
            "{provider} {dataset}: the last synchronisation was alive {} s ago, {} s are allowed (R-19)",
            lag_ms / 1_000,
            allowed_ms / 1_000
        );
        self.found(FindingKind::StaleData, &about, provider, dataset, &detail)
    }

    fn counts_differ(&self, pair: &Pair, day: Date, count: DayCount) -> Finding {
        let detail = format!(
            "{pair} on {}: the consumer has {} answered of {} exchanges on record, the provider {} of {} (R-52)",
            day::written(day),
            count.consumer_answered,
            count.consumer_all,
            count.provider_answered,
            count.provider_all
        );
        let found = self.found(FindingKind::CountsDiffer, &[], &pair.provider, &pair.dataset, &detail);
        Finding { id: counts_id(pair, day), ..found }
    }

    /// Refusals that nobody declared, as long as their disputes are open.
    async fn undeclared(&self) -> Vec<Finding> {
        let everything = Actor { name: RECORDER.to_owned(), agency: String::new(), sees_all: true };
        let disputes = self.desk.arbiter.disputes(&everything).await;
        let open = disputes
            .iter()
            .filter(|one| one.cause() == DisputeCause::UndeclaredRefusal && dispute::is_open(one));
        open.map(|one| {
            let what = one.events.first().map(|event| event.text.as_str()).unwrap_or_default();
            let detail = format!(
                "{} towards {} for {}: {what} ({})",
                one.provider, one.consumer, one.dataset, one.name
            );
            let about: [&[u8]; 1] = [one.name.as_bytes()];
            self.found(FindingKind::UndeclaredRefusal, &about, &one.provider, &one.dataset, &detail)
        })
        .collect()
    }

    fn invalid_copy(&self, pair: &Pair, alive_ms: i64, allowed_ms: i64) -> Finding {
        let of = pair.to_string();
        let detail = format!(
            "{} holds a copy of {} of {} that was last fed on {}; {} s are allowed (R-13)",
            pair.consumer,
            pair.dataset,
            pair.provider,
            day::written(day::of_ms(alive_ms)),
            allowed_ms / 1_000
        );
        let about: [&[u8]; 2] = [of.as_bytes(), &alive_ms.to_be_bytes()];
        self.found(FindingKind::InvalidCopy, &about, &pair.consumer, &pair.dataset, &detail)
    }

    /// A finding that the nodes of `agency` owe an explanation for.
    fn found(
        &self,
        kind: FindingKind,
        about: &[&[u8]],
        agency: &str,
        dataset: &str,
        detail: &str,
    ) -> Finding {
        let generation = self.desk.steward.current();
        let nodes = generation.catalog().nodes().iter().filter(|node| node.agency == agency);
        Finding {
            id: finding::id(kind, about),
            kind: kind.into(),
            nodes: nodes.map(|node| node.name.clone()).take(NODES_NAMED_MAX).collect(),
            dataset: dataset.to_owned(),
            detail: finding::detail(detail),
            ..Finding::default()
        }
    }

    async fn settle(
        &self,
        told: &mut Told,
        standing: Vec<Finding>,
        over: Vec<(String, &'static str)>,
    ) -> Result<(), BrokerError> {
        let mut opened = Vec::new();
        for one in standing {
            if opened.len() >= COMPLIANCE_FINDINGS_AT_ONCE {
                break;
            }
            if told.open.contains_key(&one.id) || told.over.contains(&one.id) {
                continue;
            }
            if self.desk.shelf.finding(&one.id).await?.is_some() {
                told.is_over(one.id);
                continue;
            }
            opened.push(one);
        }
        let ended: Vec<FindingClosed> = over
            .into_iter()
            .filter(|(id, _)| told.open.contains_key(id))
            .take(COMPLIANCE_FINDINGS_AT_ONCE)
            .map(|(id, reason)| FindingClosed {
                id,
                actor: RECORDER.to_owned(),
                reason: reason.to_owned(),
                via: String::new(),
            })
            .collect();
        if opened.is_empty() && ended.is_empty() {
            return Ok(());
        }
        let bodies = opened.iter().cloned().map(Body::Finding);
        let bodies = bodies.chain(ended.iter().cloned().map(Body::FindingClosed));
        self.desk.ledger.record(bodies.collect()).await?;
        for one in opened {
            tracing::warn!(id = one.id, kind = one.kind().as_str_name(), detail = one.detail, "finding");
            self.desk.metrics.finding(one.kind());
            told.open.insert(one.id.clone(), one);
        }
        for one in ended {
            told.open.remove(&one.id);
            told.is_over(one.id);
        }
        Ok(())
    }
}

/// The id of the finding that both sides have counted a day differently.
fn counts_id(pair: &Pair, day: Date) -> String {
    finding::id(FindingKind::CountsDiffer, &[pair.to_string().as_bytes(), day::written(day).as_bytes()])
}
