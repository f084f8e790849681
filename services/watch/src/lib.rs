//! Watch rules: which patterns of records somebody must look at.
//!
//! **What.** The records of the log come in, in log order; each is an [`Event`] for the [`Watcher`], which counts by the
//! [`Rules`] and says what trips one: a volume far above the usual, somebody asking at night, a register that is read
//! out person by person, denials again and again. What it says is a `Finding`, and stays open until a person has looked.
//!
//! **Why so.** Every single call of an abuser may be permitted; only the pattern gives him away. Rules are data, so that an
//! operator changes them without a new program, and whoever reads the log later can run other rules over the same records.
//!
//! **What not.** No disk, no clock, no log, no person: time is the record's own, and a rule knows people only by the opaque id
//! of the end user who asked. A side that is missing and a node that is silent are found by `lienthong-matching`.
//!
//! | module | noun |
//! |---|---|
//! | [`rules`] | the rules, as they stand in a file |
//! | [`event`] | what a rule must know of a record |
//! | [`counts`] | how much, in which window of time, and how much is usual |
//! | [`watcher`] | rules at work |

pub mod counts;
pub mod event;
pub mod rules;
pub mod watcher;

pub use event::{Event, What};
pub use rules::{Rule, Rules, RulesError};
pub use watcher::Watcher;
