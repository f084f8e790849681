//! Why the broker does not start, or stopped.

use std::net::SocketAddr;
use std::path::PathBuf;

use lienthong_audit::log::LogError;
use lienthong_audit::note::NoteError;
use lienthong_catalog::source::Mistake;
use lienthong_certs::files::FileError;
use lienthong_certs::judge::{RevocationError, TrustError};
use lienthong_certs::mesh_key::MeshKeyError;
use lienthong_certs::{CredentialsError, ProfileError, SignError};
use lienthong_store::StoreError;
use lienthong_telemetry::admin::AdminError;
use lienthong_transport::{ListenError, MaterialError};
use lienthong_trust::KeeperError;

use crate::backup::BackupError;
use crate::generation::{BoundTwice, NoDraft, TooLarge};
use crate::ledger::LedgerError;
use crate::matching::MatchingError;

/// Why the broker does not start, or stopped. Each says what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A key of the configuration has a value that cannot be used.
    #[error("configuration key {key}: {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// A file of catalog or registry cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// Catalog or registry has mistakes; all of them, sorted by place.
    #[error("{}", lines(.0))]
    Mistakes(Vec<Mistake>),
    /// The file of reasons, deadlines and holidays cannot be used.
    #[error("{}: {problem}", path.display())]
    Duty {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The catalog folder was not approved by two persons.
    #[error("{0}")]
    Unapproved(String),
    /// What the catalog says beside a contract in force does not fit it.
    #[error("the catalog does not fit the contract that {provider} has published:\n{}", .findings.join("\n"))]
    Contract {
        /// Code of the provider.
        provider: String,
        /// What was found.
        findings: Vec<String>,
    },
    /// A change would break what the stewards declared must hold.
    #[error("the change is refused, it breaks an invariant:\n{}", .0.join("\n"))]
    Invariants(Vec<String>),
    /// More than one thing at once; each of them stands.
    #[error("{}", several(.0))]
    Several(Vec<BrokerError>),
    /// One certificate is bound to two parties.
    #[error(transparent)]
    BoundTwice(#[from] BoundTwice),
    /// A node's rights are more than a node takes.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The broker's own certificate or key cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The broker's own certificate is for development only.
    #[error("{} is marked as made for development; set development = true only for demonstrations and tests", .0.display())]
    Development(PathBuf),
    /// A certificate that the configuration or the registry names cannot be read.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ProfileError,
    },
    /// The mesh trust file at the start, or as it is now.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The trust file names a key whose private half is not here.
    #[error(
        "no file under {slots} holds {key}, which the mesh trust file (version {version}) names as `{used}`; put the key where \
             the configuration looks for it, or have the roots sign a version that names the key that is here"
    )]
    NoSuchKey {
        /// Key of the configuration.
        slots: &'static str,
        /// Key of the trust file.
        used: &'static str,
        /// Name and id of the key.
        key: String,
        /// Version of the trust file.
        version: u64,
    },
    /// An authority cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A revocation list cannot be used.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// A file is none of revocation lists.
    #[error("{}: {detail}; it is read again once it changes", path.display())]
    RevocationList {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file that must be private cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bundle key cannot be used.
    #[error(transparent)]
    BundleKey(#[from] MeshKeyError),
    /// The log key cannot be used.
    #[error("{}: {source}", path.display())]
    LogKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteError,
    },
    /// The data folder was restored, and that cannot be put on record.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Too few witnesses said what they have seen of the log.
    #[error(
        "before the log is opened, so many witnesses must say what they have seen of it that the others cannot make a \
         quorum; {answered} of {of} did ({problems}): start them, or see the network, then start the broker again (R-48)"
    )]
    Witnesses {
        /// How many answered.
        answered: usize,
        /// How many there are.
        of: usize,
        /// What was wrong with the others.
        problems: String,
    },
    /// Witnesses have seen a log where there is none.
    #[error(
        "{} holds no log, but a witness has cosigned {entries} entries of it: restore it from a backup or mount its \
         volume; nothing is signed before (R-48)", .dir.display()
    )]
    LogGone {
        /// Where it should be.
        dir: PathBuf,
        /// What was seen of it.
        entries: u64,
    },
    /// Certificate and key do not serve TLS.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The data folder holds a part of a broker's state only.
    #[error("{} is missing, but {} is there: restore the missing part from a backup; a log is never begun anew beside \
             state that knows another", missing.display(), present.display())]
    Half {
        /// What is missing.
        missing: PathBuf,
        /// What is there.
        present: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value of the store is not what belongs there.
    #[error(
        "the store holds no readable value under {key}: {problem}; restore the store folder from a backup, or remove \
             it: the broker rebuilds what the log knows, providers publish their contracts again, and whoever was enrolled \
             enrolls again"
    )]
    Stored {
        /// Key of the value.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The log cannot be opened or read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Matching cannot be taken up.
    #[error("records cannot be matched: {0}")]
    Matching(Box<MatchingError>),
    /// Nothing can be put on record.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A bundle could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The mesh listener cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The listener's own address is unknown.
    #[error("the address of the listener on {address} is unknown: {source}")]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The admin listener cannot listen.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The reload signal cannot be received.
    #[error("cannot listen for SIGHUP: {0}")]
    Signal(std::io::Error),
    /// There can be no threads for what follows the log.
    #[error("the threads that follow the log cannot start: {0}; see the limit of threads of the system")]
    Background(#[source] std::io::Error),
    /// The process is shutting down, or a part of it ended unexpectedly.
    #[error("the broker is stopping")]
    Stopped,
}

impl From<NoDraft> for BrokerError {
    fn from(error: NoDraft) -> Self {
        match error {
            NoDraft::BoundTwice(twice) => BrokerError::BoundTwice(twice),
            NoDraft::TooLarge(bundle) => BrokerError::TooLarge(bundle),
        }
    }
}

impl From<MatchingError> for BrokerError {
    fn from(error: MatchingError) -> Self {
        BrokerError::Matching(Box::new(error))
    }
}

impl BrokerError {
    /// All of these as one; `None` where there is none.
    pub fn several(mut errors: Vec<BrokerError>) -> Option<BrokerError> {
        if errors.len() > 1 { Some(BrokerError::Several(errors)) } else { errors.pop() }
    }
}

fn several(errors: &[BrokerError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    format!("{} mistake(s) in catalog or registry:\n{}", lines.len(), lines.join("\n"))
}
