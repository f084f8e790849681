//! The index of the log: what can be searched for, how it is laid out, how a question is answered.
//!
//! **What.** A record becomes a [`Row`]: its time and its [terms](term). Rows of a block of the log become a
//! [`segment`]: an immutable sorted file, a posting list for each term. Neighbouring segments [merge](segment::merge) into
//! one. A [`Query`] is answered newest first, segment by segment, and the same query judges a row that is in no segment yet.
//!
//! **Why so.** The terms of a block follow from its entries alone: whoever holds the entries makes the same bytes. So the
//! log can commit to each block of its own index, and an auditor can tell that an answer is complete. Immutable files need no
//! recovery: a file is there or it is not.
//!
//! **What not.** No file, no clock, no key, no person: subjects come as tokens that somebody else has keyed. No rule of who
//! may ask what.
//!
//! | module | noun |
//! |---|---|
//! | [`fold`](mod@fold) | text without case and marks |
//! | [`term`] | something a record can be found by |
//! | [`row`] | a record as the index sees it |
//! | [`query`] | a question |
//! | [`segment`] | a block of rows, sorted |

pub mod fold;
pub mod query;
pub mod row;
pub mod segment;
pub mod term;

pub use fold::fold;
pub use query::{Clause, Query, Want};
pub use row::Row;
pub use segment::{IndexError, ReadAt, Segment};
pub use term::{Dimension, Term};
