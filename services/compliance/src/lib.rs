//! How the duty to share is kept: measured from what is on record, never self-reported (R-11, R-13, R-19, R-20, R-40 to
//!
//!
//! **What.** The records of the log are counted, year by year, for each provider, dataset and consumer ([`Observed`]). What
//! was counted, and what is known of an entry otherwise ([`EntryFacts`]), becomes its checks and its score ([`entry`]); the
//! entries of an agency become its scorecard ([`card`]).
//!
//! **Why.** Sharing is mandated. Whether an agency shares, and whether what it shares is any good, must not depend on what it
//! says about itself: both sides of each exchange keep their own record, and the numbers come from there.
//!
//! **What not.** No clock and no storage: whoever calls says what time it is, and keeps the rows that changed. Single exchanges
//! are laid side by side in `lienthong-matching`; here only their numbers are. No value of data is ever seen.
//!
//! | module | noun |
//! |---|---|
//! | [`observed`] | what the log has shown, as rows that can be kept. **Start here.** |
//! | [`tally`] | the rows: calls, days, standing, open streams |
//! | [`sign`] | one record, as far as it counts |
//! | [`pulse`] | what time brings: data goes stale and flows again, days are reconciled |
//! | [`facts`] | what is known of an entry beside the log, and the rules it is judged by |
//! | [`entry`] | checks and score of one entry |
//! | [`card`] | the scorecard of an agency, the report of a year, public statistics |
//! | [`day`] | days and years of Việt Nam |

pub mod card;
pub mod day;
pub mod entry;
pub mod facts;
pub mod observed;
pub mod pulse;
pub mod sign;
pub mod tally;

pub use facts::{ContractStanding, EntryFacts, Rules};
pub use observed::Observed;
pub use pulse::News;
pub use tally::{DayCount, OpenStream, Pair, Standing, Tally};
