//! The console: what officers, auditors and operators of the mesh see in a browser.
//!
//! **What.** Pages, rendered on the server, that ask the broker for the person who looks at them: the log and its proofs,
//! findings, the catalog, the duty to share, nodes. Each is a GET that can be sent to a colleague, works without a script and
//! by keyboard, in Vietnamese and in English.
//!
//! **Why.** Officers, stewards and heads of agencies look; they do not grep.
//!
//! **What not.** It keeps nothing and decides nothing: who may see what is the broker's word, asked anew for each page with
//! the person's own certificate (broker, `spokesman`). It holds no key of anybody's: what needs a signature is shown with the
//! command that makes it.
//!
//! ```text
//!   browser ── client certificate ──▶ visit (who, which language) ──▶ page ──▶ desk ── for the person ──▶ broker
//! ```
//!
//! | module | noun |
//! |---|---|
//! | [`config`] | what the operator sets |
//! | [`server`] | start and stop: the door for certificates, and the one for trials |
//! | [`routes`] | which address is which page, and the headers of each answer |
//! | [`visit`] | one request's person, language and page |
//! | [`sign_in`] | choosing a person in a development mesh |
//! | [`desk`] | questions to the broker for one person |
//! | [`belief`] | whom the console believes: authorities and the log's keys |
//! | [`proof`] | "verified now": a record against the log's checkpoint, computed here |
//! | [`shell`] | what stands around every page |
//! | [`pages`] | the pages, a file each |
//! | [`record`] | a record of the log as a row and as a list of facts |
//! | [`words`] | words of the protocol, in two languages |
//! | [`format`](mod@format) | times, numbers, downloads |
//! | [`lang`] | Vietnamese first, then English |
//! | [`failure`] | why there is no page |
//! | [`live`] | findings as they come |
//! | [`public_line`] | what everybody may know, for the public pages |

pub mod belief;
pub mod config;
pub mod desk;
pub mod failure;
pub mod format;
pub mod lang;
pub mod live;
pub mod pages;
pub mod proof;
pub mod public_line;
pub mod record;
pub mod routes;
pub mod server;
pub mod shell;
pub mod sign_in;
pub mod visit;
pub mod words;

pub use config::{BrokerAddress, ConsoleConfig, TrialConfig};
pub use public_line::PublicLine;
pub use server::{Console, ConsoleError, check};
