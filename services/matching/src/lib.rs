//! Matching: both sides of each exchange file their own record; here they are laid side by side.
//!
//! **What.** The records of the log come in, in log order. What concerns one exchange gathers in a [`Pair`] until nothing
//! more is owed to it; on the way, what contradicts, comes twice, comes late or never becomes a finding.
//!
//! **Why.** A node alone could leave out or falsify its record. Two agencies would have to lie alike.
//!
//! **When is a record missing?** Journals ship in order, and every batch states by its node's clock when it was sealed. So
//! once a node has been heard, durably, past the end of an exchange and a grace, what it owed will not come: it is
//! missing. A node that is not heard is silent, which is another finding; its records may still come.
//!
//! **What not.** No disk, no clock, no log: the broker feeds it, keeps what it cannot hold, and records what it says.
//!
//! | module | noun |
//! |---|---|
//! | [`half`] | what matching must know of one side's record |
//! | [`pair`] | the halves of one exchange, and what they owe each other |
//! | [`matcher`] | all pairs that are open, and how far each node was heard |

pub mod half;
pub mod matcher;
pub mod pair;

pub use half::Half;
pub use matcher::{Bounds, Matcher, Verdict};
pub use pair::Pair;

/// Id of an exchange: a UUIDv7, so that pairs in order are pairs by age.
pub type ExchangeId = [u8; 16];
