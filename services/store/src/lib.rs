//! One ordered-key contract for the mesh's control state: registry, catalog, rights versions, positions.
//!
//! **What.** [`Store`] maps byte keys to byte values and moves forward by atomic batches. Each batch that changes
//! something raises the store's *revision*; each value remembers the revision that wrote it, so that a writer
//! can say "only if nobody was here since" ([`Batch::require`]), and a reader can follow all later changes from where
//! it stands ([`Store::watch`]).
//!
//! **Why a contract.** On one machine the state sits in an embedded `sled` ([`SledStore`]), in a cluster of
//! brokers in etcd, in quick tests in memory ([`MemoryStore`]). The contract is what etcd can promise (revisions,
//! compare-and-commit, watch from a revision, compaction), with bounds that etcd accepts by default; whoever writes
//! against it need not know which one is behind. One conformance suite (`tests/store/conformance.rs`) runs on all.
//!
//! **What not.** The store does not know what it holds. It is for small state that is read from memory and written
//! rarely: the audit log and the journals are files of their own (`lienthong-audit`), and large answers do not belong here.
//!
//! # Modules
//! - [`contract`]: the [`Store`] trait and its values. **Start here.**
//! - [`batch`]: what is committed at once, and ranges of keys.
//! - [`error`]: what can go wrong.
//! - [`memory`]: the store in memory.
//! - [`embedded`]: the store in `sled`.
//! - inside: `changes` (the bounded log that watches are served from), `judge` (what a batch does to a state).

pub mod batch;
mod changes;
pub mod contract;
pub mod embedded;
pub mod error;
mod judge;
pub mod memory;

pub use batch::{Batch, Expected, KeyRange};
pub use contract::{Change, Entry, Event, Page, Revision, Store, StoreFuture, Versioned, Watch};
pub use embedded::{SledOptions, SledStore};
pub use error::StoreError;
pub use memory::MemoryStore;
