//! Revocation lists where their authorities publish them: fetched on time, judged, and kept on disk.
//!
//! **Why.** A list that nobody fetches grows old, and old lists close core, important and personal data. So a role
//! fetches them itself. The addresses are the operator's: those inside a peer's certificate are never asked, since whoever
//! shows a certificate would then choose where we connect to.
//!
//! **What not.** Nothing takes effect here. A list that was judged good is put in its place on disk, where the role that
//! watches its files takes it over as if an operator had put it there; so it is there at the next start, too.
//!
//! An authority signs its list, so that plain HTTP is enough (RFC 5280 §8): whoever stands in between can keep a list from
//! us, which its own next update shows, and nothing else. An older list played back is not taken.
//!
//! | module | noun |
//! |---|---|
//! | [`address`] | where a list is published |
//! | [`mod@fetch`] | one request, bounded in time and size |
//! | [`keeper`] | the lists of one role: when each is fetched, and what is kept |

pub mod address;
pub mod fetch;
pub mod keeper;

pub use address::{Address, AddressError};
pub use fetch::{FetchError, fetch};
pub use keeper::{Keeper, Outcome, Pace, keepers};
