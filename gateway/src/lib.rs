//! The gateway: the mesh as the public sees it, and as officers do.
//!
//! **What.** A plain HTTP server, behind the operator's reverse proxy, that publishes the public part of the audit log
//! read-only from the broker's log folder, and one page that says in words what it is: which mesh, which log, how
//! large, how fresh.
//!
//! **Why.** "Nobody can rewrite the log" is only true if somebody outside can look. Checkpoint and hash tiles are
//! public so that anyone can keep the operator honest with tools of his own (C2SP tlog-tiles); entries are not,
//! because they say which agency asked about what and when (design §6, *Who may see the log*).
//!
//! **What not.** No write, no session, no citizen's data. It knows the log as a folder of files and trusts the
//! broker with nothing: given the log's key, it checks what it shows.
//!
//! | module | noun |
//! |---|---|
//! | [`config`] | what the operator sets |
//! | [`log_folder`] | the public files of the log, addressed by coordinates and never by path |
//! | [`head`] | what the log says of itself now, kept in memory |
//! | [`routes`] | which address answers what, with which headers |
//! | [`page`] | the public page |
//! | [`statistics`] | what everybody may know of how data is shared |
//! | [`open_data`] | the open datasets by name, and how they are called |
//! | [`server`] | start and stop |
//! | [`front`] | what a node's HTTP listener answers: calls and an integrator's pages |
//! | [`openapi`] | what one system may call, as OpenAPI and as a page |
//! | [`transcode`] | JSON over HTTP for every typed method; a library, which the binary puts in front of a node |
//!
//! What officers see is the [`console`], a crate of its own in this folder.

pub mod config;
pub mod front;
pub mod head;
pub mod log_folder;
pub mod open_data;
pub mod openapi;
pub mod page;
pub mod routes;
pub mod server;
pub mod statistics;
pub mod transcode;

pub use config::GatewayConfig;
pub use lienthong_console as console;
pub use server::{Gateway, GatewayError, check, run};
