//! Conditions on rows, and guardrails: what the law says about single rows and about everybody, written in Cedar.
//!
//! A *condition* belongs to a right and is an expression: the right reaches the rows for which it is true. It looks at
//! the request or at the record, never at both (design: conditions). A *guardrail* is a central `forbid` policy that
//! holds whatever a right says. Both are typed against the dataset's own contract before they are let in, and are
//! evaluated only where there are any.
//!
//! # The words that Cedar sees
//! - `principal`: the consumer, `Agency::"H26.90"`, which is `in Agency::"H26"`; `principal.code`.
//! - `action`: the purpose, `Action::"STATISTICS"`.
//! - `resource`: the dataset, `Dataset::"dancu.cong_dan"`, which is `in Dataset::"dancu"`; `resource.provider`, and its
//!   class in `resource.sharing`, `resource.importance`, `resource.personal`.
//! - `context.fields`, `context.masked_fields`, `context.methods`, `context.origin`: what the right grants.
//! - `context.system`, `context.dossier`: who asks and for what, where the call says so.
//! - `context.request.<field>` or `context.record.<field>`: the data.
//!
//! # What is not there allows nothing
//! An attribute is missing where the message does not hold it, where a text is empty or not in NFC, or where an enum
//! names nothing. Naming it is an error of Cedar's then; any error, of a condition or of a guardrail, denies.
//!
//! - [`text`]: conditions and guardrails as written; what they name.
//! - `shape`: the fields of a message that they name: their types, and how they are read from the wire.
//! - `vocabulary`: the words above, as Cedar's schema and entities.
//! - [`scope`]: everything that binds one right's calls of one method, ready to be asked.

pub mod scope;
pub(crate) mod shape;
pub mod text;
pub(crate) mod vocabulary;

pub use scope::RowScope;
pub use text::{Condition, ConditionError, Guardrail, POLICY_BYTES_MAX};
