//! The release filter: what was not granted does not leave the node (rules ).
//!
//! **What.** A [`Plan`] is compiled once from a message descriptor, the [`Annotations`] of the dataset
//! and the [`Grant`] of one consumer. Applied to the wire bytes of a message, it keeps the granted
//! fields of each record, drops every other field and every unknown one, masks what must be masked,
//! and fills a [`Report`] with the numbers and subjects that the audit record needs.
//!
//! **Why on wire bytes.** A node forwards messages of any agency and must not need their generated
//! code; and copying runs of bytes is an order of magnitude cheaper than decoding, changing and encoding.
//! The result equals that of the slow way (decode, drop, mask, encode) after canonical decoding:
//! `tests/filter/equivalence.rs` holds it to that over generated schemas and hostile encodings.
//!
//! **What not.** The filter takes no decision (that is the catalog's), reads no option of a `.proto`
//! (the caller tells it through [`Annotations`]), does no I/O and knows no clock. It judges the structure
//! of a message, not its values: text that is not UTF-8 is the receiver's to refuse, except where it
//! must be masked.
//!
//! # The words used here
//! - A *response* holds *records*, at the fields that the annotations call so. All fields outside records
//!   are the *envelope* (page token, totals) and stay if the descriptor knows them. A response may also be a record
//!   itself; then there is no envelope.
//! - A field of a record has an *id*: its name, or the names from the record downwards joined by dots
//!   (`noi_thuong_tru.ma_tinh`). A map is passed through as if its values were the field itself:
//!   `quan_he.ho_ten` names `ho_ten` in each value of the map `quan_he`; keys stay with their entry.
//! - Granting a field that is a message grants all that the descriptor knows beneath it. A parent of a
//!   granted field stays, even when nothing granted is inside: its presence is structure.
//!
//! # Modules
//! - [`annotations`]: where records and subjects sit in a message.
//! - [`grant`]: which fields one consumer may see, and how masked.
//! - [`plan`]: the compiled form, and its use on bytes. **Start here.**
//! - [`report`]: what a plan saw, released, dropped and masked; [`subjects`]: the people it saw.
//! - [`error`]: why a plan could not be made, or a message not filtered.
//! - inside: `compile` (descriptors → plan), `wire` (fields of a byte slice), `walk` (the one-pass filter),
//!   `settle` (the two-pass filter for messages with repeated singular fields), `collect` (subjects only),
//!   `mask` (the masking rules).

pub mod annotations;
mod collect;
mod compile;
pub mod error;
pub mod grant;
mod mask;
pub mod plan;
pub mod report;
mod settle;
pub mod subjects;
mod walk;
mod wire;

pub use annotations::Annotations;
pub use error::{Fault, FilterError, PlanError};
pub use grant::{FieldSet, Grant, HashKey, Masking};
pub use plan::Plan;
pub use report::Report;
pub use subjects::Subjects;
