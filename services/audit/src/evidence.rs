//! Judging the evidence of one exchange with nothing but itself: no network, no broker, no belief in who hands it over.
//!
//! What is checked: the checkpoint's signatures against a [policy](crate::policy); that each record, seal and published
//! bundle is in the log under it; that each record stands in a batch which its node signed, with a certificate that the seal
//! names and that was valid then; that no continuation of its subjects is left out; that both sides say the same; that the
//! bundles are those whose hash the log holds and that the right which decided stands in them; and, where the messages are at
//! hand, that they are the ones that were exchanged.
//!
//! Reading a certificate and verifying its signature is the caller's: this crate knows no X.509.

use std::collections::BTreeSet;

use lienthong_proto::lienthong::audit::v1::{
    BatchHeader, BatchSeal, Closing, Digest, Evidence, Exchange, FoundRecord, Record, Side, record::Body,
};
use lienthong_proto::lienthong::control::v1::RightsBundle;
use prost::Message as _;

use crate::batch::signed_message;
use crate::checkpoint::Checkpoint;
use crate::digest::{ExchangeKey, MessageDigest};
use crate::hash::{Hash, leaf_hash, sha256};
use crate::merkle;
use crate::note::Note;
use crate::policy::Policy;
use crate::record;

mod continued;
mod file;

pub use file::EvidenceFile;

/// Records of one exchange in one evidence file, at most: of more, the newest.
pub const EVIDENCE_RECORDS_MAX: usize = 2_000;

/// What a certificate says that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// DER `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
    /// Start and end of validity, seconds since 1970.
    pub valid: (i64, i64),
    /// Its subject, for people.
    pub subject: String,
}

/// Reads certificates and verifies signatures.
pub trait Certificates {
    /// What a certificate says; `None` if it is none.
    fn read(&self, der: &[u8]) -> Option<CertificateFacts>;
    /// Whether the key made the signature.
    fn verify(&self, spki: &[u8], message: &[u8], signature: &[u8]) -> bool;
}

/// What only those who took part can add.
#[derive(Debug, Clone, Default)]
pub struct Messages {
    /// Key of the exchange's digests.
    pub key: Option<ExchangeKey>,
    /// The request's messages, in order; `None`: not at hand.
    pub request: Option<Vec<Vec<u8>>>,
    /// The answer's.
    pub response: Option<Vec<Vec<u8>>>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Whether it holds.
    pub holds: bool,
    /// What.
    pub what: String,
}

/// Everything that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvidenceReport {
    /// In order.
    pub checks: Vec<Check>,
    /// Whether a policy judged who signed the checkpoint.
    pub signer_judged: bool,
    /// What the evidence itself says that it lacks.
    pub notes: Vec<String>,
}

impl EvidenceReport {
    /// Whether everything holds.
    pub fn is_sound(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.holds)
    }

    fn add(&mut self, holds: bool, what: impl Into<String>) -> bool {
        self.checks.push(Check { holds, what: what.into() });
        holds
    }
}

/// Judges the evidence.
pub fn verify(
    evidence: &Evidence,
    policy: Option<&Policy>,
    messages: &Messages,
    certificates: &impl Certificates,
) -> EvidenceReport {
    let mut report = EvidenceReport { notes: evidence.notes.clone(), ..EvidenceReport::default() };
    let Some(checkpoint) = checkpoint(evidence, policy, &mut report) else { return report };
    let records = records(evidence, &checkpoint, &mut report);
    batches(evidence, &checkpoint, &records, certificates, &mut report);
    continued::check(&records, &mut report);
    sides(&records, &mut report);
    bundles(evidence, &checkpoint, &records, &mut report);
    digests(&records, messages, &mut report);
    report
}

fn checkpoint(
    evidence: &Evidence,
    policy: Option<&Policy>,
    report: &mut EvidenceReport,
) -> Option<Checkpoint> {
    let read = || evidence.checkpoint.parse::<Note>().ok()?.text().parse::<Checkpoint>().ok();
    let checkpoint = read();
    report.add(checkpoint.is_some(), "the checkpoint is a signed note of a log");
    if let Some(policy) = policy {
        report.signer_judged = true;
        match policy.judge(&evidence.checkpoint) {
            Ok(_) => report.add(true, "the log and the quorum of witnesses signed the checkpoint"),
            Err(error) => report.add(false, format!("the policy believes the checkpoint: {error}")),
        };
    }
    checkpoint
}

