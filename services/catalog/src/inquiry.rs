//! Questions about decisions: why it was so, what would change, who can read what.
//!
//! All of them are pure functions over compiled rights, for people: stewards before they approve a change, officers and
//! callers after a denial. No call waits for them, and what they say binds nobody; nodes decide.
//!
//! - [`call`]: a call as it can be asked about, made up or taken from a record; and the decision about it.
//! - [`mod@what_if`]: which calls another edition of the rights would decide differently.
//! - [`mod@who_can`]: who may read a field, for which purpose, on which terms.
//! - [`mod@explain`]: a decision on record, in words.

pub mod call;
pub mod explain;
pub mod what_if;
pub mod who_can;

pub use call::{Call, Outcome, judge};
pub use explain::{Explanation, explain};
pub use what_if::{Difference, what_if};
pub use who_can::{Reader, who_can};
