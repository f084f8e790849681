//! The broker: it decides who may ask whom for what, and keeps the record of what was done.
//!
//! **What.** It reads the operator's catalog and registry, takes in the contracts that providers publish, compiles both
//! to rights, and hands every node its own as a signed bundle. It takes every node's journal into the log that nobody can
//! rewrite, and answers with receipts.
//!
//! **Why.** Nodes enforce; somebody must decide, once for all and on record. The broker is not in the data path: when it is
//! away, exchange goes on until the bundles are too old (design §1, idea 2).
//!
//! **What not.** No call of an agency passes here, and no payload. The rules are `lienthong-catalog`'s, the log is
//! `lienthong-audit`'s; this crate puts them together, keeps their state, and opens the doors.
//!
//! From outside in:
//!
//! | module | noun |
//! |---|---|
//! | [`config`] | the TOML file |
//! | [`broker`] | the running whole: start, reload, stop. **Start here.** |
//! | [`service`] | the gRPC services, thin |
//! | [`door`] | from a proven certificate to an admitted caller |
//! | [`spokesman`] | a person for whom a console speaks |
//! | [`access`] | who may call what: one table |
//! | [`identity`] | who a certificate is |
//! | [`enrollment`] | one enrollment, from token to binding to its end. Pure |
//! | [`chancery`] | the one place where changes of the catalog are kept, from proposal to force |
//! | [`activated`] | by whose signatures each entry is in force |
//! | [`arbiter`] | the one place where refusals, disputes, outages and connection requests are kept |
//! | [`compliance`] | the one place where it is counted and judged how the duty to share is kept |
//! | [`replay`] | calls on record, decided again |
//! | [`breakage`] | whom another version of a contract would break. Pure |
//! | [`suspensions`] | rights that refusals suspend |
//! | [`offices`] | whoever keeps and changes what the broker decides by, opened together |
//! | [`registrar`] | the one place where enrollments are kept and changed |
//! | [`steward`] | the one place where rights change |
//! | [`issuer`] | epochs: numbered, put on record, then let out |
//! | [`generation`] | everything compiled, and sealed |
//! | [`bundle`] | what the broker signs for nodes |
//! | [`masking`] | the secret behind HASH masking |
//! | [`online`] | single decisions, for data that is decided online |
//! | [`board`] | which node decides by which epoch |
//! | [`fetched_lists`] | revocation lists from where they are published |
//! | [`ledger`] | the one writer of the log |
//! | [`witnesses`] | who cosigns what is published |
//! | [`positions`] | how much of each journal the log holds |
//! | [`findings`] | what is wrong with a journal, on record once |
//! | [`receipts`] | since when a node judges by another revocation list, on record |
//! | [`matching`] | both sides' records laid side by side, and watched |
//! | [`records`] | the broker's own records |
//! | [`revocation`] | which revocation lists the bundles carry |
//! | [`refusals`] | refused handshakes, on record |
//! | [`state`] | log and store, opened as a whole |
//! | [`backup`] | a data folder as a copy that proves itself |
//! | [`retention`] | how long bodies of the log are kept |
//! | [`saver`] | saves the positions now and then |
//! | [`shelf`], [`stored`] | what the store holds, and under which keys |
//! | [`declared`], [`sources`], [`trust`], [`own_files`], [`mesh_keys`], [`watch_rules`] | the operator's files |
//! | [`knocks`], [`paging`], [`query`], [`places`], [`quiet`], [`text`], [`metrics`], [`limits`], [`clock`], [`error`] | the small things |

pub mod access;
pub mod activated;
pub mod arbiter;
pub mod background;
pub mod backup;
pub mod board;
pub mod breakage;
pub mod broker;
pub mod bundle;
pub mod chancery;
pub mod clock;
pub mod compliance;
pub mod config;
pub mod declared;
pub mod door;
pub mod enrollment;
pub mod error;
pub mod fetched_lists;
pub mod findings;
pub mod generation;
pub mod identity;
pub mod index;
pub mod issuer;
pub mod knocks;
pub mod ledger;
pub mod limits;
pub mod masking;
pub mod matching;
pub mod mesh_keys;
pub mod metrics;
pub mod offices;
pub mod online;
pub mod own_files;
pub mod paging;
pub mod places;
pub mod positions;
pub mod query;
pub mod quiet;
pub mod receipts;
pub mod records;
pub mod refusals;
pub mod registrar;
pub mod replay;
pub mod retention;
pub mod revocation;
pub mod saver;
pub mod service;
pub mod shelf;
pub mod sources;
pub mod spokesman;
pub mod state;
pub mod steward;
pub mod stored;
pub mod suspensions;
pub mod text;
pub mod trust;
pub mod watch_rules;
pub mod witnesses;

pub use board::Board;
pub use broker::{Broker, check, run};
pub use config::BrokerConfig;
pub use error::BrokerError;
