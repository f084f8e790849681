//! The authorities an operator trusts: several generations and branches at once.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor};
use webpki::aws_lc_rs as algorithms;
use x509_parser::certificate::X509Certificate;

use crate::certificate::{self, ProfileError};
use crate::development::{self, Mark};
use crate::files::{self, FileError};
use crate::name;

/// Most authority certificates configured at once.
pub const TRUSTED_CERTIFICATES_MAX: usize = 64;

/// Signature algorithms accepted inside a chain and on a revocation list: no SHA-1, no RSA below 2048 bits.
pub(super) const CHAIN_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Which side of public life an authority serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Branch {
    /// Official use, state agencies.
    State,
    /// Official use, Party agencies.
    Party,
    /// A public authority, for parties that are no agencies. Trusted only where explicitly configured.
    Public,
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "State",
            Self::Party => "Party",
            Self::Public => "public",
        })
    }
}

/// One authority by name *and* key: SHA-256 over both. Two generations under one name stay two authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuthorityId([u8; 32]);

impl AuthorityId {
    /// The hash, as others are told it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>) -> AuthorityId {
        let key = certificate.public_key().raw;
        AuthorityId(certificate::sha256(&[certificate.subject().as_raw(), key].concat()))
    }
}

/// A configured authority: a root (anchor) or one below it.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Name and key.
    pub id: AuthorityId,
    /// Its distinguished name, one RFC 4514 line in NFC.
    pub name: String,
    /// The branch under which it was configured.
    pub branch: Branch,
    /// True if it is a root: trusted because the operator says so.
    pub root: bool,
    /// True if it is marked as made for development.
    pub development: bool,
    pub(super) der: CertificateDer<'static>,
    /// Subject and key in DER, for matching issuers.
    subject: Vec<u8>,
    pub(super) spki_der: Vec<u8>,
    /// False if its key usage forbids signing revocation lists.
    pub(super) signs_lists: bool,
}