/// The records of the exchange that are in the log, with their places.
fn records(
    evidence: &Evidence,
    checkpoint: &Checkpoint,
    report: &mut EvidenceReport,
) -> Vec<(u64, Hash, Record)> {
    report.add(evidence.exchange_id.len() == 16, "the exchange has an id of 16 bytes");
    report.add(!evidence.records.is_empty(), "there is a record of the exchange");
    let mut records = Vec::new();
    for found in &evidence.records {
        let at = found.index;
        let Some(record) = in_log(found, checkpoint, &format!("record {at}"), report) else { continue };
        let id = match &record.body {
            Some(Body::Progress(progress)) => Some(&progress.exchange_id),
            _ => exchange_of(&record).map(|exchange| &exchange.id),
        };
        if report.add(id == Some(&evidence.exchange_id), format!("record {at} is of this exchange")) {
            records.push((at, leaf_hash(&found.entry), record));
        }
    }
    records
}

/// A record, if the log has it.
fn in_log(
    found: &FoundRecord,
    checkpoint: &Checkpoint,
    what: &str,
    report: &mut EvidenceReport,
) -> Option<Record> {
    let path: Option<Vec<Hash>> = found.path.iter().map(|hash| Hash::from_slice(hash)).collect();
    let leaf = leaf_hash(&found.entry);
    let proved = path.is_some_and(|path| {
        merkle::verify_inclusion(&leaf, found.index, checkpoint.size, &path, &checkpoint.root).is_ok()
    });
    report.add(proved, format!("{what} is in the log under the checkpoint"));
    let record = record::decode(&found.entry).ok();
    if record.is_none() {
        report.add(false, format!("{what} can be read"));
    }
    record.filter(|_| proved)
}

fn batches(
    evidence: &Evidence,
    checkpoint: &Checkpoint,
    records: &[(u64, Hash, Record)],
    certificates: &impl Certificates,
    report: &mut EvidenceReport,
) {
    let mut signed: BTreeSet<u64> = BTreeSet::new();
    for batch in &evidence.batches {
        let Some(found) = &batch.seal else {
            report.add(false, "a batch has its seal");
            continue;
        };
        let what = format!("seal {}", found.index);
        let Some(record) = in_log(found, checkpoint, &what, report) else { continue };
        let (true, Some(Body::BatchSeal(seal))) = (record.recorder == BROKER, record.body) else {
            report.add(false, format!("{what} is a seal of the broker"));
            continue;
        };
        let leaves: Option<Vec<Hash>> = batch.leaf_hashes.iter().map(|hash| Hash::from_slice(hash)).collect();
        let leaves = leaves.unwrap_or_default();
        let header = BatchHeader::decode(&seal.header[..]).unwrap_or_default();
        let covers =
            header.entries as usize == leaves.len() && merkle::root_of(&leaves).0 == header.entries_root[..];
        report.add(covers, format!("the header under {what} states the records of its batch"));
        let by_node = signature(evidence, &seal, &header, certificates);
        report.add(
            by_node.is_ok(),
            match by_node {
                Ok(subject) => format!("{what}: {} signed its batch, as {subject}", header.node),
                Err(problem) => format!("{what}: the batch is signed by its node ({problem})"),
            },
        );
        for (at, leaf, record) in records {
            let place = at.checked_sub(seal.first_index).and_then(|place| usize::try_from(place).ok());
            if covers
                && record.recorder == header.node
                && place.and_then(|place| leaves.get(place)) == Some(leaf)
            {
                signed.insert(*at);
            }
        }
    }
    for (at, _, record) in records {
        report.add(signed.contains(at), format!("record {at} stands in a batch of {}", record.recorder));
    }
}

/// Whether the node signed the header with the certificate that the seal names; the certificate's subject, or what is wrong.
fn signature(
    evidence: &Evidence,
    seal: &BatchSeal,
    header: &BatchHeader,
    certificates: &impl Certificates,
) -> Result<String, &'static str> {
    let mut all = evidence.certificates.iter().map(|certificate| &certificate.certificate);
    let der = all.find(|der| sha256(der).0[..] == seal.certificate).ok_or("its certificate is missing")?;
    let facts = certificates.read(der).ok_or("its certificate cannot be read")?;
    let sealed_at = header.seal_time.as_ref().map_or(i64::MIN, |time| time.seconds);
    if sealed_at < facts.valid.0 || sealed_at > facts.valid.1 {
        return Err("its certificate was not valid then");
    }
    if !certificates.verify(&facts.spki, &signed_message(&seal.header), &seal.signature) {
        return Err("the signature is not of its certificate");
    }
    Ok(facts.subject)
}

