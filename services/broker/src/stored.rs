//! What the broker keeps in the `Store`, and under which keys. Nearly all of it can be rebuilt: journal positions and
//! the epoch's floor from the log, contracts from the providers' nodes, which publish them again when they start. What
//! was enrolled cannot: the log tells who was bound and when, but the holders would have to enroll again.
//!
//! Values are protobuf messages, so that a later version of the broker may add fields.

use lienthong_catalog::SourceFile;
use lienthong_proto::lienthong::catalog::v1::Change;
use lienthong_proto::lienthong::control::v1::Approver;
use lienthong_proto::lienthong::registry::v1::Enrollment;
use prost::Message;
use prost_types::Timestamp;

use crate::error::BrokerError;
use crate::limits::CONTRACT_PART_BYTES;

/// The newest epoch.
#[derive(Clone, PartialEq, Message)]
pub struct StoredEpoch {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// SHA-256 over the compiled content; see [`crate::generation`].
    #[prost(bytes = "vec", tag = "2")]
    pub content_hash: Vec<u8>,
    /// Issue time of its bundles.
    #[prost(message, optional, tag = "3")]
    pub issue_time: Option<Timestamp>,
    /// True once the hashes of all its bundles are in the log.
    #[prost(bool, tag = "4")]
    pub on_record: bool,
}

/// What the log holds of one node's journal.
#[derive(Clone, PartialEq, Message)]
pub struct StoredJournal {
    /// Journal epoch.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Sequence number of the last record held.
    #[prost(uint64, tag = "2")]
    pub last_seq: u64,
    /// Chain head after it.
    #[prost(bytes = "vec", tag = "3")]
    pub head: Vec<u8>,
    /// Log index of the newest batch's first entry.
    #[prost(uint64, tag = "4")]
    pub first_index: u64,
    /// Entries of the newest batch in the log.
    #[prost(uint64, tag = "5")]
    pub entries: u64,
    /// Leaf hashes of the last openings that came late.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub late: Vec<Vec<u8>>,
}

/// How much of the log the stored positions reflect.
#[derive(Clone, PartialEq, Message)]
pub struct StoredMark {
    /// Log entries whose seals are all reflected.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// How many journals are stored. If another number is found, the whole log is read again.
    #[prost(uint64, tag = "2")]
    pub journals: u64,
    /// The highest epoch that the log says was published.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
}

/// One version of a provider's contract. Its descriptor set lies beside it, in parts: a value of the store has a bound.
#[derive(Clone, PartialEq, Message)]
pub struct StoredContract {
    /// Rises by one with each publication of other bytes; the first is 1.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// When it was published.
    #[prost(message, optional, tag = "2")]
    pub publish_time: Option<Timestamp>,
    /// Resource name of the node that published it.
    #[prost(string, tag = "3")]
    pub actor: String,
    /// SHA-256 of the descriptor set.
    #[prost(bytes = "vec", tag = "4")]
    pub hash: Vec<u8>,
    /// Parts of the descriptor set.
    #[prost(uint32, tag = "5")]
    pub parts: u32,
}

/// An enrollment, with what nobody is shown; see [`crate::enrollment`].
#[derive(Clone, PartialEq, Message)]
pub struct StoredEnrollment {
    /// What people are shown.
    #[prost(message, optional, tag = "1")]
    pub enrollment: Option<Enrollment>,
    /// SHA-256 of its token.
    #[prost(bytes = "vec", tag = "2")]
    pub token_hash: Vec<u8>,
    /// SHA-256 of the key of the operator who made the token.
    #[prost(bytes = "vec", tag = "3")]
    pub creator_spki: Vec<u8>,
    /// How often the token was shown with a wrong certificate.
    #[prost(uint32, tag = "4")]
    pub wrong_tries: u32,
}

/// A change of the catalog; see [`crate::chancery`]. Its files lie beside it, in parts.
#[derive(Clone, PartialEq, Message)]
pub struct StoredChange {
    /// Rises by one with each proposal or import; the first is 1.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// What people are shown.
    #[prost(message, optional, tag = "2")]
    pub change: Option<Change>,
    /// Whose the approvals are, as the registry bound them then.
    #[prost(message, repeated, tag = "3")]
    pub approvers: Vec<Approver>,
    /// Id of the request that proposed it.
    #[prost(string, tag = "4")]
    pub request_id: String,
    /// Parts of its files.
    #[prost(uint32, tag = "5")]
    pub parts: u32,
    /// Parts of its [`StoredActivated`], once it was applied.
    #[prost(uint32, tag = "6")]
    pub activated_parts: u32,
}

impl StoredChange {
    /// A change with these files.
    pub fn new(
        number: u64,
        change: Change,
        approvers: Vec<Approver>,
        request_id: String,
        files: &[SourceFile],
    ) -> StoredChange {
        let parts = part_count(StoredFolder::of(files).encoded_len());
        StoredChange { number, change: Some(change), approvers, request_id, parts, activated_parts: 0 }
    }
}

/// A refusal, dispute, outage or connection request, whose resource name is its key; see [`crate::arbiter`].
#[derive(Clone, PartialEq, Message)]
pub struct StoredAct {
    /// The message that people are shown.
    #[prost(bytes = "vec", tag = "1")]
    pub content: Vec<u8>,
    /// Code of the agency that made it.
    #[prost(string, tag = "2")]
    pub agency: String,
    /// Id of the request that made it.
    #[prost(string, tag = "3")]
    pub request_id: String,
}

/// How many parts so many bytes have.
pub fn part_count(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(CONTRACT_PART_BYTES)).unwrap_or(u32::MAX)
}

