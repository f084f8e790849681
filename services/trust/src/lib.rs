//! The mesh trust file: whom every role of a mesh believes, in one file that people can read and offline roots sign.
//!
//! **What.** Authorities of certificates, the keys that sign rights bundles and the log, now and next, and the witnesses
//! of the log with how many of them must agree: one [`MeshTrust`], numbered, with a time and an end. It is carried as a
//! C2SP signed note ([`SignedTrust`]), so that any tool for such notes can sign or check it.
//!
//! **Why.** Keys and authorities change while a mesh lives, and must not change on anybody's word but the roots' (design
//! §6, *Trust*). A role pins the roots once; every later file is followed from the one before ([`SignedTrust::follow`]):
//! same mesh, higher version, signed by the roots that were trusted until now *and* by its own. So the roots themselves
//! can change, nobody who merely carries the file can forge it, and an old one played back is refused. The ideas are
//! those of TUF's root role; the form is simpler, because one file says everything.
//!
//! **What not.** No network, no TLS. Whether a certificate is good is judged by `lienthong-certs`, whether a checkpoint is
//! by `lienthong-audit`; this crate says by what.
//!
//! | module | noun |
//! |---|---|
//! | [`mesh_trust`] | what the file says. Pure |
//! | [`text`] | how it says it: TOML. Pure |
//! | [`signed`] | the file with its signatures: read, sign, follow. Pure |
//! | [`changes`] | what one version changes against another, in words. Pure |
//! | [`keeper`] | the versions that a role holds on its disk |
//! | [`ceremony`] | what is done where the root keys are |
//! | [`config`] | what a role configures |
//! | [`error`] | why a file is refused, and what to do |

pub mod ceremony;
pub mod changes;
pub mod config;
pub mod error;
pub mod keeper;
pub mod mesh_trust;
pub mod signed;
pub mod text;

pub use config::TrustConfig;
pub use error::{KeeperError, TrustFileError};
pub use keeper::TrustKeeper;
pub use mesh_trust::{Anchor, KeyPair, MeshTrust, Roots, Witness, Witnesses};
pub use signed::SignedTrust;
