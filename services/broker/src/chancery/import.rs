//! Folders that come in otherwise than over the mesh: signed by two persons elsewhere, or stored.

use std::sync::Arc;

use lienthong_approval::{ApprovalFile, Statement, folder_hash, judge_approval, judge_pair};
use lienthong_certs::Judge;
use lienthong_proto::lienthong::catalog::v1::{Change, ChangeState as State};
use lienthong_proto::lienthong::control::v1::{ApprovedChange, Approver};
use rustls_pki_types::CertificateDer;

use super::steps::approver;
use super::{Book, InForce, Unfit, name};
use crate::activated::{Activated, Signed, in_force};
use crate::clock;
use crate::declared::Declared;
use crate::error::BrokerError;
use crate::shelf::{Shelf, ShelvedChange};
use crate::stored::StoredChange;

/// A folder that two persons signed elsewhere.
pub(super) struct Import {
    pub(super) in_force: Arc<InForce>,
    pub(super) shelved: ShelvedChange,
}

/// Judges the folder of the configuration as a change.
pub(super) fn import(
    declared: &Declared,
    book: &Book,
    present: Option<&Arc<InForce>>,
    mesh: &str,
    judge: &Judge,
) -> Result<Import, Unfit> {
    let content = folder_hash(&declared.files);
    let was_in_force = |one: &StoredChange| {
        let change = one.shown();
        change.state() == State::Applied && change.content_hash == content.0
    };
    if present.is_some_and(|present| present.content == content) || book.values().any(was_in_force) {
        return Err(Unfit::InForceBefore);
    }
    let file = declared.approvals.as_ref().ok_or(Unfit::Unsigned)?;
    let file = ApprovalFile::read(file).map_err(|error| Unfit::File(error.to_string()))?;
    let approvals = file.approvals().map_err(|error| Unfit::File(error.to_string()))?;
    let base = Statement::read(file.statement.as_bytes()).map_err(|_| Unfit::OtherFolder)?.base;
    if base.is_some() && base != present.map(|present| present.content) {
        return Err(Unfit::OtherFolder);
    }
    let all = in_force(&declared.catalog);
    let statement = Statement::of(mesh, base, content, &all).to_bytes();
    if statement != file.statement.as_bytes() {
        return Err(Unfit::OtherFolder);
    }
    let (mut persons, mut approvers, mut signatures) = (Vec::new(), Vec::new(), Vec::new());
    for (approval, chain) in approvals {
        let chain: Vec<CertificateDer<'_>> =
            chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let person = judge_approval(&statement, &approval, &chain, judge).map_err(Unfit::Approval)?;
        approvers.push(approver(&declared.approvers, &person)?);
        persons.push(person);
        signatures.push(approval);
    }
    let [first, second] = persons.as_slice() else {
        return Err(Unfit::Unsigned);
    };
    judge_pair(first, second).map_err(Unfit::Approval)?;
    let number = book.keys().next_back().map_or(1, |newest| newest + 1);
    let approved = ApprovedChange { statement, approvals: signatures };
    let now = Some(clock::now());
    let change = Change {
        name: name(number),
        state: State::Applied.into(),
        base_hash: present.map(|present| present.content.0.to_vec()).unwrap_or_default(),
        content_hash: content.0.to_vec(),
        approved: Some(approved.clone()),
        approvers: approvers.iter().map(|one: &Approver| one.subject.clone()).collect(),
        create_time: now,
        decide_time: now,
        note: "imported from the catalog folder".to_owned(),
        activates: all.iter().map(|entry| entry.versioned_id()).collect(),
        files: u32::try_from(declared.files.len()).unwrap_or(u32::MAX),
        bytes: declared.files.iter().map(|file| file.text.len() as u64).sum(),
        ..Change::default()
    };
    let stored = StoredChange::new(number, change, approvers.clone(), String::new(), &declared.files);
    let signed = Signed { approved, approvers };
    let in_force = Arc::new(InForce {
        number,
        files: declared.files.clone(),
        content,
        activated: Arc::new(Activated::default().after(number, signed, &all, &declared.catalog)),
    });
    Ok(Import { shelved: ShelvedChange::new(stored, &in_force, true), in_force })
}

/// The folder that the store says is in force.
pub(super) async fn present(shelf: &Shelf, book: &Book, number: u64) -> Result<InForce, BrokerError> {
    let stored = book.get(&number).ok_or_else(|| BrokerError::Stored {
        key: name(number),
        problem: "the change that put the catalog into force is missing".to_owned(),
    })?;
    let files = shelf.folder(stored).await?;
    let signed = |stored: &StoredChange| Signed {
        approved: stored.shown().approved.unwrap_or_default(),
        approvers: stored.approvers.clone(),
    };
    let changes = book.iter().map(|(number, stored)| (*number, signed(stored))).collect();
    let activated = Activated::read(shelf.activated(number).await?, changes);
    Ok(InForce { number, content: folder_hash(&files), files: files.into(), activated: Arc::new(activated) })
}
