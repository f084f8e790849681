//! The official-use certificate: who is at the other end of a connection, and may it be believed.
//!
//! **Why.** Every hop of the mesh is mutual TLS, and the agency behind a call is known by its certificate
//! alone, never by what a request says (rules ). This crate reads such a certificate, judges it
//! against the trust the operator configured, and holds the keys that sign on the agency's behalf. It also
//! makes the *development* PKI: a complete, clearly fake set of authorities for a laptop or a test.
//!
//! **What not.** No sockets and no TLS configuration (that is `services/transport`), no agency registry and no
//! rights (`services/broker`, `services/catalog`). Nothing here decides *which* agency a certificate stands
//! for: [`CertificateBinding`] is the key by which the registry decides it.
//!
//! The data flows one way: bytes → [`PeerCertificate::read`] → [`Judge::judge`] → a [`PeerCertificate`] the
//! mesh accepts, or a [`CertificateRefusal`] that says why not and what to do.
//!
//! | module | what lives there |
//! |---|---|
//! | [`certificate`] | [`PeerCertificate`]: what a certificate says, read and normalised, nothing judged |
//! | [`name`] | distinguished names as canonical NFC text |
//! | [`algorithm`] | the key and signature algorithms the profile knows |
//! | [`judge`] | trust anchors, revocation lists, profile limits, and the judgement over them |
//! | [`inspect`] | one certificate explained in plain words |
//! | [`signer`] | signing and verifying with official-use keys |
//! | [`mesh_key`] | the mesh's own Ed25519 keys (rights bundle, log) |
//! | [`credentials`] | a role's own certificate chain and key |
//! | [`key_source`] | where a key lives: a file or a token |
//! | [`token`] | keys in a token (PKCS #11) |
//! | [`files`] | bounded reading of PEM, private files at mode 0600 |
//! | [`development`] | the extension that marks everything made for development |
//! | [`pki`] | the development PKI |
//! | [`request`] | a key and a signing request for a real authority |
//! | [`renewal`] | one certificate takes another's place |

pub mod algorithm;
pub mod certificate;
pub mod credentials;
pub mod development;
pub mod files;
pub mod inspect;
pub mod judge;
pub mod key_source;
pub mod mesh_key;
pub mod name;
pub mod pki;
pub mod renewal;
pub mod request;
pub mod signer;
pub mod token;

pub use algorithm::{KeyAlgorithm, SignatureAlgorithm};
pub use certificate::{CertificateBinding, PeerCertificate, ProfileError, Subject, Usage};
pub use credentials::{Credentials, CredentialsError};
pub use judge::{Branch, CertificateRefusal, Freshness, Judge, Profile, RevocationLists, TrustAnchors};
pub use key_source::{KeySource, TokenKey};
pub use mesh_key::MeshKey;
pub use pki::DevPki;
pub use signer::{Errand, SignError, SignatureError, Signer, verify};
pub use token::TokenError;
