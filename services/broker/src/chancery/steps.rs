//! The steps of a change: proposed by one person, approved by another, or rejected.

use std::sync::Arc;

use lienthong_approval::{Statement, folder_hash, judge_approval, judge_pair};
use lienthong_audit::hash::Hash;
use lienthong_catalog::SourceFile;
use lienthong_catalog::catalog::{Catalog, Entry};
use lienthong_certs::{Judge, PeerCertificate};
use lienthong_proto::lienthong::catalog::v1::{Change, ChangeState as State};
use lienthong_proto::lienthong::control::v1::{Approval, ApprovedChange, Approver};
use rustls_pki_types::CertificateDer;
use tokio::task::spawn_blocking;

use super::{Book, Chancery, ChanceryError, InForce, Unfit, found, name, read};
use crate::activated::Signed;
use crate::clock;
use crate::error::BrokerError;
use crate::limits::{CHANGE_NOTE_CHARS_MAX, CHANGE_REASON_CHARS_MAX, CHANGES_OPEN_MAX, REQUEST_ID_CHARS_MAX};
use crate::shelf::ShelvedChange;
use crate::steward::Preview;
use crate::stored::StoredChange;

/// A folder that somebody proposes.
#[derive(Debug)]
pub struct Proposal {
    /// Its files.
    pub files: Vec<SourceFile>,
    /// Hash of the folder that it stands on.
    pub base_hash: Vec<u8>,
    /// Hash that its sender says it has.
    pub content_hash: Vec<u8>,
    /// The proposer's signature; not asked for where it is only checked.
    pub approval: Option<Approval>,
    /// What for.
    pub note: String,
    /// Random.
    pub request_id: String,
    /// Check only.
    pub validate_only: bool,
}

/// What became of a proposal.
#[derive(Debug)]
pub struct Proposed {
    /// The change; without a name where it was only checked.
    pub change: Change,
    /// What it would mean; nothing where the same request was answered before.
    pub preview: Option<Preview>,
}

impl Chancery {
    /// Checks a folder, and keeps it as a change that waits for the second person.
    ///
    /// # Errors
    /// [`ChanceryError`].
    pub async fn propose(
        &self,
        officer: &PeerCertificate,
        proposal: Proposal,
    ) -> Result<Proposed, ChanceryError> {
        let mut desk = self.desk.lock().await;
        let content = folder_hash(&proposal.files);
        if content.0.as_slice() != proposal.content_hash {
            return Err(Unfit::NotWhole.into());
        }
        check_texts(&proposal)?;
        if let Some(change) = answered_before(&desk.book, officer, &proposal, content)? {
            return Ok(Proposed { change: Self::shown(change, None), preview: None });
        }
        let material = self.steward.material().await;
        let present = Arc::clone(&material.in_force);
        if present.content.0.as_slice() != proposal.base_hash {
            return Err(Unfit::Overtaken { in_force: hex::encode(present.content.0) }.into());
        }
        if content == present.content {
            return Err(Unfit::Nothing.into());
        }
        let (files, registry) = (proposal.files, Arc::clone(&desk.registry));
        let judged = spawn_blocking(move || {
            let catalog = read(&files, &registry);
            (files, catalog)
        });
        let (files, catalog) = judged.await.map_err(|_| BrokerError::Stopped)?;
        let catalog = Arc::new(catalog.map_err(ChanceryError::Mistakes)?);
        let judge = self.judge.borrow().clone();
        let activates = present.activated.lacking(&catalog, &material.catalog, &judge);
        check_versions(&activates, &material.catalog)?;
        let statement = Statement::of(&self.mesh, Some(present.content), content, &activates).to_bytes();
        let preview = self.steward.preview(Arc::clone(&catalog)).await?;
        let mut change = Change {
            state: State::Proposed.into(),
            base_hash: present.content.0.to_vec(),
            content_hash: content.0.to_vec(),
            approved: Some(ApprovedChange { statement: statement.clone(), approvals: Vec::new() }),
            create_time: Some(clock::now()),
            note: proposal.note,
            activates: activates.iter().map(|entry| entry.versioned_id()).collect(),
            files: u32::try_from(files.len()).unwrap_or(u32::MAX),
            bytes: files.iter().map(|file| file.text.len() as u64).sum(),
            ..Change::default()
        };
        if proposal.validate_only {
            return Ok(Proposed { change, preview: Some(preview) });
        }
        let approval = proposal.approval.ok_or(Unfit::NoApproval)?;
        let approver = approver(&desk.approvers, officer)?;
        judge_one(&statement, &approval, &approver, officer, &judge)?;
        let open = |one: &&StoredChange| Self::state(one, present.content) == State::Proposed;
        if desk.book.values().filter(open).count() >= CHANGES_OPEN_MAX {
            return Err(Unfit::TooMany.into());
        }
        let number = desk.book.keys().next_back().map_or(1, |newest| newest + 1);
        change.name = name(number);
        change.approvers = vec![approver.subject.clone()];
        if let Some(approved) = &mut change.approved {
            approved.approvals.push(approval);
        }
        let stored = StoredChange::new(number, change, vec![approver], proposal.request_id, &files);
        let detail = format!("{} files, {} entries to be activated", files.len(), activates.len());
        self.record("catalog.propose", &actor(officer), &stored, &detail).await?;
        self.shelf.put_change(&stored, Some(&files)).await?;
        let shown = Self::shown(&stored, Some(present.content));
        self.forget(&mut desk.book, &present).await?;
        desk.book.insert(number, stored);
        Ok(Proposed { change: shown, preview: Some(preview) })
    }

