//! Whom the broker trusts, and who it is: read at start and at each reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lienthong_certs::judge::CRL_BYTES_MAX;
use lienthong_certs::{
    CertificateBinding, Credentials, Judge, PeerCertificate, Profile, RevocationLists, files,
};
use lienthong_proto::lienthong::control::v1::{self as control, Approver};
use lienthong_trust::keeper::Owner;
use lienthong_trust::{SignedTrust, TrustKeeper};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

use crate::config::{BrokerConfig, OfficerConfig};
use crate::error::BrokerError;
use crate::identity::Caller;

/// The first byte of a DER list; PEM is text.
const DER_SEQUENCE: u8 = 0x30;

/// The mesh trust files that the broker holds and hands on: the newest last, and before it those that changed the roots,
/// which a node that slept must take first.
#[derive(Clone, Debug)]
pub struct MeshTrusts(Arc<[Arc<SignedTrust>]>);

impl MeshTrusts {
    /// What a keeper holds.
    pub fn of(keeper: &TrustKeeper) -> MeshTrusts {
        MeshTrusts(keeper.since(0).into())
    }

    /// One file alone: before anything is kept.
    pub fn just(signed: Arc<SignedTrust>) -> MeshTrusts {
        MeshTrusts([signed].into())
    }

    /// The one in force.
    pub fn newest(&self) -> &SignedTrust {
        // Made with one, and never made empty.
        &self.0[self.0.len() - 1]
    }

    /// What somebody who holds `version` must take next; `None` where it is up to date.
    pub fn after(&self, version: u64) -> Option<&Arc<SignedTrust>> {
        self.0.iter().find(|signed| signed.trust().version() > version)
    }
}

/// Whose trust it is that is kept.
pub fn owner(config: &BrokerConfig) -> Owner<'_> {
    Owner { mesh: &config.mesh, development: config.development, data_dir: &config.data_dir }
}

/// Everything that a handshake needs, and what nodes need to judge as the broker does.
#[derive(Debug)]
pub struct Trust {
    /// The broker's certificate and key.
    pub credentials: Credentials,
    /// Judges others.
    pub judge: Arc<Judge>,
    /// The revocation lists, DER, in the order of the configuration: for the nodes' bundles.
    pub revocation_lists: Vec<Vec<u8>>,
}

impl Trust {
    /// Reads everything that the configuration names, in the light of a mesh trust file. Blocks on the disk.
    ///
    /// # Errors
    /// [`BrokerError`] naming the file.
    pub fn load(config: &BrokerConfig, mesh: &SignedTrust) -> Result<Trust, BrokerError> {
        let credentials = Credentials::open(&config.certificate, &config.key)?;
        if credentials.certificate().development && !config.development {
            return Err(BrokerError::Development(config.certificate.clone()));
        }
        let anchors = mesh.trust().anchors();
        let (lists, left_out) = RevocationLists::load_known(&config.trust.revocation_lists, anchors)?;
        for error in left_out {
            tracing::warn!(%error, "a configured revocation list is left out");
        }
        let profile = if config.development { Profile::development() } else { Profile::default() };
        let judge = Arc::new(Judge::new(anchors.clone(), lists, profile)?);
        let mut revocation_lists = Vec::new();
        for path in &config.trust.revocation_lists {
            revocation_lists.extend(lists_in(path)?);
        }
        Ok(Trust { credentials, judge, revocation_lists })
    }
}

/// The bindings of the certificates of people: operators, auditors, agencies' officers.
///
/// # Errors
/// [`BrokerError`] naming the file.
pub fn people(config: &BrokerConfig) -> Result<Vec<(CertificateBinding, Caller)>, BrokerError> {
    let operators = config.operators.iter().map(|path| person(path, |subject| Caller::Operator { subject }));
    let auditors = config.auditors.iter().map(|path| person(path, |subject| Caller::Auditor { subject }));
    let officers = config.officers.iter().map(|OfficerConfig { certificate, agency }| {
        person(certificate, |subject| Caller::Officer { subject, agency: agency.clone() })
    });
    operators.chain(auditors).chain(officers).collect()
}

/// The operator's persons with their certificate chains: who may approve a change of the catalog.
///
/// # Errors
/// [`BrokerError`] naming the file.
pub fn approvers(paths: &[PathBuf]) -> Result<Vec<Approver>, BrokerError> {
    paths
        .iter()
        .map(|path| {
            let chain = files::certificates(path)?;
            let leaf = PeerCertificate::read(&chain)
                .map_err(|source| BrokerError::Certificate { path: path.to_owned(), source })?;
            let CertificateBinding { issuer, serial, spki_sha256 } = leaf.binding().clone();
            Ok(Approver {
                subject: leaf.subject.text,
                certificate: Some(control::CertificateBinding {
                    issuer,
                    serial,
                    spki_sha256: spki_sha256.to_vec(),
                }),
                chain: chain.iter().map(|der| der.to_vec()).collect(),
            })
        })
        .collect()
}

fn person(
    path: &Path,
    as_caller: impl FnOnce(String) -> Caller,
) -> Result<(CertificateBinding, Caller), BrokerError> {
    let leaf = certificate(path)?;
    Ok((leaf.binding().clone(), as_caller(leaf.subject.text)))
}

/// The first certificate of a PEM file.
///
/// # Errors
/// [`BrokerError`] naming the file.
pub fn certificate(path: &Path) -> Result<PeerCertificate, BrokerError> {
    PeerCertificate::read(&files::certificates(path)?)
        .map_err(|source| BrokerError::Certificate { path: path.to_owned(), source })
}

/// The lists of one file that was already read as such, so that a damaged one has been named before.
pub(crate) fn lists_in(path: &Path) -> Result<Vec<Vec<u8>>, BrokerError> {
    let bytes = files::read(path, CRL_BYTES_MAX)?;
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(vec![bytes]);
    }
    CertificateRevocationListDer::pem_slice_iter(&bytes)
        .map(|list| list.map(|list| list.as_ref().to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| BrokerError::RevocationList { path: path.to_owned(), detail: error.to_string() })
}
