//! The question that a node asks of a bundle: has every right that stands on an entry been signed by two persons?

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::merkle::{PROOF_HASHES_MAX, verify_inclusion};
use lienthong_catalog::catalog::Entry;
use lienthong_certs::{Judge, PeerCertificate};
use lienthong_proto::lienthong::control::v1::{
    ActivatedEntry, Activations, ApprovedChange, Approver, RightOrigin, RightsBundle,
};
use rustls_pki_types::CertificateDer;

use crate::signature::{ApprovalError, judge_approval, judge_pair};
use crate::statement::Statement;

/// Longest entry, bytes of its canonical JSON.
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;
/// Approvals of a change.
pub const APPROVALS: usize = 2;

/// Why a bundle is refused: something in it was not approved.
#[derive(Debug, thiserror::Error)]
pub enum Unapproved {
    /// A right or dataset of an entry that no two persons put into force.
    #[error(
        "{what} stands on {entry}, which no two persons put into force (R-09); tell the operator of the mesh at once"
    )]
    Entry {
        /// Right or dataset.
        what: String,
        /// Entry.
        entry: String,
    },
    /// A right or dataset that goes beyond its entry.
    #[error(
        "{what} grants {beyond} than {entry}, as two persons signed it (R-09); tell the operator of the mesh at once"
    )]
    Beyond {
        /// Right or dataset.
        what: String,
        /// Entry.
        entry: String,
        /// What goes beyond.
        beyond: &'static str,
    },
    /// An entry's proof is none.
    #[error("{entry}: {problem} (R-09)")]
    Proof {
        /// Entry.
        entry: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The approvals of a change do not hold.
    #[error("the approvals of a catalog change do not hold: {0}")]
    Approval(#[from] ApprovalError),
}

/// Checks one bundle after another. Signatures and proofs are judged each time; of an entry that was read before, only its
/// hash is taken again.
#[derive(Debug, Default)]
pub struct Checker {
    /// The entries of the last good bundle, by leaf hash.
    read: HashMap<Hash, Arc<Entry>>,
}

impl Checker {
    /// Checks every dataset and right of a bundle that stands on an entry. `is_sensitive` tells of provider, dataset and field
    /// whether the contract declares it sensitive.
    ///
    /// # Errors
    /// [`Unapproved`]: the first thing that was not approved. The bundle must not be used then.
    pub fn check(
        &mut self,
        bundle: &RightsBundle,
        is_sensitive: &dyn Fn(&str, &str, &str) -> bool,
        judge: &Judge,
    ) -> Result<(), Unapproved> {
        let none = Activations::default();
        let activations = bundle.activations.as_ref().unwrap_or(&none);
        let (entries, read) = self.entries(activations, &bundle.mesh, judge)?;
        covered(bundle, &entries, is_sensitive)?;
        self.read = read;
        Ok(())
    }

    /// The entries that two persons put into force: by id, and by leaf hash.
    fn entries(
        &self,
        activations: &Activations,
        mesh: &str,
        judge: &Judge,
    ) -> Result<(Entries, HashMap<Hash, Arc<Entry>>), Unapproved> {
        let mut statements = Vec::new();
        for change in &activations.changes {
            let statement = approved(change, &activations.approvers, judge)?;
            if statement.mesh != mesh {
                return Err(proof("a catalog change", "it is of another mesh"));
            }
            statements.push(statement);
        }
        let (mut entries, mut read) = (Entries::new(), HashMap::new());
        for activated in &activations.entries {
            let leaf = proven(activated, &statements)?;
            let entry = match self.read.get(&leaf) {
                Some(entry) => Arc::clone(entry),
                None => Arc::new(entry_of(activated)?),
            };
            if entry.versioned_id() != activated.entry {
                return Err(proof(&activated.entry, "the entry calls itself otherwise"));
            }
            read.insert(leaf, Arc::clone(&entry));
            if entries.insert(entry.id.clone(), entry).is_some() {
                return Err(proof(&activated.entry, "the entry is there twice"));
            }
        }
        Ok((entries, read))
    }
}

/// Entries by id.
type Entries = BTreeMap<String, Arc<Entry>>;

/// Whether these entries cover every dataset and right that stands on one.
fn covered(
    bundle: &RightsBundle,
    entries: &Entries,
    is_sensitive: &dyn Fn(&str, &str, &str) -> bool,
) -> Result<(), Unapproved> {
    for dataset in bundle.datasets.iter().filter(|dataset| !dataset.entry.is_empty()) {
        let what = || format!("dataset {}", dataset.id);
        let (id, _version) = dataset.entry.split_once('@').unwrap_or((&dataset.entry, ""));
        let entry = entries
            .get(id)
            .ok_or_else(|| Unapproved::Entry { what: what(), entry: dataset.entry.clone() })?;
        entry.covers_dataset(dataset).map_err(|beyond| Unapproved::Beyond {
            what: what(),
            entry: entry.versioned_id(),
            beyond,
        })?;
    }
    for right in bundle.rights.iter().filter(|right| right.origin() != RightOrigin::Default) {
        let what = || format!("right {}", right.id);
        let id = right.id.split('/').next().unwrap_or_default();
        let entry =
            entries.get(id).ok_or_else(|| Unapproved::Entry { what: what(), entry: id.to_owned() })?;
        let sensitive = |field: &str| is_sensitive(&right.provider, &right.dataset, field);
        entry.covers(right, &sensitive).map_err(|beyond| Unapproved::Beyond {
            what: what(),
            entry: entry.versioned_id(),
            beyond,
        })?;
    }
    Ok(())
}

/// The statement of a change that two persons signed.
///
/// # Errors
/// [`ApprovalError`].
pub fn approved(
    change: &ApprovedChange,
    approvers: &[Approver],
    judge: &Judge,
) -> Result<Statement, Unapproved> {
    let [first, second] = change.approvals.as_slice() else {
        return Err(ApprovalError::Count { found: change.approvals.len() }.into());
    };
    let person = |approval| -> Result<PeerCertificate, ApprovalError> {
        let judged = approvers.iter().map(|approver| {
            let chain: Vec<CertificateDer<'_>> =
                approver.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
            judge_approval(&change.statement, approval, &chain, judge).map(|person| (approver, person))
        });
        let mut refusal = ApprovalError::OtherCertificate;
        for one in judged {
            match one {
                Ok((approver, person)) if is_bound(approver, &person) => return Ok(person),
                Ok(_) | Err(ApprovalError::OtherCertificate) => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    };
    judge_pair(&person(first)?, &person(second)?)?;
    Statement::read(&change.statement).map_err(|_| proof("a catalog change", "its statement cannot be read"))
}

/// The registry's binding is of this very certificate.
fn is_bound(approver: &Approver, person: &PeerCertificate) -> bool {
    let bound = person.binding();
    approver.certificate.as_ref().is_some_and(|certificate| {
        certificate.issuer == bound.issuer
            && certificate.serial == bound.serial
            && certificate.spki_sha256 == bound.spki_sha256
    })
}

/// The leaf hash of an entry that is a leaf of its change's tree.
fn proven(activated: &ActivatedEntry, statements: &[Statement]) -> Result<Hash, Unapproved> {
    let wrong = |problem| proof(&activated.entry, problem);
    if activated.content.len() > ENTRY_BYTES_MAX || activated.proof.len() > PROOF_HASHES_MAX {
        return Err(wrong("the entry or its proof is too large"));
    }
    let statement = usize::try_from(activated.change).ok().and_then(|place| statements.get(place));
    let statement = statement.ok_or_else(|| wrong("its change is not there"))?;
    let path: Vec<Hash> = activated.proof.iter().filter_map(|hash| Hash::from_slice(hash)).collect();
    let leaf = leaf_hash(&activated.content);
    verify_inclusion(&leaf, activated.index, statement.entries, &path, &statement.root)
        .map_err(|_| wrong("the entry is not what the two persons signed"))?;
    Ok(leaf)
}

fn entry_of(activated: &ActivatedEntry) -> Result<Entry, Unapproved> {
    let wrong = |problem| proof(&activated.entry, problem);
    let content = std::str::from_utf8(&activated.content).map_err(|_| wrong("the entry is not UTF-8"))?;
    Entry::read(content).map_err(|_| {
        wrong("this node's software does not understand the entry; bring the software up to date")
    })
}

fn proof(entry: &str, problem: &'static str) -> Unapproved {
    Unapproved::Proof { entry: entry.to_owned(), problem }
}
