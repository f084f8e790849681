//! What the operator declares of others, all of it read and found without a mistake: catalog, registry, people. One mistake
//! anywhere, and nothing of it is taken over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lienthong_approval::file::{APPROVALS_FILE, APPROVALS_FILE_BYTES_MAX};
use lienthong_catalog::catalog::Catalog;
use lienthong_catalog::{Mistake, SourceFile};
use lienthong_certs::CertificateBinding;
use lienthong_certs::files::{self, FileError};
use lienthong_duty::DutyRules;
use lienthong_duty::rules::RulesFile;
use lienthong_proto::lienthong::control::v1::{self as control, Approver};

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::identity::Caller;
use crate::sources::{read_file, read_folder};
use crate::trust;

/// What the operator declares.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Files of the catalog folder.
    pub files: Arc<[SourceFile]>,
    /// The approvals beside it, where there are some.
    pub approvals: Option<String>,
    /// What those files say, bound to the registry.
    pub catalog: Arc<Catalog>,
    /// The registry, to bind another catalog to.
    pub registry: Arc<Registry>,
    /// Reasons, deadlines and holidays of the duty to share.
    pub duty: Arc<DutyRules>,
    /// The operator's persons, who approve.
    pub approvers: Arc<[Approver]>,
    /// Certificates of people: the operator's, its auditors', agencies' officers'.
    pub operators: Arc<[(CertificateBinding, Caller)]>,
}

impl Declared {
    /// Reads everything that the configuration names. Blocks on the disk.
    ///
    /// # Errors
    /// [`BrokerError::Mistakes`] with every mistake of the catalog, or else of the registry; otherwise the first file
    /// that cannot be used.
    pub fn load(config: &BrokerConfig) -> Result<Declared, BrokerError> {
        let files = read_folder(&config.catalog_dir)?;
        let catalog = Catalog::read(&files).map_err(BrokerError::Mistakes)?;
        let folder = config.registry_file.parent().unwrap_or(Path::new(""));
        let mut registry = Registry { file: read_file(&config.registry_file)?, bindings: BTreeMap::new() };
        let catalog = catalog
            .with_registry(&registry.file, &mut |file| {
                let binding = binding_in(&folder.join(file));
                registry.bindings.insert(file.to_owned(), binding.clone());
                binding
            })
            .map_err(BrokerError::Mistakes)?;
        Ok(Declared {
            files: files.into(),
            approvals: approvals(&config.catalog_dir)?,
            catalog: Arc::new(catalog),
            registry: Arc::new(registry),
            duty: Arc::new(duty(config.duty_file.as_deref())?),
            approvers: trust::approvers(&config.operators)?.into(),
            operators: trust::people(config)?.into(),
        })
    }
}

/// The registry file, with the certificates that it names.
#[derive(Clone, Debug)]
pub struct Registry {
    file: SourceFile,
    bindings: BTreeMap<String, Result<control::CertificateBinding, String>>,
}

impl Registry {
    /// Binds a catalog to the registry as it was read last. Pure.
    ///
    /// # Errors
    /// Every mistake.
    pub fn bind(&self, catalog: &Catalog) -> Result<Catalog, Vec<Mistake>> {
        catalog.with_registry(&self.file, &mut |file| {
            let unread = || Err("it was not read when the registry was; reload the broker".to_owned());
            self.bindings.get(file).cloned().unwrap_or_else(unread)
        })
    }
}

/// Reasons, deadlines and holidays; those of this program without a file.
fn duty(path: Option<&Path>) -> Result<DutyRules, BrokerError> {
    let text = match path {
        Some(path) => read_file(path)?.text,
        None => lienthong_duty::rules::VIETNAM.to_owned(),
    };
    let wrong =
        |problem: String| BrokerError::Duty { path: path.map(Path::to_owned).unwrap_or_default(), problem };
    let file: RulesFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    DutyRules::try_from(file).map_err(|error| wrong(error.to_string()))
}

/// The approvals beside the catalog folder.
fn approvals(folder: &Path) -> Result<Option<String>, BrokerError> {
    match files::read(&folder.join(APPROVALS_FILE), APPROVALS_FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The binding of the first certificate in a file that the registry names, relative to the registry's own folder.
fn binding_in(path: &Path) -> Result<control::CertificateBinding, String> {
    let leaf = trust::certificate(path).map_err(|error| error.to_string())?;
    let CertificateBinding { issuer, serial, spki_sha256 } = leaf.binding().clone();
    Ok(control::CertificateBinding { issuer, serial, spki_sha256: spki_sha256.to_vec() })
}
