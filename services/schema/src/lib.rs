//! Contracts as their readers see them.
//!
//! **What.** Pure functions over descriptor sets: what of several contracts one caller may see ([`merge()`],
//! [`narrow()`]), which file declares a name ([`file_of`]), a file as proto source ([`Printer`]), and what
//! changed between two versions ([`compare()`]).
//!
//! **Why here.** Reflection at a node, `lienthong proto` and documentation must show the same thing. None of them
//! should know how descriptors are cut or written down.
//!
//! **What not.** Who may call what: that is the catalog's. What a contract declares to share: that is the
//! catalog's model of it. No I/O, no clock.

mod compare;
mod merge;
mod narrow;
mod print;
mod symbol;

pub use compare::{Change, compare};
pub use merge::{LeftOut, Merged, merge};
pub use narrow::{NarrowError, is_common, narrow};
pub use print::Printer;
pub use symbol::file_of;
