//! The development PKI: a whole, clearly fake certificate landscape in one folder.
//!
//! It mirrors the shape of the official one (domain §2.7): a root, a State and a Party authority below it,
//! and apart from them a public authority for parties that are no agencies. Everything it makes carries the
//! [`crate::development`] mark, which production refuses. It is real in everything else: distribution points,
//! key identifiers, usages and revocation lists are as an auditor's linter wants them.
//!
//! ```text
//! DIR/ca/root.crt root.key  state.…  party.…  public.…     authorities (keys at mode 0600)
//! DIR/trust/state.pem party.pem public.pem                 what a role configures as trust
//! DIR/crl/root.crl state.crl party.crl public.crl          revocation lists (DER)
//! DIR/issued/NAME.crt NAME.key                             leaf first, then its authority; key at 0600
//! ```
//!
//! This module is an edge: it reads the clock, the system's randomness and the disk.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateSigningRequestParams, Issuer, KeyPair, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::certificate::{CertificateBinding, PeerCertificate, ProfileError};
use crate::credentials::{Credentials, CredentialsError};
use crate::development;
use crate::files::{self, FileError};
use crate::judge::{Branch, RevocationError, RevocationLists, RevocationReason, TrustAnchors, TrustError};

mod authority;
mod extension;
mod lists;
mod renew;
mod request;

pub use authority::{AUTHORITY_DAYS, DevAuthority, ROOT_DAYS};
pub use lists::CRL_DAYS;
pub(crate) use renew::names_of;
pub use request::{Holder, KeyKind, LEAF_DAYS, NAME_CHARS_MAX, Request};

/// How long before its making a certificate is already valid, in seconds: clocks differ.
pub const BACKDATE_SECONDS: i64 = 300;

/// One development PKI, in one folder.
#[derive(Debug, Clone)]
pub struct DevPki {
    dir: PathBuf,
    mesh_id: String,
}

