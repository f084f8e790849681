//! `DecisionService`: why a call was decided as it was, how it would be decided, and who can read what. Nodes decide;
//! this service only answers questions, a few at a time, away from the threads that serve nodes.

use std::sync::Arc;

use lienthong_audit::log::LogReader;
use lienthong_audit::record;
use lienthong_catalog::compile::{Published, compile};
use lienthong_catalog::inquiry::{self, Explanation, Outcome};
use lienthong_catalog::{Catalog, RightsIndex, SourceFile};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Exchange, PurposeSource, Record, Side};
use lienthong_proto::lienthong::catalog::v1::decision_service_server::DecisionService;
use lienthong_proto::lienthong::catalog::v1::explain_response::Inside;
use lienthong_proto::lienthong::catalog::v1::{
    Call, Decision, ExplainRequest, ExplainResponse, Judgement, Reader, WhatIfRequest, WhatIfResponse,
    WhoCanRequest, WhoCanResponse,
};
use lienthong_proto::reason::{Reason, ReasonInfo};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::access::Rpc;
use crate::door::Door;
use crate::generation::{self, Generation};
use crate::identity::Caller;
use crate::limits::{EXPLAIN_ENTRIES_MAX, QUESTIONS_AT_ONCE, REBUILD_ENTRIES_AT_ONCE, WHAT_IF_CALLS_MAX};
use crate::paging::Page;

/// The service.
#[derive(Clone, Debug)]
pub struct Decisions {
    door: Door,
    log: LogReader,
    at_once: Arc<Semaphore>,
}

impl Decisions {
    /// A service over the log.
    pub fn new(door: Door, log: LogReader) -> Self {
        Self { door, log, at_once: Arc::new(Semaphore::new(QUESTIONS_AT_ONCE)) }
    }

    /// Answers one question on a thread of its own.
    async fn answer<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let unavailable = || Status::unavailable("the broker is stopping; ask again");
        let place = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| unavailable())?;
        let answered = spawn_blocking(move || {
            let _place = place;
            work()
        });
        answered.await.map_err(|_| unavailable())?.map(Response::new)
    }
}

#[tonic::async_trait]
impl DecisionService for Decisions {
    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let guest = self.door.admit(Rpc::Explain, &request)?;
        let asked = Asked::read(&request.get_ref().decision)?;
        let log = self.log.clone();
        self.answer(move || explain(&log, &guest.generation, &guest.caller, &asked)).await
    }

    async fn what_if(&self, request: Request<WhatIfRequest>) -> Result<Response<WhatIfResponse>, Status> {
        let guest = self.door.admit(Rpc::WhatIf, &request)?;
        let WhatIfRequest { calls, files } = request.into_inner();
        if calls.len() > WHAT_IF_CALLS_MAX {
            return Err(Status::invalid_argument(format!(
                "{} calls; ask about at most {WHAT_IF_CALLS_MAX} at once",
                calls.len()
            )));
        }
        let files: Vec<SourceFile> =
            files.into_iter().map(|file| SourceFile { name: file.name, text: file.text }).collect();
        self.answer(move || what_if(&guest.generation, &calls, &files)).await
    }

    async fn who_can(&self, request: Request<WhoCanRequest>) -> Result<Response<WhoCanResponse>, Status> {
        let guest = self.door.admit(Rpc::WhoCan, &request)?;
        let asked = request.into_inner();
        let page = Page::read(asked.page_size, &asked.page_token)?;
        self.answer(move || who_can(&guest.generation, &guest.caller, &asked, &page)).await
    }
}

/// A decision that somebody asks about.
struct Asked {
    id: Uuid,
    side: Option<Side>,
    attempt: Option<u32>,
}

impl Asked {
    fn read(name: &str) -> Result<Self, Status> {
        let read = || {
            let mut parts = name.strip_prefix("decisions/")?.split('/');
            let id = Uuid::parse_str(parts.next()?).ok()?;
            let side = match parts.next() {
                None => None,
                Some("CONSUMER") => Some(Side::Consumer),
                Some("PROVIDER") => Some(Side::Provider),
                Some(_) => return None,
            };
            let attempt = parts.next().map(str::parse).transpose().ok()?;
            parts.next().is_none().then_some(Self { id, side, attempt })
        };
        read().ok_or_else(|| {
            Status::invalid_argument(
                "the name of a decision looks like decisions/<exchange id>/PROVIDER/1; side and attempt may be left out",
            )
        })
    }

    /// How well a record answers; `None`: not at all. The provider's decision counts, and the last attempt.
    fn fit(&self, record: &Record) -> Option<(bool, u32)> {
        let exchange = match record.body.as_ref()? {
            Body::Closing(closing) => closing.exchange.as_ref()?,
            Body::Denial(denial) => denial.exchange.as_ref()?,
            _ => return None,
        };
        let fits = exchange.id == self.id.as_bytes()
            && self.side.is_none_or(|side| exchange.side() == side)
            && self.attempt.is_none_or(|attempt| exchange.attempt == attempt);
        fits.then_some((exchange.side() == Side::Provider, exchange.attempt))
    }
}

