//! The broker's own records: what it did, in the words of record.proto.

use aws_lc_rs::rand;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Administration, BundlePublished, Finding, FindingKind, Record};
use prost::Message;
use prost_types::Timestamp;

use crate::bundle::{SealedBundle, Sha256};
use crate::limits::DETAIL_CHARS_MAX;

/// Who made a record of the broker's own (`Record.recorder`). No node can be called so: theirs are resource names.
pub const RECORDER: &str = "broker";

/// Bytes of a record's salt (record.proto).
pub const SALT_BYTES: usize = 16;

/// The random salt of one record.
pub type Salt = [u8; SALT_BYTES];

/// A fresh salt; `None` if the system's randomness fails.
pub fn salt() -> Option<Salt> {
    let mut salt = Salt::default();
    rand::fill(&mut salt).ok()?;
    Some(salt)
}

/// The bytes of a record of the broker's own, as they enter the log.
pub fn encode(body: Body, time: Timestamp, salt: Salt) -> Vec<u8> {
    let record = Record {
        version: 1,
        salt: salt.to_vec(),
        recorder: RECORDER.to_owned(),
        time: Some(time),
        clock_error_us: 0,
        body: Some(body),
    };
    record.encode_to_vec()
}

/// An act of administration, or a finding.
pub fn administration(act: Act<'_>) -> Body {
    Body::Administration(Administration {
        actor: act.actor.to_owned(),
        action: act.action.to_owned(),
        resource: act.resource.to_owned(),
        epoch: act.epoch,
        content_hash: act.content_hash.map(|hash| hash.to_vec()).unwrap_or_default(),
        detail: act.detail.chars().take(DETAIL_CHARS_MAX).collect(),
    })
}

/// The parts of [`administration`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Act<'a> {
    /// Who: resource name of a node, or [`RECORDER`].
    pub actor: &'a str,
    /// What, for example `contract.publish`.
    pub action: &'a str,
    /// On what, as a resource name.
    pub resource: &'a str,
    /// Epoch after the act; 0 where it has none.
    pub epoch: u64,
    /// SHA-256 of what was stored.
    pub content_hash: Option<Sha256>,
    /// In a few words; cut to 256 characters.
    pub detail: &'a str,
}

/// That a bundle was published.
pub fn bundle_published(bundle: &SealedBundle) -> Body {
    Body::BundlePublished(BundlePublished {
        audience: bundle.audience.clone(),
        epoch: bundle.epoch,
        hash: bundle.hash.to_vec(),
    })
}

/// Why a node's record may not enter the log under its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANodesRecord {
    /// Not a `Record`.
    #[error("an entry is not a record")]
    Malformed,
    /// Made by somebody else, as it says.
    #[error("a record names another recorder than the node that ships it")]
    Recorder,
    /// A body that only the broker writes.
    #[error("a record speaks of what only the broker may record")]
    Body,
}

/// Checks one record that `node` ships: it must be the node's own, and of a kind that nodes make. Without this a node
/// could write seals and bundles into the log as if the broker had.
pub fn check_nodes_record(node: &str, record: &Record) -> Result<(), NotANodesRecord> {
    if record.recorder != node {
        return Err(NotANodesRecord::Recorder);
    }
    match &record.body {
        None => Err(NotANodesRecord::Malformed),
        Some(
            Body::BatchSeal(_)
            | Body::BundlePublished(_)
            | Body::FindingClosed(_)
            | Body::IndexManifest(_)
            | Body::LogAccess(_)
            | Body::LogPruned(_)
            | Body::SubjectErased(_),
        ) => Err(NotANodesRecord::Body),
        Some(Body::Finding(finding)) if !is_about_the_log(finding) => Err(NotANodesRecord::Body),
        Some(_) => Ok(()),
    }
}

/// Nodes are witnesses of the log: of all findings, those about it are theirs to make.
fn is_about_the_log(finding: &Finding) -> bool {
    matches!(finding.kind(), FindingKind::LogForked | FindingKind::LogUnwitnessed)
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::audit::v1::{
        BatchSeal, FindingClosed, IndexManifest, LogAccess, LogPruned, Opening, SubjectErased,
    };

    use super::*;

    const NODE: &str = "agencies/G01/nodes/n1";

    fn entry(recorder: &str, body: Option<Body>) -> Record {
        Record { version: 1, recorder: recorder.to_owned(), body, ..Record::default() }
    }

    #[test]
    fn a_node_records_its_own_acts_only() {
        let opening = Some(Body::Opening(Opening::default()));
        assert_eq!(check_nodes_record(NODE, &entry(NODE, opening.clone())), Ok(()));
        assert_eq!(check_nodes_record(NODE, &entry(RECORDER, opening)), Err(NotANodesRecord::Recorder));
        let seal = Some(Body::BatchSeal(BatchSeal::default()));
        assert_eq!(check_nodes_record(NODE, &entry(NODE, seal)), Err(NotANodesRecord::Body));
        for body in [
            Body::IndexManifest(IndexManifest::default()),
            Body::LogAccess(LogAccess::default()),
            Body::LogPruned(LogPruned::default()),
            Body::SubjectErased(SubjectErased::default()),
        ] {
            assert_eq!(check_nodes_record(NODE, &entry(NODE, Some(body))), Err(NotANodesRecord::Body));
        }
        let finding =
            |kind: FindingKind| Some(Body::Finding(Finding { kind: kind.into(), ..Finding::default() }));
        assert_eq!(check_nodes_record(NODE, &entry(NODE, finding(FindingKind::LogForked))), Ok(()));
        let of_others = entry(NODE, finding(FindingKind::MissingSide));
        assert_eq!(check_nodes_record(NODE, &of_others), Err(NotANodesRecord::Body));
        let closed = Some(Body::FindingClosed(FindingClosed::default()));
        assert_eq!(check_nodes_record(NODE, &entry(NODE, closed)), Err(NotANodesRecord::Body));
        assert_eq!(check_nodes_record(NODE, &entry(NODE, None)), Err(NotANodesRecord::Malformed));
    }

    #[test]
    fn equal_acts_have_unequal_records() {
        let time = Timestamp { seconds: 1, nanos: 0 };
        let act = || administration(Act { actor: RECORDER, action: "catalog.apply", ..Act::default() });
        assert_ne!(encode(act(), time, salt().unwrap()), encode(act(), time, salt().unwrap()));
    }

    #[test]
    fn a_long_detail_is_cut() {
        let detail = "ệ".repeat(1_000);
        let Body::Administration(act) = administration(Act { detail: &detail, ..Act::default() }) else {
            panic!("not an administration record")
        };
        assert_eq!(act.detail.chars().count(), DETAIL_CHARS_MAX);
    }
}