/// What both sides must say alike.
fn sides(records: &[(u64, Hash, Record)], report: &mut EvidenceReport) {
    let closing = |side: Side| {
        records.iter().find_map(|(_, _, record)| match &record.body {
            Some(Body::Closing(closing)) if closing.exchange.as_ref()?.side == i32::from(side) => {
                Some(closing)
            }
            _ => None,
        })
    };
    let (Some(consumer), Some(provider)) = (closing(Side::Consumer), closing(Side::Provider)) else { return };
    let stated = |closing: &Closing| {
        let Exchange { consumer, system, provider, method, dataset, purpose, dossier, user, .. } =
            closing.exchange.clone().unwrap_or_default();
        (consumer, system, provider, method, dataset, purpose, dossier, user)
    };
    report.add(stated(consumer) == stated(provider), "both sides say who asked whom for what");
    report.add(consumer.request == provider.request, "both sides digested the same request");
    report.add(consumer.response == provider.response, "both sides digested the same answer");
    let names = consumer.peer_opening_hash.is_empty() || consumer.peer_opening_hash == provider.opening_hash;
    report.add(names, "the consumer's record names the provider's opening record");
}

fn bundles(
    evidence: &Evidence,
    checkpoint: &Checkpoint,
    records: &[(u64, Hash, Record)],
    report: &mut EvidenceReport,
) {
    for bundle in &evidence.bundles {
        let Some(found) = &bundle.published else {
            report.add(false, "a bundle was published");
            continue;
        };
        let what = format!("bundle {}", found.index);
        let Some(record) = in_log(found, checkpoint, &what, report) else { continue };
        let (true, Some(Body::BundlePublished(published))) = (record.recorder == BROKER, record.body) else {
            report.add(false, format!("{what} is a publication of the broker"));
            continue;
        };
        let rights: Vec<(String, u64)> = records
            .iter()
            .filter(|(_, _, record)| record.recorder == published.audience)
            .filter_map(|(_, _, record)| right_of(&exchange_of(record)?.right))
            .collect();
        let decided = !rights.is_empty() && rights.iter().all(|(_, epoch)| published.epoch <= *epoch);
        report.add(
            decided,
            format!("{what} of epoch {} was there when {} decided", published.epoch, published.audience),
        );
        if bundle.bundle.is_empty() {
            report.notes.push(format!("{what} is on record; its content is no longer held"));
            continue;
        }
        report.add(
            sha256(&bundle.bundle).0[..] == published.hash,
            format!("{what} has the content that was published"),
        );
        let known: BTreeSet<String> = RightsBundle::decode(&bundle.bundle[..])
            .map(|bundle| bundle.rights.into_iter().map(|right| right.id).collect())
            .unwrap_or_default();
        for (right, _) in rights {
            report.add(known.contains(&right), format!("{what} holds the right {right} that decided"));
        }
    }
}

/// Whether messages that are at hand are those that were exchanged. Application metadata is part of a digest: where a
/// dataset lets some pass, messages alone do not reproduce it.
fn digests(records: &[(u64, Hash, Record)], messages: &Messages, report: &mut EvidenceReport) {
    let Some(key) = &messages.key else {
        if messages.request.is_some() || messages.response.is_some() {
            report.add(false, "messages can be compared: the evidence holds the exchange's key");
        }
        return;
    };
    for (at, _, record) in records {
        let Some(Body::Closing(closing)) = &record.body else { continue };
        for (what, messages, digest) in [
            ("request", &messages.request, &closing.request),
            ("answer", &messages.response, &closing.response),
        ] {
            if let Some(messages) = messages {
                let same = digest.as_ref() == Some(&digest_of(key, messages));
                report.add(same, format!("the {what} at hand is the one of record {at}"));
            }
        }
    }
}

fn digest_of(key: &ExchangeKey, messages: &[Vec<u8>]) -> Digest {
    let mut digest = MessageDigest::new(key);
    for message in messages {
        digest.message(message);
    }
    digest.finish()
}

fn exchange_of(record: &Record) -> Option<&Exchange> {
    match record.body.as_ref()? {
        Body::Opening(opening) => opening.exchange.as_ref(),
        Body::Closing(closing) => closing.exchange.as_ref(),
        Body::Denial(denial) => denial.exchange.as_ref(),
        Body::Continuation(continuation) => continuation.exchange.as_ref(),
        _ => None,
    }
}

/// Right and epoch of "right_id@epoch".
fn right_of(right: &str) -> Option<(String, u64)> {
    let (id, epoch) = right.rsplit_once('@')?;
    Some((id.to_owned(), epoch.parse().ok()?))
}

/// The recorder of the broker's own records.
const BROKER: &str = "broker";