/// The record that answers best, among the newest ones, with its index in the log.
fn find(log: &LogReader, asked: &Asked) -> Result<Option<(u64, Record)>, Status> {
    let broken = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the log cannot be read to explain a decision");
        Status::unavailable("the log cannot be read now; ask again")
    };
    let size = log.size().map_err(|error| broken(&error))?;
    let mut best: Option<((bool, u32), u64, Record)> = None;
    let minimum = log.minimum().map_err(|error| broken(&error))?;
    let mut from = size.saturating_sub(EXPLAIN_ENTRIES_MAX).max(minimum);
    while from < size {
        let until = size.min(from + REBUILD_ENTRIES_AT_ONCE);
        let entries = log.entries(from..until).map_err(|error| broken(&error))?;
        for (index, entry) in (from..).zip(entries) {
            let Ok(record) = record::decode(&entry) else { continue };
            if let Some(fit) = asked.fit(&record)
                && best.as_ref().is_none_or(|(before, ..)| fit >= *before)
            {
                best = Some((fit, index, record));
            }
        }
        from = until;
    }
    Ok(best.map(|(_, index, record)| (index, record)))
}

fn explain(
    log: &LogReader,
    generation: &Generation,
    caller: &Caller,
    asked: &Asked,
) -> Result<ExplainResponse, Status> {
    let unknown = || {
        Status::not_found(format!(
            "no decision about exchange {} among the newest {EXPLAIN_ENTRIES_MAX} records that you may see",
            asked.id
        ))
    };
    let (log_index, record) = find(log, asked)?.ok_or_else(unknown)?;
    let explanation = inquiry::explain(&record).ok_or_else(unknown)?;
    let exchange = explanation.exchange;
    // Whether there is such a decision is itself no business of others.
    if let Caller::Node { agency, .. } | Caller::Officer { agency, .. } = caller
        && *agency != exchange.consumer
        && *agency != exchange.provider
    {
        return Err(unknown());
    }
    let info = explanation.reason.map(Reason::info);
    let inside = match caller {
        Caller::Operator { .. } | Caller::Auditor { .. } | Caller::Officer { .. } => {
            Some(inside(generation, &explanation, log_index))
        }
        _ => None,
    };
    let text = |of: fn(&ReasonInfo) -> &'static str, otherwise: &str| info.map_or(otherwise, of).to_owned();
    Ok(ExplainResponse {
        decision: format!("decisions/{}/{}/{}", asked.id, side(exchange), exchange.attempt),
        permitted: explanation.permitted,
        reason: text(|info| info.name, ""),
        rule: explanation.rule.clone(),
        text_vi: text(|info| info.vi, "cuộc gọi được phép theo quyền đã ghi"),
        text_en: text(|info| info.en, "the call was permitted by the right named here"),
        remedy_vi: text(|info| info.remedy_vi, ""),
        remedy_en: text(|info| info.remedy_en, ""),
        inside,
    })
}

fn side(exchange: &Exchange) -> &'static str {
    exchange.side().as_str_name().trim_start_matches("SIDE_")
}

fn inside(generation: &Generation, explanation: &Explanation<'_>, log_index: u64) -> Inside {
    let exchange = explanation.exchange;
    let id = exchange.right.split_once('@').map_or("", |(id, _)| id);
    let call = inquiry::Call::of_exchange(exchange, OffsetDateTime::now_utc());
    Inside {
        exchange: Some(exchange.clone()),
        detail: explanation.detail.to_owned(),
        right: exchange.right.clone(),
        granted_now: readers(generation, &exchange.dataset, Some(&exchange.provider), None)
            .into_iter()
            .find(|reader| reader.right == id),
        log_index,
        now: generation.whole().map(|index| decision(&inquiry::judge(index, &call))),
    }
}

fn what_if(generation: &Generation, calls: &[Call], files: &[SourceFile]) -> Result<WhatIfResponse, Status> {
    let now = generation
        .whole()
        .ok_or_else(|| Status::failed_precondition("the mesh is too large to be asked about as a whole"))?;
    let (then, mistakes) = match other(generation, files) {
        Ok(then) => (then, Vec::new()),
        Err(mistakes) => (None, mistakes),
    };
    let judgements = calls
        .iter()
        .map(|call| {
            let call = read_call(call);
            Judgement {
                now: Some(decision(&inquiry::judge(now, &call))),
                then: then.as_ref().map(|then| decision(&inquiry::judge(then, &call))),
            }
        })
        .collect();
    Ok(WhatIfResponse { judgements, mistakes })
}

/// The rights that another catalog would give, with the registry and the contracts that there are.
fn other(generation: &Generation, files: &[SourceFile]) -> Result<Option<RightsIndex>, Vec<String>> {
    if files.is_empty() {
        return Ok(None);
    }
    let catalog = Catalog::read(files)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<String>>())?
        .with_registry_of(generation.catalog());
    let published: Vec<Published<'_>> = generation
        .contracts()
        .values()
        .map(|contract| Published { contract: &contract.carried, model: &contract.model })
        .collect();
    Ok(generation::whole(&compile(&catalog, &published)))
}

