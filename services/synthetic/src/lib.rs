//! A backend that answers any contract with synthetic data, from its descriptors alone.
//!
//! **What.** Given a contract (a descriptor set with its dataset options), it serves every method of it, in all four
//! kinds of call. What it says is a function of what it is asked: the same question gets the same answer, today and
//! on another machine, and the same key is the same record whichever method asks for it.
//!
//! **Why.** An integrator without access to the mesh needs a counterpart that has the real contracts, and no real
//! register may serve for that. A sandbox (`lienthong node run --sandbox`) puts this behind its providers' nodes.
//!
//! **What not.** No authorization and no audit: that is the node's work, here as everywhere. No plausible people: a
//! number of 12 digits begins with 999, which no authority issues, and asking for another one finds nobody.
//!
//! - [`answer`]: from a question to its answers. **Start here.** Pure.
//! - [`record`]: a record as a function of its key; [`value`]: one field; [`text`], [`pattern`], [`fake`]: what stands
//!   in a text.
//! - [`chance`]: where the variety comes from.
//! - [`backend`]: all of it behind a listener.

pub mod answer;
pub mod backend;
pub mod chance;
pub mod fake;
pub mod pattern;
pub mod record;
pub mod text;
pub mod value;

mod service;