    /// Puts a change into force.
    ///
    /// # Errors
    /// [`ChanceryError`]; everything stays as it was then.
    pub async fn approve(
        &self,
        officer: &PeerCertificate,
        name: &str,
        approval: Option<Approval>,
        etag: &str,
    ) -> Result<Change, ChanceryError> {
        let mut desk = self.desk.lock().await;
        let material = self.steward.material().await;
        let present = Arc::clone(&material.in_force);
        let stored = found(&desk.book, name)?.clone();
        let state = Self::state(&stored, present.content);
        // The same step again, after an answer that was lost.
        if state == State::Applied && stored.approvers.iter().any(|one| is_of(one, officer)) {
            return Ok(Self::shown(&stored, Some(present.content)));
        }
        if state != State::Proposed {
            return Err(Unfit::NotProposed(state).into());
        }
        if Self::shown(&stored, Some(present.content)).etag != etag {
            return Err(Unfit::Etag.into());
        }
        if stored.is_by(officer) {
            return Err(Unfit::SamePerson.into());
        }
        let mut change = stored.shown();
        let mut approved = change.approved.take().unwrap_or_default();
        let person = approver(&desk.approvers, officer)?;
        let approval = approval.ok_or(Unfit::NoApproval)?;
        let judge = self.judge.borrow().clone();
        let second = judge_one(&approved.statement, &approval, &person, officer, &judge)?;
        if let (Some(first), Some(proposer)) = (approved.approvals.first(), stored.approvers.first()) {
            let chain: Vec<CertificateDer<'_>> =
                proposer.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
            let first =
                judge_approval(&approved.statement, first, &chain, &judge).map_err(Unfit::Approval)?;
            judge_pair(&first, &second).map_err(Unfit::Approval)?;
        }
        approved.approvals.push(approval);
        let files = self.shelf.folder(&stored).await?;
        let (checked, registry) = (files.clone(), Arc::clone(&desk.registry));
        let catalog =
            spawn_blocking(move || read(&checked, &registry)).await.map_err(|_| BrokerError::Stopped)?;
        let catalog = Arc::new(catalog.map_err(ChanceryError::Mistakes)?);
        let activates = present.activated.lacking(&catalog, &material.catalog, &judge);
        let statement = Statement::of(&self.mesh, Some(present.content), folder_hash(&files), &activates);
        if statement.to_bytes() != approved.statement {
            return Err(Unfit::Moved.into());
        }
        change.approvers.push(person.subject.clone());
        change.approved = Some(approved.clone());
        change.state = State::Applied.into();
        change.decide_time = Some(clock::now());
        // What the issuer gives it; the same draft again gets the same.
        let mut applied = StoredChange { approvers: stored.approvers.clone(), ..stored };
        applied.approvers.push(person);
        applied.change = Some(change);
        let pair = Signed { approved, approvers: applied.approvers.clone() };
        let behind = present.activated.after(applied.number, pair, &activates, &catalog);
        let in_force = Arc::new(InForce {
            number: applied.number,
            content: folder_hash(&files),
            files: files.into(),
            activated: Arc::new(behind),
        });
        let shelved = ShelvedChange::new(applied, &in_force, false);
        let detail = format!("{} entries activated", activates.len());
        let epoch = self.steward.apply(catalog, in_force, &shelved, &actor(officer), &detail).await?;
        let mut applied = shelved.change;
        if let Some(change) = &mut applied.change {
            change.epoch = epoch;
        }
        // The epoch is for people: where this is lost, the change is in force all the same.
        self.shelf.put_change(&applied, None).await?;
        let shown = Self::shown(&applied, None);
        desk.book.insert(applied.number, applied);
        Ok(shown)
    }

