//! Contracts as their readers see them.
//!
//! **What.** Pure functions over descriptor sets: what of several contracts one caller may see ([`merge()`],
//! [`narrow()`]), and which file declares a name ([`file_of`]).
//!
//! **Why here.** Reflection at a node, `lienthong proto` and documentation must show the same thing. None of them
//! should know how descriptors are cut or written down.
//!
//! **What not.** Who may call what: that is the catalog's. What a contract declares to share: that is the
//! catalog's model of it. No I/O, no clock.

mod merge;
mod narrow;
mod symbol;

pub use merge::{LeftOut, Merged, merge};
pub use narrow::{NarrowError, narrow};
pub use symbol::file_of;
