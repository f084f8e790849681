//! Four eyes on the catalog: what two persons of the operator signed, and how anybody checks it.
//!
//! **What.** A change of the catalog is a whole folder. The entries that it activates are the leaves of a Merkle tree, whose
//! root stands in a short statement together with the hash of the folder. Two persons sign the statement with the keys of
//! their own certificates. A bundle carries statement, signatures and, for each entry behind its rights, the entry itself
//! with its inclusion proof.
//!
//! **Why.** The broker compiles and signs the rights of everybody. With this, a broker in wrong hands still cannot grant what
//! two persons did not sign: every node checks it ([`Checker`]).
//!
//! **What not.** Which agencies a class such as `LOCAL.ALL` means, and the default rights of R-07, are the registry's word. No
//! storage, no clock: times come in as arguments.
//!
//! | module | noun |
//! |---|---|
//! | [`folder`] | the hash of a catalog folder |
//! | [`statement`] | what is signed |
//! | [`signature`] | one person's signature, made and judged |
//! | [`mod@check`] | the question that a node asks of a bundle |
//! | [`mod@file`] | approvals in a file beside the folder |

pub mod check;
pub mod file;
pub mod folder;
pub mod signature;
pub mod statement;

pub use check::{Checker, Unapproved};
pub use file::ApprovalFile;
pub use folder::folder_hash;
pub use signature::{ApprovalError, approve, judge_approval, judge_pair};
pub use statement::{Statement, StatementError, leaves, proofs};