    /// Ends a change that is not in force.
    ///
    /// # Errors
    /// [`ChanceryError`].
    pub async fn reject(
        &self,
        officer: &PeerCertificate,
        name: &str,
        reason: &str,
    ) -> Result<Change, ChanceryError> {
        let mut desk = self.desk.lock().await;
        let present = self.steward.in_force().await;
        if reason.trim().is_empty()
            || reason.chars().count() > CHANGE_REASON_CHARS_MAX
            || reason.contains('\n')
        {
            return Err(Unfit::Reason.into());
        }
        let mut stored = found(&desk.book, name)?.clone();
        let state = Self::state(&stored, present.content);
        if !matches!(state, State::Proposed | State::Overtaken) {
            return Err(Unfit::NotProposed(state).into());
        }
        if let Some(change) = &mut stored.change {
            change.state = State::Rejected.into();
            change.decide_time = Some(clock::now());
            reason.clone_into(&mut change.reason);
            change.rejected_by = officer.subject.text.clone();
        }
        self.record("catalog.reject", &actor(officer), &stored, reason).await?;
        self.shelf.put_change(&stored, None).await?;
        let shown = Self::shown(&stored, Some(present.content));
        desk.book.insert(stored.number, stored);
        Ok(shown)
    }
}

/// An entry that says something else has another version.
fn check_versions(activates: &[&Entry], before: &Catalog) -> Result<(), Unfit> {
    let old = |id: &str| before.entries().iter().find(|entry| entry.id == id);
    let stale = activates.iter().find(|entry| {
        old(&entry.id).is_some_and(|old| old.content != entry.content && old.version >= entry.version)
    });
    stale.map_or(Ok(()), |entry| Err(Unfit::Version { entry: entry.id.clone(), version: entry.version }))
}

/// The change that the same request made before.
fn answered_before<'b>(
    book: &'b Book,
    officer: &PeerCertificate,
    proposal: &Proposal,
    content: Hash,
) -> Result<Option<&'b StoredChange>, Unfit> {
    if proposal.validate_only || proposal.request_id.is_empty() {
        return Ok(None);
    }
    match book.values().find(|one| one.request_id == proposal.request_id) {
        Some(before) if before.shown().content_hash == content.0 && before.is_by(officer) => Ok(Some(before)),
        Some(_) => Err(Unfit::RequestId),
        None => Ok(None),
    }
}

fn check_texts(proposal: &Proposal) -> Result<(), Unfit> {
    if proposal.note.chars().count() > CHANGE_NOTE_CHARS_MAX || proposal.note.contains('\n') {
        return Err(Unfit::Note);
    }
    if proposal.request_id.chars().count() > REQUEST_ID_CHARS_MAX {
        return Err(Unfit::RequestId);
    }
    Ok(())
}

fn judge_one(
    statement: &[u8],
    approval: &Approval,
    approver: &Approver,
    officer: &PeerCertificate,
    judge: &Judge,
) -> Result<PeerCertificate, Unfit> {
    let chain: Vec<CertificateDer<'_>> =
        approver.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let person = judge_approval(statement, approval, &chain, judge).map_err(Unfit::Approval)?;
    if person.fingerprint() == officer.fingerprint() { Ok(person) } else { Err(Unfit::NotYours) }
}

/// The approver whom the registry binds this certificate to.
pub(super) fn approver(approvers: &[Approver], officer: &PeerCertificate) -> Result<Approver, Unfit> {
    let found = approvers.iter().find(|approver| is_of(approver, officer));
    found.cloned().ok_or_else(|| Unfit::Stranger(officer.subject.text.clone()))
}

fn is_of(approver: &Approver, officer: &PeerCertificate) -> bool {
    let bound = officer.binding();
    approver.certificate.as_ref().is_some_and(|certificate| {
        certificate.serial == bound.serial
            && certificate.issuer == bound.issuer
            && certificate.spki_sha256 == bound.spki_sha256
    })
}

impl StoredChange {
    /// Whether the officer, under this or another certificate, has signed it.
    fn is_by(&self, officer: &PeerCertificate) -> bool {
        self.approvers.iter().any(|approver| {
            let key = approver.certificate.as_ref().map(|certificate| certificate.spki_sha256.as_slice());
            approver.subject == officer.subject.text || key == Some(officer.binding().spki_sha256.as_slice())
        })
    }
}

fn actor(officer: &PeerCertificate) -> String {
    format!("operators/{}", officer.subject.text)
}
