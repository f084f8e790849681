//! What records are like, by what their own contract demands of them.
//!
//! **What.** A [`Checker`] is made once from the descriptor of a method's response: which messages in it are records, which
//! fields must be there, which patterns their values must keep, which fields identify a record, and which one tells when its
//! source changed it. It looks at single messages and fills a [`Sample`] with counts.
//!
//! **Why.** That data is correct, complete and clean is measured where it leaves, not reported by whom it belongs to. A sample
//! is enough, and costs next to nothing.
//!
//! **What not.** Nothing is changed, dropped or held back: a record against the rules is counted, and its consumer gets it. A
//! value never leaves this crate. Whether a value stands in a code list is not judged: the list is another dataset.

mod checker;
mod rules;
mod sample;

pub use checker::Checker;
pub use rules::{is_pattern, is_time};
pub use sample::{KEYS_MAX, RECORDS_MAX, Sample};
