//! The node's work beside the traffic, on a runtime of its own: hearing the broker ([`watch`]), keeping what
//! it said ([`bundle`]), telling it what took effect ([`receipt`]), publishing the agency's contract ([`publish`]), having
//! its certificate renewed ([`successor`]), taking over a renewed one ([`renewal`]) and a newer mesh trust file
//! ([`trust_file`]), shipping the journal ([`ship`]), holding the log to its receipts ([`witness`]), erasing what opens
//! records of persons who were erased ([`erase`]), what has to be done at start ([`orphans`]) and every so often
//! ([`housekeeping`]).

pub mod broker;
pub mod bundle;
pub mod erase;
pub mod fetched_lists;
pub mod housekeeping;
pub mod orphans;
pub mod publish;
pub mod receipt;
pub mod renewal;
pub mod ship;
pub mod successor;
pub mod trust_file;
pub mod watch;
pub mod witness;
