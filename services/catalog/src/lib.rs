//! The law as software: who may ask whom for which data, for which purpose, down to the field.
//!
//! **What.** The mandatory-sharing catalog is read from YAML, checked against the rules (`R-nn`) and compiled,
//! with the contracts that providers publish, to *rights*. Each node receives the rights that concern it as a
//! bundle, indexes it and decides every call by it.
//!
//! **Why pure.** The same question gets the same answer at the consumer's node, at the provider's node and in an
//! auditor's hands years later. So texts, descriptors and times come in as arguments; nothing here opens a file,
//! asks a clock or talks to anybody.
//!
//! **What not.** No signature, no storage, no transport; no filtering of bytes either: this crate decides *which*
//! release plan applies, `lienthong-filter` applies it.
//!
//! From law to answer:
//! - [`source`]: the YAML files and their mistakes; [`catalog`]: what they say.
//! - [`contract`]: a provider's descriptor set, linted.
//! - [`mod@compile`]: catalog and contracts to rights, and the bundle of each node.
//! - [`rights`]: a bundle as the index that a node decides by.
//! - [`condition`]: which rows a right reaches, and what holds for everybody, in Cedar.
//! - [`mod@decide`]: the decision. **Start here.**
//! - [`directory`]: what people may read of all this; [`inquiry`]: why a call was decided so, and what would change.
//!
//! Words that they share:
//! - [`code`]: codes of agencies, parties and dossiers.
//! - [`purpose`]: purposes and their context.
//! - [`finding`]: what lint and compile notice.

pub mod catalog;
pub mod code;
pub mod compile;
pub mod condition;
pub mod contract;
pub mod decide;
pub mod delta;
pub mod directory;
pub mod finding;
pub mod inquiry;
pub mod parts;
pub mod purpose;
pub mod rights;
pub mod source;
mod words;

pub use catalog::Catalog;
pub use compile::{Issue, Published, Rights, compile};
pub use contract::{ApplicationMetadata, Beside, ContractError, ContractModel};
pub use decide::{Denial, Permitted, Question, decide};
pub use finding::{Finding, Severity};
pub use rights::{BundleError, Method, Place, Resolution, RightsIndex, TooMany};
pub use source::{Mistake, SourceFile};
