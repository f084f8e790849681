//! What every exchange pays for, path by path, on inputs that are the same each time.
//!
//! Three ask: `cargo bench -p lienthong-hotpaths` for times (criterion), `tests/hotpaths/run` for instructions (valgrind), compared
//! with what is on record in `baseline.json`, and `tests/bench` for ratios in one run.

pub mod answers;
pub mod asked;
pub mod baseline;
pub mod paths;
pub mod registry;
pub mod story;
