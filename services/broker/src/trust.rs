//! Whom the broker trusts, and who it is: read at start and at each reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lienthong_certs::judge::{CRL_BYTES_MAX, RevocationError, RevocationList};
use lienthong_certs::{
    CertificateBinding, Credentials, Judge, PeerCertificate, Profile, RevocationLists, TrustAnchors, files,
};
use lienthong_proto::lienthong::control::v1::{self as control, Approver, RevocationState};
use lienthong_trust::keeper::Owner;
use lienthong_trust::{SignedTrust, TrustKeeper};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

use crate::bundle::BundleSigner;
use crate::config::{BrokerConfig, OfficerConfig};
use crate::error::BrokerError;
use crate::fetched_lists;
use crate::identity::Caller;
use crate::revocation;
use crate::steward::Grounds;

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

/// The broker's own certificate and key. Blocks on the disk, and as long as a token does.
///
/// # Errors
/// [`BrokerError`] naming the file.
pub fn credentials(config: &BrokerConfig) -> Result<Credentials, BrokerError> {
    let credentials = Credentials::open(&config.certificate, &config.key)?;
    if credentials.certificate().development && !config.development {
        return Err(BrokerError::Development(config.certificate.clone()));
    }
    Ok(credentials)
}

/// Who is believed, and what nodes need to judge as the broker does.
#[derive(Debug)]
pub struct Believed {
    /// Judges others.
    pub judge: Arc<Judge>,
    /// The revocation lists, DER, for the nodes' bundles.
    pub revocation_lists: Arc<[Vec<u8>]>,
    /// Those of them that count, as heartbeats name them.
    pub revocation: Arc<[RevocationState]>,
}

impl Believed {
    /// Reads the revocation lists that the configuration names, in the light of a mesh trust file and beside those that are
    /// held: no list grows older, and a file that cannot be used takes away nothing of the others, nor of what it said
    /// before. What is wrong with it is answered, too. Blocks on the disk.
    ///
    /// # Errors
    /// [`BrokerError`] if the trust file names authorities that may not be believed.
    pub fn load(
        config: &BrokerConfig,
        mesh: &SignedTrust,
        held: &RevocationLists,
    ) -> Result<(Believed, Option<BrokerError>), BrokerError> {
        let anchors = mesh.trust().anchors();
        let mut lists = held.under(anchors);
        let (mut strangers, mut problems) = (Vec::new(), Vec::new());
        for path in &fetched_lists::list_files(config) {
            match lists_in(path) {
                Ok(found) => {
                    for der in found {
                        match take_in(&lists, &der, anchors) {
                            Ok(newer) => lists = newer,
                            Err(unknown @ RevocationError::Unverified(_)) => {
                                tracing::warn!(error = %unknown.at(path), "a configured revocation list is left out");
                                // Of an authority that is not trusted any more, or not yet: nodes judge for themselves.
                                strangers.push(der);
                            }
                            Err(error) => problems.push(error.at(path).into()),
                        }
                    }
                }
                Err(error) => problems.push(error),
            }
        }
        let mut known: Vec<&RevocationList> = lists.lists().collect();
        known.sort_by_key(|list| list.authority);
        let revocation = revocation::states(&known).into();
        let known = known.into_iter().map(|list| list.der().to_vec());
        let revocation_lists = known.chain(strangers).collect();
        let profile = if config.development { Profile::development() } else { Profile::default() };
        let judge = Arc::new(Judge::new(anchors.clone(), lists, profile)?);
        Ok((Believed { judge, revocation_lists, revocation }, BrokerError::several(problems)))
    }
}

impl Believed {
    /// As bundles carry it.
    pub fn grounds(&self, signer: BundleSigner, trusts: MeshTrusts) -> Grounds {
        Grounds {
            revocation_lists: Arc::clone(&self.revocation_lists),
            revocation: Arc::clone(&self.revocation),
            signer,
            trusts,
        }
    }
}

/// The lists with this one among them, if it is newer than what is held.
fn take_in(
    lists: &RevocationLists,
    der: &[u8],
    anchors: &TrustAnchors,
) -> Result<RevocationLists, RevocationError> {
    match lists.with(RevocationList::read(der, anchors)?) {
        Err(RevocationError::Older { .. }) => Ok(lists.clone()),
        taken => taken,
    }
}

/// The bindings of the certificates of people and of the consoles that speak for them: operators, auditors, stewards,
/// agencies' officers and heads.
///
/// # Errors
/// [`BrokerError`] naming the file.
pub fn people(config: &BrokerConfig) -> Result<Vec<(CertificateBinding, Caller)>, BrokerError> {
    let operators = config.operators.iter().map(|path| person(path, |subject| Caller::Operator { subject }));
    let auditors = config.auditors.iter().map(|path| person(path, |subject| Caller::Auditor { subject }));
    let officers = config.officers.iter().map(|OfficerConfig { certificate, agency }| {
        person(certificate, |subject| Caller::Officer { subject, agency: agency.clone() })
    });
    let stewards = config.stewards.iter().map(|path| person(path, |subject| Caller::Steward { subject }));
    let heads = config.heads.iter().map(|OfficerConfig { certificate, agency }| {
        person(certificate, |subject| Caller::Head { subject, agency: agency.clone() })
    });
    let consoles = config.consoles.iter().map(|path| person(path, |subject| Caller::Console { subject }));
    operators.chain(auditors).chain(officers).chain(stewards).chain(heads).chain(consoles).collect()
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

/// The lists of one file, as they are: one in DER, or any number in PEM.
pub(crate) fn lists_in(path: &Path) -> Result<Vec<Vec<u8>>, BrokerError> {
    let bytes = files::read(path, CRL_BYTES_MAX)?;
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(vec![bytes]);
    }
    let unusable =
        |detail: &str| BrokerError::RevocationList { path: path.to_owned(), detail: detail.to_owned() };
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .map(|list| list.map(|list| list.as_ref().to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&error.to_string()))?;
    if lists.is_empty() { Err(unusable("it holds no revocation list, in DER or PEM")) } else { Ok(lists) }
}
