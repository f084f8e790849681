//! The certificates of one run: every contestant proves itself with the same kind (development PKI, ECDSA P-256) and
//! asks the same of its peers, mutual TLS 1.3 on every hop.
//!
//! The folder is made by `bench run`; the processes that it starts are told where it lies and which role they play.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use lienthong_certs::pki::{Holder, Issued, Request};
use lienthong_certs::{DevPki, Judge, Profile};
use lienthong_transport::{SharedMaterial, TlsMaterial};
use lienthong_trust::{Anchor, ceremony};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// DNS name in every certificate: the peers are told apart by their keys, not by their names.
pub const SERVER_NAME: &str = "bench.localhost";
/// Id of the mesh.
pub const MESH: &str = "do-toc-do";

/// Who takes part in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// The system that asks.
    Consumer,
    /// What stands on the consumer's side: its agency's node, or a proxy.
    ConsumerNode,
    /// What stands on the provider's side.
    ProviderNode,
    /// The system that answers.
    Backend,
    /// The broker of the mesh.
    Broker,
    /// Two persons, who sign the catalog.
    Officer,
    /// The other one.
    SecondOfficer,
}

impl Role {
    const ALL: [Self; 7] = [
        Self::Consumer,
        Self::ConsumerNode,
        Self::ProviderNode,
        Self::Backend,
        Self::Broker,
        Self::Officer,
        Self::SecondOfficer,
    ];

    /// Agency and id, as the certificate names them.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Consumer => ("H26.90", "mot-cua"),
            Self::ConsumerNode => ("H26.90", "n1"),
            Self::ProviderNode => ("G01", "n1"),
            Self::Backend => ("G01", "dancu"),
            Self::Broker => ("G01", "broker"),
            Self::Officer => ("G01", "officer-1"),
            Self::SecondOfficer => ("G01", "officer-2"),
        }
    }

    fn holder(self) -> Holder {
        let (agency, id) = self.names();
        let (agency_code, agency_name) = (agency.to_owned(), "DEMO – Đo tốc độ".to_owned());
        match self {
            Self::Consumer | Self::Backend => {
                Holder::System { agency_code, agency_name, system_id: id.to_owned() }
            }
            Self::ConsumerNode | Self::ProviderNode | Self::Broker => {
                Holder::Node { agency_code, agency_name, node_id: id.to_owned() }
            }
            Self::Officer | Self::SecondOfficer => {
                Holder::Person { agency_code, name: format!("DEMO – {id}"), role: id.to_owned() }
            }
        }
    }
}

/// The development PKI of one run.
#[derive(Debug)]
pub struct Pki(DevPki);

impl Pki {
    /// Makes a PKI in `folder`, with a certificate for every role.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        let pki = DevPki::create(folder, MESH)?;
        for role in Role::ALL {
            pki.issue(&Request::new(role.holder()).with_dns_names(&[SERVER_NAME]))?;
        }
        Ok(Self(pki))
    }

    /// Opens what [`Pki::create`] made.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(DevPki::open(folder)?))
    }

    /// A certificate for one more node.
    pub fn another_node(&self, agency: &str, id: &str) -> anyhow::Result<Issued> {
        let holder = Holder::Node {
            agency_code: agency.to_owned(),
            agency_name: "DEMO – Đo tốc độ".to_owned(),
            node_id: format!("bench-{id}"),
        };
        Ok(self.0.issue(&Request::new(holder).with_dns_names(&[SERVER_NAME]))?)
    }

    /// A certificate for one more system of the consumer's agency, which only holds connections.
    pub fn another_holder(&self, number: usize) -> anyhow::Result<Issued> {
        let holder = Holder::System {
            agency_code: "H26.90".to_owned(),
            agency_name: "DEMO – Đo tốc độ".to_owned(),
            system_id: holder_id(number),
        };
        Ok(self.0.issue(&Request::new(holder).with_dns_names(&[SERVER_NAME]))?)
    }

    /// What [`Pki::another_holder`] made.
    pub fn issued_to_holder(&self, number: usize) -> anyhow::Result<Issued> {
        let issued = self.0.issued(&format!("H26.90-{}", holder_id(number)))?;
        issued.with_context(|| format!("the PKI of this run has no certificate for holder {number}"))
    }

    /// For whoever speaks through `lienthong-transport` with this certificate.
    pub fn material_of(&self, issued: &Issued) -> anyhow::Result<SharedMaterial> {
        let judge = Judge::new(self.0.anchors()?, self.0.lists()?, Profile::development())?;
        Ok(SharedMaterial::new(TlsMaterial::new(issued.credentials()?, judge)?))
    }

    /// Certificate and key files of a role.
    pub fn issued(&self, role: Role) -> anyhow::Result<Issued> {
        let (agency, id) = role.names();
        let issued = self.0.issued(&format!("{agency}-{id}"))?;
        issued.with_context(|| format!("the PKI of this run has no certificate for {role:?}"))
    }

    /// The authorities of the PKI, PEM: state, party, public. The first one issued every certificate here.
    pub fn authorities(&self) -> anyhow::Result<[PathBuf; 3]> {
        let files: Vec<PathBuf> = self.0.trust_files().into_iter().map(|(_, file)| file).collect();
        files.try_into().ok().context("the PKI of this run does not have three authorities")
    }

    /// The authority that issued every certificate, PEM.
    pub fn authority(&self) -> anyhow::Result<PathBuf> {
        self.authorities().map(|[state, ..]| state)
    }

    /// The authorities as a mesh trust file names them.
    pub fn anchors(&self) -> anyhow::Result<Vec<Anchor>> {
        Ok(ceremony::development_anchors(&self.0)?)
    }

    /// The revocation lists of all authorities.
    pub fn revocation_lists(&self) -> Vec<PathBuf> {
        self.0.crl_files()
    }

    /// For a client on bare rustls.
    pub fn client_config(&self, role: Role) -> anyhow::Result<Arc<ClientConfig>> {
        self.client_config_of(&self.issued(role)?)
    }

    /// For a client on bare rustls with this certificate.
    pub fn client_config_of(&self, issued: &Issued) -> anyhow::Result<Arc<ClientConfig>> {
        let credentials = issued.credentials()?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(
                credentials.chain().to_vec(),
                credentials.key_der().context("the key is in a token")?,
            )?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// For whoever speaks through `lienthong-transport`.
    pub fn material(&self, role: Role) -> anyhow::Result<SharedMaterial> {
        self.material_of(&self.issued(role)?)
    }

    /// The authority that issued every certificate, for bare rustls.
    pub fn roots(&self) -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(lienthong_certs::files::certificates(&self.authority()?)?);
        Ok(roots)
    }
}

/// The id of a system that only holds connections.
pub fn holder_id(number: usize) -> String {
    format!("giu-{number}")
}
