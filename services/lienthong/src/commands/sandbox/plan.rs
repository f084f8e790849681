//! Which agencies a sandbox has: those whose contracts are given and whose data the catalog shares, and the player.

use std::{collections::BTreeSet, str::FromStr};

use anyhow::{Context, Result};
use lienthong_catalog::{Catalog, catalog::Role, source::SourceFile};
use lienthong_node::sandbox;
use lienthong_proto::{descriptors, options};
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DescriptorPool, FileDescriptor, ServiceDescriptor};

use crate::{
    commands::backend::SYNTHETIC,
    demo::plan::{BackendPlan, Plan},
};

/// Whom the integrator is in the sandbox: an information system of an agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    /// Code of the agency.
    pub agency: String,
    /// Id of the system.
    pub system: String,
}

/// A contract as it was read.
#[derive(Debug)]
pub struct ContractFile {
    /// Name of the file, for people.
    pub name: String,
    /// A serialized `FileDescriptorSet` with its imports.
    pub bytes: Vec<u8>,
}

/// A sandbox's plan, and what its maker should know.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// What was left out.
    pub notes: Vec<String>,
}

impl Player {
    /// Name of its client profile.
    pub fn profile(&self) -> String {
        format!("{}-{}", self.agency, self.system)
    }
}

impl FromStr for Player {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((agency, system)) if !agency.is_empty() && !system.is_empty() && !system.contains('/') => {
                Ok(Self { agency: agency.to_owned(), system: system.to_owned() })
            }
            _ => Err("write AGENCY/SYSTEM, for example H26.90/mot-cua".to_owned()),
        }
    }
}

/// Plans a sandbox.
pub fn sandbox(
    catalog: &Catalog,
    files: &[SourceFile],
    contracts: &[ContractFile],
    player: &Player,
) -> Result<Planned> {
    check_player(catalog, player)?;
    let (mut backends, mut notes) = (Vec::new(), Vec::new());
    for contract in contracts {
        let pool = descriptors::pool(&contract.bytes)
            .with_context(|| format!("the contract {} cannot be used", contract.name))?;
        for service in pool.services() {
            match provider(catalog, &service) {
                Some(provider) => add(&mut backends, &provider, &service),
                None => notes.push(format!(
                    "{} of {} is left out: no entry of the catalog shares its data",
                    service.full_name(),
                    contract.name
                )),
            }
        }
    }
    anyhow::ensure!(
        !backends.is_empty(),
        "no contract is left to serve; a method names its dataset by the option lienthong.options.v1.exchange, \
         and an entry of the catalog shares it"
    );
    let codes: BTreeSet<&str> = backends
        .iter()
        .map(|backend: &BackendPlan| backend.agency.as_str())
        .chain([player.agency.as_str()])
        .collect();
    let agencies = codes.into_iter().map(|code| (code.to_owned(), name_of(catalog, code))).collect();
    let operator = catalog.agencies().iter().find(|agency| agency.roles.contains(&Role::Operator));
    let operator = operator.or_else(|| catalog.agencies().first()).context("the catalog has no agency")?;
    let plan = Plan {
        mesh: sandbox::MESH.to_owned(),
        log_origin: format!("log.{}.invalid/lienthong", sandbox::MESH),
        operator: (operator.code.clone(), operator.name_vi.clone()),
        witnesses: vec![("witness-1".to_owned(), "Nhân chứng thử nghiệm".to_owned())],
        nodes: agencies,
        systems: vec![(player.agency.clone(), player.system.clone())],
        outsider: None,
        backends,
        catalog: files.iter().map(|file| (file.name.clone(), file.text.clone())).collect(),
        gateway: false,
    };
    Ok(Planned { plan, notes })
}

fn check_player(catalog: &Catalog, player: &Player) -> Result<()> {
    let agency = catalog.agency(&player.agency).with_context(|| {
        let known: Vec<_> = catalog.agencies().iter().map(|agency| agency.code.as_str()).collect();
        format!("the catalog has no agency {}; it has {}", player.agency, known.join(", "))
    })?;
    let known: Vec<_> = agency.systems.iter().map(|system| system.id.as_str()).collect();
    anyhow::ensure!(
        known.contains(&player.system.as_str()),
        "the agency {} has no system {} in the catalog; it has {}",
        player.agency,
        player.system,
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    );
    Ok(())
}

/// The agency whose data a service carries, by the entry of its first shared dataset.
fn provider(catalog: &Catalog, service: &ServiceDescriptor) -> Option<String> {
    service.methods().find_map(|method| {
        let dataset = options::exchange(&method)?.dataset;
        let entry = catalog.entries().iter().find(|entry| entry.dataset_id == dataset)?;
        Some(entry.provider_code.clone())
    })
}

/// A backend of its own for each service: one whose contract holds what it needs and nothing of others.
fn add(backends: &mut Vec<BackendPlan>, provider: &str, service: &ServiceDescriptor) {
    let name = format!("{SYNTHETIC}-{}", backends.len() + 1);
    backends.push(BackendPlan {
        kind: SYNTHETIC.to_owned(),
        system: name.clone(),
        name,
        agency: provider.to_owned(),
        registered: false,
        services: vec![service.full_name().to_owned()],
        contract: with_imports(service.parent_pool(), &service.parent_file()),
    });
}

fn name_of(catalog: &Catalog, code: &str) -> String {
    catalog.agency(code).map_or_else(|| code.to_owned(), |agency| agency.name_vi.clone())
}

/// A descriptor set of a file and all that it imports, each after what it needs. Options stay: they are copied as
/// bytes.
fn with_imports(pool: &DescriptorPool, file: &FileDescriptor) -> Vec<u8> {
    let mut needed = BTreeSet::new();
    let mut open = vec![file.clone()];
    while let Some(file) = open.pop() {
        if needed.insert(file.name().to_owned()) {
            open.extend(file.dependencies());
        }
    }
    let mut set = Vec::new();
    for file in pool.files().filter(|file| needed.contains(file.name())) {
        let bytes = file.encode_to_vec();
        encode_key(1, WireType::LengthDelimited, &mut set);
        encode_varint(bytes.len() as u64, &mut set);
        set.extend_from_slice(&bytes);
    }
    set
}
