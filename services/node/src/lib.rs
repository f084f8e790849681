//! An agency's node: its systems call out through it, other agencies' nodes call in through it, and nothing
//! passes that the catalog does not permit or that is not on record.
//!
//! **What.** A forwarding process that works on HTTP/2 frames and wire bytes, without generated code of
//! the services that it forwards. Traffic runs on one current-thread runtime a core ([`cores`]); the broker is
//! heard, and the journal shipped, on a runtime apart ([`control`]).
//!
//! **Why this shape.** The path of a call reads top to bottom: [`egress`] on the consumer's side, [`ingress`]
//! on the provider's, each a page, each step a file in [`call`]. A step takes what the step before made:
//! nothing is forwarded without a `Permitted`, nothing is released without an opening record.
//!
//! **What not.** How the broker stores, how certificates are judged, what the rules are: those are other
//! crates.
//!
//! - [`mod@run`]: puts a node together and keeps it running. **Start here**, then [`egress`] and [`ingress`].
//! - [`call`]: the steps. [`front`]: how another protocol, such as plain HTTP, takes the same steps.
//! - [`services`]: the agency's shared-data catalog, reflection, health, and what is wrong with a call.
//!   [`sandbox`]: the same node on synthetic data.
//! - [`node`], [`core`]: what all threads share, and what each has alone; [`upstream`]: its connections.
//! - [`gates`]: what must be on record, and where, before an answer leaves; [`promises`]: what the log promised.
//! - [`freshness`], [`revocation`], [`denials`], [`quota`], [`looks`], [`message_space`], [`trust`], [`own_files`],
//!   [`clock`]: one
//!   noun each.
//! - [`config`], [`limits`], [`metrics`]: what an operator sets and reads.

pub mod call;
pub mod clock;
pub mod config;
pub mod control;
pub mod core;
pub mod cores;
pub mod denials;
pub mod egress;
pub mod freshness;
pub mod front;
pub mod gates;
pub mod ingress;
pub mod limits;
pub mod looks;
pub mod message_space;
pub mod metrics;
pub mod node;
pub mod own_files;
pub mod promises;
pub mod quota;
pub mod revocation;
pub mod run;
pub mod sandbox;
pub mod services;
pub mod trace;
pub mod trust;
pub mod upstream;

pub use config::NodeConfig;
pub use front::{Egress, Front};
pub use run::{NodeError, check, run};
