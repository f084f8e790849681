//! What the operator declares, all of it read and found without a mistake: catalog, registry, revocation lists,
//! operators. One mistake anywhere, and nothing of it is taken over.

use std::path::Path;
use std::sync::Arc;

use lienthong_catalog::catalog::Catalog;
use lienthong_certs::CertificateBinding;
use lienthong_proto::lienthong::control::v1 as control;

use crate::bundle::BundleSigner;
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::identity::Caller;
use crate::mesh_keys;
use crate::revocation;
use crate::sources::{read_file, read_folder};
use crate::trust::{self, MeshTrusts, Trust};

/// What the operator declares.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Catalog and registry.
    pub catalog: Arc<Catalog>,
    /// Certificate revocation lists, DER.
    pub revocation_lists: Arc<[Vec<u8>]>,
    /// The same, as heartbeats name them.
    pub revocation: Arc<[control::RevocationState]>,
    /// Certificates of people: the operator's, its auditors', agencies' officers'.
    pub operators: Arc<[(CertificateBinding, Caller)]>,
    /// Signs by the bundle key in use.
    pub signer: BundleSigner,
    /// The mesh trust files that nodes are handed.
    pub trusts: MeshTrusts,
}

impl Declared {
    /// Reads everything that the configuration names, and the trust in whose light it stands. Blocks on the disk.
    ///
    /// # Errors
    /// [`BrokerError::Mistakes`] with every mistake of the catalog, or else of the registry; otherwise the first file
    /// that cannot be used.
    pub fn load(config: &BrokerConfig, trusts: MeshTrusts) -> Result<(Declared, Trust), BrokerError> {
        let trust = Trust::load(config, trusts.newest())?;
        let catalog = Catalog::read(&read_folder(&config.catalog_dir)?).map_err(BrokerError::Mistakes)?;
        let folder = config.registry_file.parent().unwrap_or(Path::new(""));
        let catalog = catalog
            .with_registry(&read_file(&config.registry_file)?, &mut |file| binding_in(&folder.join(file)))
            .map_err(BrokerError::Mistakes)?;
        let declared = Declared {
            catalog: Arc::new(catalog),
            revocation_lists: trust.revocation_lists.clone().into(),
            revocation: revocation::states(&trust.revocation_lists, trust.judge.anchors()).into(),
            operators: trust::people(config)?.into(),
            signer: mesh_keys::bundle_signer(config, trusts.newest().trust())?,
            trusts,
        };
        Ok((declared, trust))
    }
}

/// The binding of the first certificate in a file that the registry names, relative to the registry's own folder.
fn binding_in(path: &Path) -> Result<control::CertificateBinding, String> {
    let leaf = trust::certificate(path).map_err(|error| error.to_string())?;
    let CertificateBinding { issuer, serial, spki_sha256 } = leaf.binding().clone();
    Ok(control::CertificateBinding { issuer, serial, spki_sha256: spki_sha256.to_vec() })
}