/// The trust anchors, and the authorities below them that are known beforehand.
///
/// An authority below a root is worth configuring: its revocation list can be verified before the first peer
/// shows up, its branch is known, and a peer that forgets to send it is still understood.
#[derive(Debug, Clone, Default)]
pub struct TrustAnchors {
    authorities: Vec<Authority>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl TrustAnchors {
    /// No trust at all: the start of [`TrustAnchors::add`].
    pub fn empty() -> TrustAnchors {
        TrustAnchors::default()
    }

    /// Reads PEM files of authority certificates, each for one branch. A self-issued certificate becomes a
    /// trust anchor; any other must have its issuer among those given.
    ///
    /// # Errors
    /// [`TrustError`] naming the file and the certificate.
    pub fn load(files: &[(Branch, PathBuf)]) -> Result<TrustAnchors, TrustError> {
        let mut anchors = TrustAnchors::empty();
        for (branch, path) in files {
            for der in files::certificates(path)? {
                anchors.add(*branch, &der).map_err(|source| source.at(path))?;
            }
        }
        anchors.check_complete()?;
        Ok(anchors)
    }

    /// Adds one authority certificate. Given twice, the first branch stays.
    ///
    /// # Errors
    /// [`TrustError`] if it cannot be read, is no authority, or there are too many.
    pub fn add(&mut self, branch: Branch, der: &CertificateDer<'_>) -> Result<(), TrustError> {
        let certificate = certificate::parse(der)?;
        let id = AuthorityId::of(&certificate);
        if self.authorities.iter().any(|known| known.id == id && known.der == *der) {
            return Ok(());
        }
        if self.authorities.len() == TRUSTED_CERTIFICATES_MAX {
            return Err(TrustError::TooMany);
        }
        let name = name::canonical(certificate.subject()).map_err(ProfileError::from)?;
        if !certificate.is_ca() {
            return Err(TrustError::NotAnAuthority(name));
        }
        let root = certificate.subject().as_raw() == certificate.issuer().as_raw();
        if root {
            let anchor = webpki::anchor_from_trusted_cert(der)
                .map_err(|error| TrustError::Unusable { name: name.clone(), detail: error.to_string() })?;
            self.anchors.push(anchor.to_owned());
        }
        let key_usage = certificate
            .key_usage()
            .map_err(|error| TrustError::Unusable { name: name.clone(), detail: error.to_string() })?;
        self.authorities.push(Authority {
            id,
            branch,
            root,
            development: development::mark(&certificate) != Mark::None,
            subject: certificate.subject().as_raw().to_vec(),
            spki_der: certificate.public_key().raw.to_vec(),
            signs_lists: key_usage.is_none_or(|usage| usage.value.crl_sign()),
            name,
            der: der.clone().into_owned(),
        });
        Ok(())
    }

    /// Every configured authority, in the order given.
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// True if nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// True if any authority is marked as made for development.
    pub fn development(&self) -> bool {
        self.authorities.iter().any(|authority| authority.development)
    }

    pub(super) fn webpki(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The authorities that could have issued something whose issuer is `name_der`.
    pub(super) fn named(&self, name_der: &[u8]) -> impl Iterator<Item = &Authority> {
        self.authorities.iter().filter(move |authority| authority.subject == name_der)
    }

    /// The authority behind one of [`TrustAnchors::webpki`]'s anchors.
    pub(super) fn root(&self, anchor: &TrustAnchor<'_>) -> Option<&Authority> {
        let position = self.anchors.iter().position(|known| std::ptr::eq(known, anchor))?;
        self.authorities.iter().filter(|authority| authority.root).nth(position)
    }

    /// The branch of the nearest authority that is configured.
    pub(super) fn branch_of(&self, authorities: &[AuthorityId]) -> Option<Branch> {
        authorities
            .iter()
            .find_map(|id| self.authorities.iter().find(|known| known.id == *id))
            .map(|known| known.branch)
    }

    /// Every authority below a root must have its issuer here: alone it would silently never be used.
    ///
    /// # Errors
    /// [`TrustError::NoRoot`] naming the first that has none.
    pub fn check_complete(&self) -> Result<(), TrustError> {
        for authority in self.authorities.iter().filter(|authority| !authority.root) {
            let certificate = certificate::parse(&authority.der)?;
            let vouched =
                self.named(certificate.issuer().as_raw()).any(|issuer| signed_by(&certificate, issuer));
            if !vouched {
                return Err(TrustError::NoRoot(authority.name.clone()));
            }
        }
        Ok(())
    }
}

fn signed_by(certificate: &X509Certificate<'_>, issuer: &Authority) -> bool {
    let algorithm = certificate.signature_algorithm.algorithm.as_bytes();
    verify_signed(
        &issuer.spki_der,
        algorithm,
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_value.data,
    )
}

/// Checks a signature whose algorithm is named beside it, as X.509 does: every accepted algorithm with that
/// object identifier is tried under the key.
pub(super) fn verify_signed(spki_der: &[u8], algorithm_oid: &[u8], data: &[u8], signature: &[u8]) -> bool {
    let spki = spki_der.into();
    let Ok(key) = webpki::RawPublicKeyEntity::try_from(&spki) else {
        return false;
    };
    CHAIN_ALGORITHMS
        .iter()
        .filter(|candidate| names_oid(candidate.signature_alg_id().as_ref(), algorithm_oid))
        .any(|candidate| key.verify_signature(*candidate, data, signature).is_ok())
}

/// True if an `AlgorithmIdentifier`'s content starts with that object identifier (tag 6, short length).
fn names_oid(identifier: &[u8], oid: &[u8]) -> bool {
    match identifier {
        [0x06, length, rest @ ..] => usize::from(*length) == oid.len() && rest.starts_with(oid),
        _ => false,
    }
}

/// Trust that cannot be configured as asked.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read as it should.
    #[error(transparent)]
    File(#[from] FileError),
    /// One certificate in a file cannot be used.
    #[error("{path}: {source}")]
    At {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<TrustError>,
    },
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] ProfileError),
    /// A leaf given as an authority.
    #[error(
        "\"{0}\" is no certificate authority: only authorities can be trusted, never a single certificate"
    )]
    NotAnAuthority(String),
    /// The path validator does not take it.
    #[error("\"{name}\" cannot be used as a trust anchor: {detail}")]
    Unusable {
        /// The authority.
        name: String,
        /// Why.
        detail: String,
    },
    /// An authority below a root that is not given.
    #[error(
        "\"{0}\" is not a root and no configured authority issued it: add its root to the trust files (R-39)"
    )]
    NoRoot(String),
    /// More than [`TRUSTED_CERTIFICATES_MAX`].
    #[error("more than {TRUSTED_CERTIFICATES_MAX} authority certificates are configured")]
    TooMany,
    /// A development authority in a production role.
    #[error(
        "the authority \"{0}\" is marked as made for development: remove it, or set `development = true` \
             on a role that holds no real data"
    )]
    Development(String),
}

impl TrustError {
    fn at(self, path: &Path) -> TrustError {
        TrustError::At { path: path.to_owned(), source: Box::new(self) }
    }
}