fn read_call(call: &Call) -> inquiry::Call {
    let time = call.time.and_then(|time| OffsetDateTime::from_unix_timestamp(time.seconds).ok());
    inquiry::Call {
        consumer: call.consumer.clone(),
        system: call.system.clone(),
        provider: call.provider.clone(),
        method: call.method.clone(),
        purpose: call.purpose(),
        purpose_source: PurposeSource::Caller,
        fields: call.fields.clone(),
        dossier: call.dossier.clone(),
        user: String::new(),
        time: time.unwrap_or_else(OffsetDateTime::now_utc),
    }
}

fn decision(outcome: &Outcome) -> Decision {
    match outcome {
        Outcome::Permitted { right, fields, condition } => Decision {
            permitted: true,
            right: right.clone(),
            fields: fields.clone(),
            condition: condition.clone(),
            ..Decision::default()
        },
        Outcome::Denied { reason, rule, detail, right } => Decision {
            right: right.clone(),
            reason: reason.name().to_owned(),
            rule: (*rule).to_owned(),
            detail: detail.clone(),
            ..Decision::default()
        },
    }
}

fn who_can(
    generation: &Generation,
    caller: &Caller,
    asked: &WhoCanRequest,
    page: &Page,
) -> Result<WhoCanResponse, Status> {
    let provider = match caller {
        // Who may read a provider's data is the provider's to know, and the operator's.
        Caller::Node { agency, .. } => {
            if !asked.provider.is_empty() && asked.provider != *agency {
                return Err(Status::permission_denied("a node asks about the data of its own agency"));
            }
            Some(agency.as_str())
        }
        _ => (!asked.provider.is_empty()).then_some(asked.provider.as_str()),
    };
    let field = (!asked.field.is_empty()).then_some(asked.field.as_str());
    let readers = readers(generation, &asked.dataset, provider, field);
    let (readers, next_page_token) = page.cut(&readers, |reader| &reader.right);
    Ok(WhoCanResponse { readers: readers.to_vec(), next_page_token })
}

fn readers(
    generation: &Generation,
    dataset: &str,
    provider: Option<&str>,
    field: Option<&str>,
) -> Vec<Reader> {
    let contract = |provider: &str| generation.contracts().get(provider).map(|contract| &contract.model);
    let found = inquiry::who_can(generation.rights(), dataset, provider, field, contract);
    found
        .into_iter()
        .map(|reader| Reader {
            right: reader.right.id.clone(),
            consumer: reader.right.consumer.clone(),
            system: reader.right.system.clone(),
            provider: reader.right.provider.clone(),
            purpose: reader.right.purpose,
            methods: reader.right.methods.clone(),
            fields: reader.fields.ids.iter().cloned().collect(),
            masked_fields: reader.fields.masking.keys().cloned().collect(),
            condition: reader.right.condition.clone(),
            valid_from: reader.right.valid_from,
            valid_to: reader.right.valid_to,
            suspended: reader.right.suspended,
            legal_basis: reader.right.legal_basis.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::audit::v1::{Closing, Denial};

    use super::*;

    const ID: &str = "0195f3a2-7c1e-7000-8000-000000000001";

    #[test]
    fn a_decision_is_named_by_exchange_side_and_attempt() {
        let asked = Asked::read(&format!("decisions/{ID}/PROVIDER/2")).unwrap();
        assert_eq!((asked.side, asked.attempt), (Some(Side::Provider), Some(2)));
        assert!(Asked::read(&format!("decisions/{ID}")).unwrap().side.is_none());
        for wrong in ["", ID, "decisions/x", "decisions//PROVIDER", "decisions/1/2/3/4"] {
            assert!(Asked::read(wrong).is_err(), "{wrong}");
        }
        for wrong in ["provider", "PROVIDER/x", "PROVIDER/1/2"] {
            assert!(Asked::read(&format!("decisions/{ID}/{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_provider_s_decision_and_the_last_attempt_count() {
        let asked = Asked::read(&format!("decisions/{ID}")).unwrap();
        let exchange = |side: Side, attempt| {
            let id = Uuid::parse_str(ID).unwrap().as_bytes().to_vec();
            Some(Exchange { id, side: side.into(), attempt, ..Exchange::default() })
        };
        let closing = |side, attempt| {
            let closing = Closing { exchange: exchange(side, attempt), ..Closing::default() };
            asked.fit(&Record { body: Some(Body::Closing(closing)), ..Record::default() })
        };
        let denial = Denial { exchange: exchange(Side::Provider, 2), ..Denial::default() };
        let denied = asked.fit(&Record { body: Some(Body::Denial(denial)), ..Record::default() });
        assert!(denied > closing(Side::Provider, 1));
        assert!(closing(Side::Provider, 1) > closing(Side::Consumer, 2));
        let other = Closing { exchange: Some(Exchange::default()), ..Closing::default() };
        assert_eq!(asked.fit(&Record { body: Some(Body::Closing(other)), ..Record::default() }), None);
    }
}