impl DevPki {
    /// Makes a new PKI in `dir` (made if absent) for the mesh `mesh_id`, a lower-case DNS label.
    ///
    /// # Errors
    /// [`PkiError::Exists`] if `dir` holds one; others if it cannot be made.
    pub fn create(dir: &Path, mesh_id: &str) -> Result<DevPki, PkiError> {
        if !development::is_mesh_id(mesh_id) {
            return Err(PkiError::MeshId(mesh_id.to_owned()));
        }
        let pki = DevPki { dir: dir.to_owned(), mesh_id: mesh_id.to_owned() };
        if DevAuthority::ALL.iter().any(|authority| pki.authority_key(*authority).exists()) {
            return Err(PkiError::Exists(dir.to_owned()));
        }
        for folder in ["ca", "trust", "crl", "issued"] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).map_err(|source| PkiError::Make { path: folder, source })?;
        }
        for authority in DevAuthority::ALL {
            pki.make_authority(authority)?;
        }
        for (branch, path) in pki.trust_files() {
            files::replace(&path, pki.trust_pem(branch)?.as_bytes())?;
        }
        for authority in DevAuthority::ALL {
            pki.crl(authority)?;
        }
        Ok(pki)
    }

    /// Opens the PKI that [`DevPki::create`] made in `dir`.
    ///
    /// # Errors
    /// [`PkiError::NotOurs`] if the root there is not marked as a development root; others if it cannot be read.
    pub fn open(dir: &Path) -> Result<DevPki, PkiError> {
        let root = dir.join("ca/root.crt");
        let certificate = PeerCertificate::read(&files::certificates(&root)?)?;
        let mesh_id = certificate.mesh_id.ok_or(PkiError::NotOurs(root))?;
        Ok(DevPki { dir: dir.to_owned(), mesh_id })
    }

    /// The mesh this PKI belongs to.
    pub fn mesh_id(&self) -> &str {
        &self.mesh_id
    }

    /// Issues a node certificate under the State branch: client and server, DNS names or IP addresses, agency
    /// URN. Named `AGENCY-NODE`.
    ///
    /// # Errors
    /// [`PkiError`] if a name does not fit, or the certificate exists.
    pub fn issue_node(
        &self,
        agency_code: &str,
        agency_name: &str,
        node_id: &str,
        dns_names: &[&str],
    ) -> Result<Issued, PkiError> {
        let holder = Holder::Node {
            agency_code: agency_code.to_owned(),
            agency_name: agency_name.to_owned(),
            node_id: node_id.to_owned(),
        };
        self.issue(&Request::new(holder).with_dns_names(dns_names))
    }

    /// Issues an information system's certificate under the State branch. Named `AGENCY-SYSTEM`.
    ///
    /// # Errors
    /// As [`DevPki::issue_node`].
    pub fn issue_system(
        &self,
        agency_code: &str,
        agency_name: &str,
        system_id: &str,
    ) -> Result<Issued, PkiError> {
        self.issue(&Request::new(Holder::System {
            agency_code: agency_code.to_owned(),
            agency_name: agency_name.to_owned(),
            system_id: system_id.to_owned(),
        }))
    }

    /// Issues an officer's certificate under the State branch: client and signatures. Named `AGENCY-ROLE`.
    ///
    /// # Errors
    /// As [`DevPki::issue_node`].
    pub fn issue_person(&self, agency_code: &str, name: &str, role: &str) -> Result<Issued, PkiError> {
        self.issue(&Request::new(Holder::Person {
            agency_code: agency_code.to_owned(),
            name: name.to_owned(),
            role: role.to_owned(),
        }))
    }

    /// Issues a certificate of the public authority to a party that is no agency; it names no agency. Named
    /// `CODE`.
    ///
    /// # Errors
    /// As [`DevPki::issue_node`].
    pub fn issue_public(
        &self,
        enterprise_code: &str,
        name: &str,
        dns_names: &[&str],
    ) -> Result<Issued, PkiError> {
        let holder =
            Holder::Enterprise { enterprise_code: enterprise_code.to_owned(), name: name.to_owned() };
        self.issue(&Request::new(holder).with_dns_names(dns_names))
    }

    /// Issues what `request` says. Nothing is checked against the profile of [`crate::judge`]: tests need
    /// certificates it refuses.
    ///
    /// # Errors
    /// [`PkiError`] if a name does not fit, or the certificate exists.
    pub fn issue(&self, request: &Request) -> Result<Issued, PkiError> {
        let name = request.file_name()?;
        let issued = self.dir.join("issued");
        let (certificate, key) = (issued.join(format!("{name}.crt")), issued.join(format!("{name}.key")));
        if certificate.exists() || key.exists() {
            return Err(PkiError::AlreadyIssued(certificate));
        }
        let authority = DevAuthority::of(request.branch);
        let pair = request.key.generate()?;
        let params = request.params(&self.mesh_id, authority, &pair, OffsetDateTime::now_utc())?;
        let leaf = params.signed_by(&pair, &self.issuer(authority)?)?;

        let mut chain = leaf.pem();
        if authority.parent().is_some() {
            chain.push_str(&self.authority_pem(authority)?);
        }
        files::create_private(&key, pair.serialize_pem().as_bytes())?;
        files::replace(&certificate, chain.as_bytes())?;
        let binding = PeerCertificate::read(&[leaf.into()])?.binding().clone();
        Ok(Issued { certificate, key, binding })
    }

    /// Certifies a key that stays with its holder, as a real authority does with a signing request
    /// ([`crate::request`]): nothing is kept here. Answers the chain as PEM, leaf first.
    ///
    /// # Errors
    /// [`PkiError`] if a name does not fit, or `spki_der` is no public key that can be certified.
    pub fn certify(&self, request: &Request, spki_der: &[u8]) -> Result<String, PkiError> {
        let authority = DevAuthority::of(request.branch);
        let key = SubjectPublicKeyInfo::from_der(spki_der)?;
        let params = request.params(&self.mesh_id, authority, &key, OffsetDateTime::now_utc())?;
        let mut chain = params.signed_by(&key, &self.issuer(authority)?)?.pem();
        if authority.parent().is_some() {
            chain.push_str(&self.authority_pem(authority)?);
        }
        Ok(chain)
    }

    /// Certifies what a signing request (PKCS #10, PEM) asks for as it stands there, for so many days: the part of an
    /// authority in tests of renewal. Answers the chain as PEM, leaf first.
    ///
    /// # Errors
    /// [`PkiError`] if the request is none, or its key has not signed it.
    pub fn answer(&self, request_pem: &str, branch: Branch, days: i64) -> Result<String, PkiError> {
        let authority = DevAuthority::of(branch);
        let mut asked = CertificateSigningRequestParams::from_pem(request_pem)?;
        request::complete(&mut asked.params, &self.mesh_id, authority, &asked.public_key, days)?;
        let mut chain = asked.signed_by(&self.issuer(authority)?)?.pem();
        if authority.parent().is_some() {
            chain.push_str(&self.authority_pem(authority)?);
        }
        Ok(chain)
    }

    /// What was issued under `name` before (`G01-nut-1` for node `nut-1` of G01), if anything.
    ///
    /// # Errors
    /// [`PkiError`] if the files are there but cannot be read.
    pub fn issued(&self, name: &str) -> Result<Option<Issued>, PkiError> {
        let name = request::checked_file_name(name)?;
        let issued = self.dir.join("issued");
        let (certificate, key) = (issued.join(format!("{name}.crt")), issued.join(format!("{name}.key")));
        if !certificate.exists() {
            return Ok(None);
        }
        let binding = PeerCertificate::read(&files::certificates(&certificate)?)?.binding().clone();
        Ok(Some(Issued { certificate, key, binding }))
    }

    /// Revokes a certificate of this PKI, an authority's too, and publishes the new list. Revoking twice
    /// keeps the first entry.
    ///
    /// # Errors
    /// [`PkiError::NotIssuedHere`] if no authority of this PKI has that issuer's name; others if the list
    /// cannot be read or written.
    pub fn revoke(&self, binding: &CertificateBinding, reason: RevocationReason) -> Result<(), PkiError> {
        for authority in DevAuthority::ALL {
            let certificate = PeerCertificate::read(&[self.authority_der(authority)?])?;
            if certificate.subject.text == binding.issuer {
                return self
                    .publish_list(authority, Some((&binding.serial, reason)), Duration::days(CRL_DAYS))
                    .map(|_| ());
            }
        }
        Err(PkiError::NotIssuedHere(binding.to_string()))
    }

    /// Publishes a fresh list of `authority` with the entries it had, and gives its path.
    ///
    /// # Errors
    /// [`PkiError`] if the list cannot be read or written.
    pub fn crl(&self, authority: DevAuthority) -> Result<PathBuf, PkiError> {
        self.publish_list(authority, None, Duration::days(CRL_DAYS))
    }

    /// The same, with the next list due in `due`; a list that is overdue from the start where that is negative, for tests.
    ///
    /// # Errors
    /// As [`DevPki::crl`].
    pub fn crl_due(&self, authority: DevAuthority, due: Duration) -> Result<PathBuf, PkiError> {
        self.publish_list(authority, None, due)
    }

    /// The list files of all authorities, for [`RevocationLists::load`].
    pub fn crl_files(&self) -> Vec<PathBuf> {
        DevAuthority::ALL.iter().map(|authority| self.crl_path(*authority)).collect()
    }

    /// The trust files, each for its branch, for [`TrustAnchors::load`] and configuration. The public one is
    /// last; a role that trusts agencies only leaves it out.
    pub fn trust_files(&self) -> Vec<(Branch, PathBuf)> {
        [(Branch::State, "state.pem"), (Branch::Party, "party.pem"), (Branch::Public, "public.pem")]
            .map(|(branch, file)| (branch, self.dir.join("trust").join(file)))
            .to_vec()
    }

    /// The anchors of all three branches.
    ///
    /// # Errors
    /// [`PkiError`] if a file cannot be read.
    pub fn anchors(&self) -> Result<TrustAnchors, PkiError> {
        Ok(TrustAnchors::load(&self.trust_files())?)
    }

    /// The lists of all authorities, as published last.
    ///
    /// # Errors
    /// [`PkiError`] if a file cannot be read.
    pub fn lists(&self) -> Result<RevocationLists, PkiError> {
        Ok(RevocationLists::load(&self.crl_files(), &self.anchors()?)?)
    }

    /// An authority's own certificate, as its issuer's list would name it.
    ///
    /// # Errors
    /// [`PkiError`] if it cannot be read.
    pub fn authority_binding(&self, authority: DevAuthority) -> Result<CertificateBinding, PkiError> {
        Ok(PeerCertificate::read(&[self.authority_der(authority)?])?.binding().clone())
    }

    fn make_authority(&self, authority: DevAuthority) -> Result<(), PkiError> {
        let pair = KeyPair::generate()?;
        let params = authority.params(&self.mesh_id, &pair, OffsetDateTime::now_utc())?;
        let certificate = match authority.parent() {
            None => params.self_signed(&pair)?,
            Some(parent) => params.signed_by(&pair, &self.issuer(parent)?)?,
        };
        files::create_private(&self.authority_key(authority), pair.serialize_pem().as_bytes())?;
        files::replace(&self.authority_certificate(authority), certificate.pem().as_bytes())?;
        Ok(())
    }

    /// The authority as one that signs: its name, key identifier and key.
    fn issuer(&self, authority: DevAuthority) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let path = self.authority_key(authority);
        let key = KeyPair::try_from(&files::private_key(&path)?)?;
        Ok(Issuer::from_ca_cert_der(&self.authority_der(authority)?, key)?)
    }

    fn authority_der(&self, authority: DevAuthority) -> Result<CertificateDer<'static>, PkiError> {
        let path = self.authority_certificate(authority);
        files::certificates(&path)?.into_iter().next().ok_or(PkiError::NotOurs(path))
    }

    fn authority_pem(&self, authority: DevAuthority) -> Result<String, PkiError> {
        let bytes = files::read(&self.authority_certificate(authority), files::PEM_BYTES_MAX)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The branch's authority and, where there is one, the root above it.
    fn trust_pem(&self, branch: Branch) -> Result<String, PkiError> {
        let authority = DevAuthority::of(branch);
        let mut pem = self.authority_pem(authority)?;
        if let Some(parent) = authority.parent() {
            pem.push_str(&self.authority_pem(parent)?);
        }
        Ok(pem)
    }

    fn authority_certificate(&self, authority: DevAuthority) -> PathBuf {
        self.dir.join("ca").join(format!("{}.crt", authority.file_stem()))
    }

    fn authority_key(&self, authority: DevAuthority) -> PathBuf {
        self.dir.join("ca").join(format!("{}.key", authority.file_stem()))
    }

    fn crl_path(&self, authority: DevAuthority) -> PathBuf {
        self.dir.join("crl").join(format!("{}.crl", authority.file_stem()))
    }
}

