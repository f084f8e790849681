//! Why a change of the catalog is not taken.

use lienthong_approval::ApprovalError;
use lienthong_catalog::Mistake;
use lienthong_proto::lienthong::catalog::v1::ChangeState;
use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::BrokerError;
use crate::limits::{
    CHANGE_NOTE_CHARS_MAX, CHANGE_REASON_CHARS_MAX, CHANGES_OPEN_MAX, FINDINGS_SHOWN_MAX,
    NAME_SHOWN_BYTES_MAX,
};
use crate::text;

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ChanceryError {
    /// It does not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The folder has mistakes; all of them, sorted by place.
    #[error("the catalog has {} mistake(s); nothing of it was taken", .0.len())]
    Mistakes(Vec<Mistake>),
    /// The broker could not check, record or store it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Why a change does not fit.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// No such change.
    #[error("no change is called \"{}\"; a name looks like changes/00000012", text::cut(.0, NAME_SHOWN_BYTES_MAX).escape_debug())]
    NotFound(String),
    /// Its files are kept no more.
    #[error("the files of {0} are kept no more")]
    Forgotten(String),
    /// What came is not what was sent.
    #[error("the folder that arrived has another hash than its head says; send it again")]
    NotWhole,
    /// Somebody else was faster.
    #[error(
        "the catalog in force is another than the one that this folder stands on: its hash is {in_force}; export it, bring \
         your change into it, and apply again: else the other change would be lost"
    )]
    Overtaken {
        /// Hash of the catalog in force.
        in_force: String,
    },
    /// No difference.
    #[error("the folder is the catalog in force, to the letter: there is nothing to change")]
    Nothing,
    /// An entry changed under its old version.
    #[error("{entry} says something else and is still version {version}; raise its version (R-09)")]
    Version {
        /// Entry.
        entry: String,
        /// Its version.
        version: u32,
    },
    /// No signature.
    #[error(
        "the change is not signed; `lienthong catalog apply` and `approve` sign with the key of your profile (R-09)"
    )]
    NoApproval,
    /// A signature that does not hold.
    #[error(transparent)]
    Approval(ApprovalError),
    /// A signature by somebody else than the caller.
    #[error("the signature is not by the certificate of this connection (R-09)")]
    NotYours,
    /// Not a person whom the registry lets approve.
    #[error("{0} is no person of the operator; have the certificate entered under `operators` (R-09)")]
    Stranger(String),
    /// One person, one pair of eyes.
    #[error(
        "whoever proposed the change cannot approve it: another person of the operator must (four eyes, R-09)"
    )]
    SamePerson,
    /// Nothing to decide.
    #[error("nothing is to be decided here: the change is {}", word(*.0))]
    NotProposed(ChangeState),
    /// Not what the caller saw.
    #[error("the change is not as you saw it; look at it again before you decide")]
    Etag,
    /// What it activates has changed.
    #[error("what the change would activate is no longer what was signed; propose it anew")]
    Moved,
    /// Too many wait.
    #[error("{CHANGES_OPEN_MAX} changes wait already; decide or withdraw some first")]
    TooMany,
    /// A note that is too long.
    #[error("a note has at most {CHANGE_NOTE_CHARS_MAX} characters on one line")]
    Note,
    /// A request id that is used.
    #[error("the request id stands for another request; use a new random one, at most 64 characters")]
    RequestId,
    /// A reason is needed.
    #[error("say why, in 1 to {CHANGE_REASON_CHARS_MAX} characters on one line")]
    Reason,
    /// The folder of the configuration is, or was, in force.
    #[error("the catalog folder is, or was, in force already")]
    InForceBefore,
    /// The folder of the configuration lacks approvals.
    #[error(
        "the catalog folder lacks the approvals of two persons of the operator (R-09): each signs it with `lienthong catalog \
         sign`, or one applies it and the other approves it over the mesh; see docs/catalog.md"
    )]
    Unsigned,
    /// The approvals are of another folder.
    #[error(
        "approvals.json is of another folder, or of another mesh, than this one: the files were changed after they were \
         signed; have both persons sign them as they are now (R-09)"
    )]
    OtherFolder,
    /// The approvals cannot be read.
    #[error("approvals.json: {0}")]
    File(String),
}

impl From<Unfit> for BrokerError {
    fn from(unfit: Unfit) -> BrokerError {
        BrokerError::Unapproved(unfit.to_string())
    }
}

impl ChanceryError {
    /// As the caller reads it.
    pub fn to_status(&self) -> Status {
        match self {
            ChanceryError::Unfit(unfit) => unfit.to_status(),
            ChanceryError::Mistakes(mistakes) => {
                let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                listed(&self.to_string(), "files", &lines)
            }
            ChanceryError::Broker(BrokerError::Contract { provider, findings }) => {
                let about = format!("the catalog does not fit the contract that {provider} has published");
                listed(&about, "files", findings)
            }
            ChanceryError::Broker(BrokerError::Mistakes(mistakes)) => {
                let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                listed("the catalog does not fit the registry", "files", &lines)
            }
            ChanceryError::Broker(BrokerError::Invariants(broken)) => {
                listed("the change breaks an invariant that the stewards declared", "files", broken)
            }
            ChanceryError::Broker(BrokerError::BoundTwice(twice)) => {
                Status::failed_precondition(twice.to_string())
            }
            ChanceryError::Broker(BrokerError::TooLarge(bundle)) => {
                Status::failed_precondition(bundle.to_string())
            }
            ChanceryError::Broker(error) => {
                tracing::error!(%error, "catalog change not taken");
                Status::unavailable(
                    "the broker could not check, store or record the change; it is not taken, try again",
                )
            }
        }
    }
}

impl Unfit {
    /// As the caller reads it.
    pub fn to_status(&self) -> Status {
        let message = self.to_string();
        match self {
            Unfit::NotFound(_) | Unfit::Forgotten(_) => Status::not_found(message),
            Unfit::Overtaken { .. } | Unfit::Etag | Unfit::Moved => Status::aborted(message),
            Unfit::SamePerson | Unfit::Stranger(_) | Unfit::NotYours | Unfit::Approval(_) => {
                MeshError::new(Reason::DenyCertificate, message).with_rule("R-09").to_status()
            }
            Unfit::NotProposed(_) | Unfit::Nothing | Unfit::Version { .. } => {
                Status::failed_precondition(message)
            }
            Unfit::TooMany => Status::resource_exhausted(message),
            _ => Status::invalid_argument(message),
        }
    }
}

fn listed(message: &str, field: &str, lines: &[String]) -> Status {
    let mut details = ErrorDetails::new();
    for line in lines.iter().take(FINDINGS_SHOWN_MAX) {
        details.add_bad_request_violation(field, line);
    }
    Status::with_error_details(Code::InvalidArgument, message, details)
}

fn word(state: ChangeState) -> String {
    state.as_str_name().trim_start_matches("CHANGE_STATE_").to_ascii_lowercase()
}
