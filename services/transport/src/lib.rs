//! HTTP/2 over mutual TLS: how bytes enter and leave a process of the mesh; HTTP/1.1 too, where systems call that speak
//! nothing else.
//!
//! **What.** An acceptor that lets only judged peers in, a connector that knocks on other doors, the
//! register of everyone who is inside, and the ways to end a connection: at once (revocation), politely
//! (drain, age), or because the other side went quiet.
//!
//! **Why a crate of its own.** `rustls` and hyper's connection types change often and their settings are
//! security decisions. They are named here and nowhere else, so that the rest of the house speaks only
//! `http::Request` and `http::Response`. The same code carries the nodes' traffic threads (one
//! current-thread runtime per core) and the control services (tonic routers).
//!
//! **What not.** No gRPC, no catalog, no registry: who a certificate *is* in the mesh is looked up
//! by the caller from [`Peer`]; whether a certificate is good is judged by `lienthong-certs`.
//!
//! Walk through it in this order:
//!
//! | module | noun |
//! |---|---|
//! | [`limits`] | every bound and timeout, with its unit and its reason |
//! | [`material`] | our certificate, key and trust; swapped without a restart |
//! | [`file_watch`] | files that are replaced while a role runs |
//! | `own_key` | our own key in a handshake, in a file or in a token |
//! | `verifier` | the judge of `lienthong-certs`, in the shape rustls asks for |
//! | [`listener`] | sockets: TCP with `SO_REUSEPORT`, Unix with the peer's uid, development loopback |
//! | `waiting_room` | the bounded room of unfinished handshakes |
//! | [`handshakes`] | how many came in, how many were turned away and why |
//! | `acceptor` | from an accepted socket to a [`Peer`], or a named refusal |
//! | [`peer`] | who is on the other side |
//! | `control` | the switch of one connection: open, finishing, cut |
//! | [`connections`] | the register of live connections; closes those that may not go on |
//! | [`drain`] | graceful first, forced after a deadline |
//! | [`mod@serve`] | the accept loop and one connection's life |
//! | `conversation` | what is spoken on one connection: HTTP/2, or either version of HTTP |
//! | `preface` | the byte stream of an accepted connection: has it begun to speak, and heard our last word? |
//! | [`deadline`] | how long the other side waits |
//! | [`leash`] | what ends a stream whose reader holds it up |
//! | [`tower_service`] | the same for tower services (tonic and axum routers) |
//! | `governed` | the byte stream that a switch can cut |
//! | [`connector`] | one outgoing connection |
//! | `backoff` | when to knock again |
//! | [`channel`] | a lasting handle to one remote endpoint |
//! | `resend` | a request that can be sent again, should the other side not have looked at it |
//! | [`send_error`] | why a request has no response, and whether it may go elsewhere |

pub mod channel;
pub mod connections;
pub mod connector;
pub mod deadline;
pub mod drain;
pub mod file_watch;
pub mod handshakes;
pub mod leash;
pub mod limits;
pub mod listener;
pub mod material;
pub mod peer;
pub mod send_error;
pub mod serve;
pub mod tower_service;
pub mod turns;

mod acceptor;
mod backoff;
mod control;
mod conversation;
mod governed;
mod own_key;
mod preface;
mod resend;
mod verifier;
mod waiting_room;

pub use channel::{Channel, ChannelOptions};
pub use connections::{CapReached, Connections};
pub use connector::{ConnectError, Connection, Endpoint, VerifyPeer, connect};
pub use drain::{Drain, DrainOutcome};
pub use file_watch::FileWatch;
pub use handshakes::{HandshakeCounts, Handshakes, RefusalReason, RefusalReport, SourcePrefix};
pub use limits::Limits;
pub use listener::{ListenError, LocalListener, LoopbackListener, bind, bind_loopback, bind_unix};
pub use material::{MaterialError, SharedMaterial, TlsMaterial};
pub use peer::{ConnectionId, Direction, Peer, PeerIdentity, StreamPlace, UnixPeer};
pub use send_error::{FailedSend, SendError};
pub use serve::Server;
pub use turns::{Turn, Turns};