/// A certificate issued, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// PEM: the leaf, then the authority that issued it if that is not a root.
    pub certificate: PathBuf,
    /// PEM, PKCS #8, mode 0600.
    pub key: PathBuf,
    /// What the registry binds.
    pub binding: CertificateBinding,
}

impl Issued {
    /// Loads both files.
    ///
    /// # Errors
    /// [`CredentialsError`] if they were changed since.
    pub fn credentials(&self) -> Result<Credentials, CredentialsError> {
        Credentials::load(&self.certificate, &self.key)
    }
}

/// What the development PKI could not do.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written as it should.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder, or the lock of a list, cannot be made.
    #[error("cannot make {path}: {source}")]
    Make {
        /// The folder or lock.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is a PKI already; its keys are not thrown away.
    #[error("{0} already holds a development PKI: open it, or choose an empty folder")]
    Exists(PathBuf),
    /// The root in the folder carries no development mark.
    #[error("{0} is not the root of a development PKI")]
    NotOurs(PathBuf),
    /// The mesh id is no lower-case DNS label.
    #[error("\"{0}\" is no mesh id: use 1 to {max} of a-z, 0-9 and `-`, not at the ends", max = development::MESH_ID_BYTES_MAX)]
    MeshId(String),
    /// A name, code or id that does not fit into a certificate or a file name.
    #[error("{what} \"{value}\" cannot be used: {rule}")]
    Name {
        /// Which one.
        what: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A certificate of that name exists; its key is not thrown away.
    #[error("{0} exists already: use it, or remove it together with its key")]
    AlreadyIssued(PathBuf),
    /// The issuer is none of this PKI.
    #[error("the certificate {0} was not issued by this development PKI")]
    NotIssuedHere(String),
    /// A certificate just made, or on disk, cannot be read.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The trust files cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The list on disk cannot be read.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// The certificate library refused.
    #[error("the certificate could not be made: {0}")]
    Library(#[from] rcgen::Error),
}
