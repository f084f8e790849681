//! A record as the index sees it: when, and by what it can be found.

use lienthong_proto::lienthong::audit::v1::{Exchange, Record, record::Body};

use crate::term::{Dimension, Term};

/// Milliseconds since 1970 that stand for a record without a time.
pub const NO_TIME_MS: i64 = i64::MIN;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When it was made, by its recorder's clock: milliseconds since 1970, or [`NO_TIME_MS`].
    pub time_ms: i64,
    /// Rising, each once.
    pub terms: Vec<Term>,
}

impl Row {
    /// What a record can be found by. Depends on the record alone.
    pub fn of(record: &Record) -> Self {
        let time = record.time.as_ref();
        let time_ms = time.map_or(NO_TIME_MS, |time| {
            time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000)
        });
        let mut terms = Terms::default();
        terms.text(Dimension::Recorder, &record.recorder);
        if let Some(body) = &record.body {
            terms.text(Dimension::Kind, kind(body));
            terms.body(body);
        }
        Self::new(time_ms, terms.0)
    }

    /// Of an entry that is no record: the log keeps it, nothing finds it but its place.
    pub fn unreadable() -> Self {
        Self { time_ms: NO_TIME_MS, terms: Vec::new() }
    }

    /// A row of any terms.
    pub fn new(time_ms: i64, mut terms: Vec<Term>) -> Self {
        terms.sort_unstable();
        terms.dedup();
        Self { time_ms, terms }
    }

    /// Puts [`Dimension::SubjectsErased`] in the place of the tokens that are to be erased; whether there were any.
    pub fn erase(&mut self, is_erased: impl Fn(&[u8]) -> bool) -> bool {
        let before = self.terms.len();
        self.terms.retain(|term| !is_erased(term.as_bytes()));
        let erased = self.terms.len() < before;
        if erased {
            self.extend([Term::flag(Dimension::SubjectsErased)]);
        }
        erased
    }

    /// Adds terms.
    pub fn extend(&mut self, terms: impl IntoIterator<Item = Term>) {
        self.terms.extend(terms);
        self.terms.sort_unstable();
        self.terms.dedup();
    }
}

/// The word for a body.
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::Opening(_) => "opening",
        Body::Closing(_) => "closing",
        Body::Denial(_) => "denial",
        Body::Progress(_) => "progress",
        Body::Aggregate(_) => "aggregate",
        Body::BatchSeal(_) => "seal",
        Body::BundlePublished(_) => "bundle",
        Body::Administration(_) => "administration",
        Body::Continuation(_) => "continuation",
        Body::IndexManifest(_) => "manifest",
        Body::Finding(_) => "finding",
        Body::FindingClosed(_) => "finding-closed",
        Body::LogAccess(_) => "access",
        Body::LogPruned(_) => "pruning",
        Body::SubjectErased(_) => "erasure",
    }
}

#[derive(Default)]
struct Terms(Vec<Term>);

impl Terms {
    fn body(&mut self, body: &Body) {
        match body {
            Body::Opening(opening) => self.exchange(opening.exchange.as_ref()),
            Body::Closing(closing) => {
                self.exchange(closing.exchange.as_ref());
                self.number(Dimension::Status, closing.status);
                self.text(Dimension::Reason, &closing.reason);
            }
            Body::Denial(denial) => {
                self.exchange(denial.exchange.as_ref());
                self.text(Dimension::Reason, &denial.reason);
            }
            Body::Progress(progress) => self.bytes(Dimension::Exchange, &progress.exchange_id),
            Body::Aggregate(aggregate) => {
                self.text(Dimension::Reason, &aggregate.reason);
                self.text(Dimension::Resource, &aggregate.source);
            }
            Body::BatchSeal(seal) => self.bytes(Dimension::Certificate, &seal.certificate),
            Body::BundlePublished(bundle) => self.text(Dimension::Resource, &bundle.audience),
            Body::Administration(act) => {
                self.text(Dimension::Actor, &act.actor);
                self.text(Dimension::Resource, &act.resource);
                self.text(Dimension::Resource, &act.action);
            }
            Body::Continuation(continuation) => self.exchange(continuation.exchange.as_ref()),
            Body::IndexManifest(_) | Body::LogPruned(_) => {}
            Body::Finding(finding) => {
                self.bytes(Dimension::Exchange, &finding.exchange_id);
                self.text(Dimension::Dataset, &finding.dataset);
                self.text(Dimension::Resource, &finding.id);
                for node in &finding.nodes {
                    self.text(Dimension::Resource, node);
                }
            }
            Body::FindingClosed(closed) => {
                self.text(Dimension::Actor, &closed.actor);
                self.text(Dimension::Resource, &closed.id);
            }
            Body::LogAccess(access) => {
                // An agency's officers see what was asked for their agency.
                self.text(Dimension::Consumer, &access.agency);
                self.text(Dimension::Actor, &access.actor);
                self.text(Dimension::Resource, &access.case_id);
                self.bytes(Dimension::Exchange, &access.exchange_id);
            }
            Body::SubjectErased(erased) => {
                self.text(Dimension::Actor, &erased.actor);
                self.text(Dimension::Resource, &erased.case_id);
            }
        }
    }

    fn exchange(&mut self, exchange: Option<&Exchange>) {
        let Some(exchange) = exchange else { return };
        self.text(Dimension::Consumer, &exchange.consumer);
        self.text(Dimension::Provider, &exchange.provider);
        self.text(Dimension::System, &exchange.system);
        self.text(Dimension::System, exchange.system.rsplit('/').next().unwrap_or_default());
        self.text(Dimension::Dataset, &exchange.dataset);
        self.text(Dimension::Method, &exchange.method);
        self.text(Dimension::User, &exchange.user);
        self.text(Dimension::Dossier, &exchange.dossier);
        self.text(Dimension::Right, &exchange.right);
        self.number(Dimension::Purpose, exchange.purpose);
        self.bytes(Dimension::Exchange, &exchange.id);
        self.bytes(Dimension::Certificate, &exchange.peer_certificate);
    }

    fn text(&mut self, dimension: Dimension, text: &str) {
        if !text.is_empty() {
            self.0.push(Term::text(dimension, text));
        }
    }

    fn number(&mut self, dimension: Dimension, number: i32) {
        if number != 0 {
            self.0.push(Term::number(dimension, number));
        }
    }

    fn bytes(&mut self, dimension: Dimension, value: &[u8]) {
        if !value.is_empty() {
            self.0.push(Term::bytes(dimension, value));
        }
    }
}