/// The files of a change.
#[derive(Clone, PartialEq, Message)]
pub struct StoredFolder {
    /// The files.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<StoredFile>,
}

/// One file.
#[derive(Clone, PartialEq, Message)]
pub struct StoredFile {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its text.
    #[prost(string, tag = "2")]
    pub text: String,
}

impl StoredFolder {
    /// To be stored.
    pub fn of(files: &[SourceFile]) -> StoredFolder {
        let file = |file: &SourceFile| StoredFile { name: file.name.clone(), text: file.text.clone() };
        StoredFolder { files: files.iter().map(file).collect() }
    }

    /// As it was.
    pub fn into_files(self) -> Vec<SourceFile> {
        self.files.into_iter().map(|StoredFile { name, text }| SourceFile { name, text }).collect()
    }
}

/// By whose signatures the entries of the catalog in force are in force; see [`crate::activated`].
#[derive(Clone, PartialEq, Message)]
pub struct StoredActivated {
    /// The entries.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<StoredActivation>,
}

/// One entry's place in the tree of the change that activated it.
#[derive(Clone, PartialEq, Message)]
pub struct StoredActivation {
    /// Id of the entry.
    #[prost(string, tag = "1")]
    pub entry: String,
    /// Number of the change.
    #[prost(uint64, tag = "2")]
    pub change: u64,
    /// Place among its entries.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// Inclusion proof.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub proof: Vec<Vec<u8>>,
}

/// Which change is the catalog in force.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct StoredInForce {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub number: u64,
}

/// What of a node's receipts is on record, so that a node that says them again is not recorded again.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StoredReceipt {
    /// Epoch whose revocation lists are on record as being in force there.
    #[prost(uint64, tag = "1")]
    pub lists_epoch: u64,
    /// SHA-256 over these lists.
    #[prost(bytes = "vec", tag = "2")]
    pub lists: Vec<u8>,
    /// Epoch of which it is on record that everything that it cut is gone.
    #[prost(uint64, tag = "3")]
    pub cut_epoch: u64,
}

/// Keys of the store. Each begins with the noun that it holds.
pub mod key {
    /// Prefix of the journals, by node.
    pub const JOURNALS: &[u8] = b"journal/";
    /// Prefix of the contracts, by provider and version.
    pub const CONTRACTS: &[u8] = b"contract/";
    /// Prefix of the enrollments, whose resource names are their keys.
    pub const ENROLLMENTS: &[u8] = b"enrollments/";
    /// Prefix of what is on record of nodes' receipts, by node.
    pub const RECEIPTS: &[u8] = b"receipt/";
    /// Prefix of the parts of their descriptor sets.
    pub const CONTRACT_PARTS: &[u8] = b"contract-part/";

    /// Prefix of the changes of the catalog, by number.
    pub const CHANGES: &[u8] = b"catalog-change/";
    /// Prefix of the parts of their files.
    pub const CHANGE_FILES: &[u8] = b"catalog-files/";
    /// Prefix of the parts of what they activated.
    pub const ACTIVATED: &[u8] = b"catalog-activated/";
    /// Prefixes of the acts of the duty to share, whose resource names are their keys.
    pub const ACTS: [&[u8]; 4] = [b"refusals/", b"disputes/", b"outages/", b"connectionRequests/"];
    /// Which of them is in force.
    pub const IN_FORCE: &[u8] = b"catalog-in-force";

    /// The newest epoch.
    pub const EPOCH: &[u8] = b"epoch";
    /// How much of the log the stored journals reflect.
    pub const MARK: &[u8] = b"journals-mark";

    /// `node`'s journal.
    pub fn journal(node: &str) -> Vec<u8> {
        [JOURNALS, node.as_bytes()].concat()
    }

    /// What is on record of `node`'s receipts.
    pub fn receipt(node: &str) -> Vec<u8> {
        [RECEIPTS, node.as_bytes()].concat()
    }

    /// One version of `provider`'s contract. Versions are ordered, the oldest first; codes hold no `/`, so that no
    /// provider's keys mix with another's.
    pub fn contract(provider: &str, version: u64) -> Vec<u8> {
        [CONTRACTS, provider.as_bytes(), b"/", &version.to_be_bytes()].concat()
    }

    /// One part of its descriptor set.
    pub fn contract_part(provider: &str, version: u64, part: u32) -> Vec<u8> {
        [CONTRACT_PARTS, provider.as_bytes(), b"/", &version.to_be_bytes(), b"/", &part.to_be_bytes()]
            .concat()
    }

    /// One change of the catalog.
    pub fn change(number: u64) -> Vec<u8> {
        [CHANGES, &number.to_be_bytes()].concat()
    }

    /// One part of what lies beside a change.
    pub fn change_part(prefix: &[u8], number: u64, part: u32) -> Vec<u8> {
        [prefix, &number.to_be_bytes(), b"/", &part.to_be_bytes()].concat()
    }

    /// The provider in a contract's key; `None` for another key.
    pub fn provider(contract: &[u8]) -> Option<&str> {
        let (provider, _version) = contract.strip_prefix(CONTRACTS)?.split_last_chunk::<8>()?;
        std::str::from_utf8(provider.strip_suffix(b"/")?).ok()
    }
}

/// Reads a stored value.
///
/// # Errors
/// [`BrokerError::Stored`] naming the key, when the bytes are not what belongs there.
pub fn read<M: Message + Default>(key: &[u8], value: &[u8]) -> Result<M, BrokerError> {
    M::decode(value).map_err(|source| BrokerError::Stored {
        key: key.escape_ascii().to_string(),
        problem: source.to_string(),
    })
}
