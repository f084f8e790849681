//! One generation of everything that the broker decides: compiled, numbered, signed, and from then on unchanged.
//!
//! Catalog, registry, contracts and revocation lists go in; a [`Draft`] comes out, which has no epoch yet. Two drafts
//! with one content hash give nodes the same rights. Only a draft whose content differs gets a new epoch
//! ([`crate::steward`]); sealing it makes the [`Generation`] that is served.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use lienthong_catalog::catalog::{self, Catalog, Enrolled};
use lienthong_catalog::compile::{BUNDLE_BYTES_MAX, Issue, Published, compile};
use lienthong_catalog::{Beside, ContractError, ContractModel, Finding, Rights, RightsIndex, TooMany};
use lienthong_certs::{CertificateBinding, SignError};
use lienthong_proto::lienthong::catalog::v1::Entry;
use lienthong_proto::lienthong::control::v1::{self as control, RevocationState, RightsBundle};
use lienthong_proto::lienthong::registry::v1::Agency;
use prost::Message;
use prost_types::Timestamp;
use time::OffsetDateTime;

use crate::bundle::{BundleSigner, SealedBundle, Sha256, sha256};
use crate::chancery::InForce;
use crate::identity::{Caller, Directory};
use crate::masking::MaskingSecret;
use crate::suspensions::Suspensions;
use crate::trust::MeshTrusts;

/// A provider's contract.
#[derive(Debug)]
pub struct Contract {
    /// What the provider published, byte for byte; so it is stored.
    pub published: Bytes,
    /// As nodes carry it: the same, with the options that the catalog gives beside it.
    pub carried: control::Contract,
    /// What it declares.
    pub model: ContractModel,
}

impl Contract {
    /// Reads a serialized `FileDescriptorSet` of `provider`, in the light of what the catalog says beside it.
    ///
    /// # Errors
    /// [`ContractError`] if it cannot be read at all; what else is wrong with it, the model's findings say.
    pub fn read(provider: &str, published: Bytes, beside: &Beside) -> Result<Contract, ContractError> {
        let (descriptor_set, model) = if beside.is_empty() {
            (published.clone(), ContractModel::read(&published)?)
        } else {
            let (annotated, model) = ContractModel::read_with(&published, beside)?;
            (annotated.into(), model)
        };
        let carried = control::Contract {
            provider: provider.to_owned(),
            hash: Bytes::copy_from_slice(&sha256(&descriptor_set)),
            descriptor_set,
            published_hash: Bytes::copy_from_slice(&sha256(&published)),
        };
        Ok(Contract { published, carried, model })
    }
}

/// What a draft is made of. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Material {
    /// Id of the mesh.
    pub mesh: Arc<str>,
    /// Catalog and registry.
    pub catalog: Arc<Catalog>,
    /// The catalog's files, and by whose signatures its entries are in force.
    pub in_force: Arc<InForce>,
    /// Rights that lawful refusals suspend.
    pub suspensions: Arc<Suspensions>,
    /// What enrollment has bound beside them.
    pub enrolled: Arc<Enrolled>,
    /// Contracts by provider.
    pub contracts: BTreeMap<String, Arc<Contract>>,
    /// Certificate revocation lists, DER.
    pub revocation_lists: Arc<[Vec<u8>]>,
    /// The same, as heartbeats name them.
    pub revocation: Arc<[RevocationState]>,
    /// Certificates of people: the operator's, its auditors', agencies' officers'.
    pub operators: Arc<[(CertificateBinding, Caller)]>,
    /// Signs the bundles.
    pub signer: BundleSigner,
    /// The mesh trust files that nodes are handed.
    pub trusts: MeshTrusts,
    /// What the keys of HASH masking are derived from.
    pub masking: Arc<MaskingSecret>,
}

impl Material {
    /// Everything compiled, before it is cut into bundles.
    pub fn rights(&self) -> Rights {
        let catalog = self.catalog.with_enrolled(&self.enrolled);
        let published: Vec<Published<'_>> = self
            .contracts
            .values()
            .map(|contract| Published { contract: &contract.carried, model: &contract.model })
            .collect();
        compile(&catalog, &published).with_hash_keys(&|right| self.masking.key(right))
    }
}

/// Everything compiled, without an epoch.
#[derive(Debug)]
pub struct Draft {
    /// SHA-256 over every node's bundle, without epoch and time, and over the name of the key that will sign them: a
    /// bundle on a node's disk must be signed by a key that the node still believes.
    pub content_hash: Sha256,
    /// What compilation noticed.
    pub findings: Vec<Finding>,
    /// Invariants that this draft would break, were the rights that do it not left out.
    pub broken_invariants: Vec<Finding>,
    /// With epoch 0 and no time of their own.
    bundles: Vec<RightsBundle>,
    directory: Directory,
    revocation: Arc<[RevocationState]>,
    concerns: HashMap<String, BTreeSet<String>>,
    shown: Shown,
    signer: BundleSigner,
    trusts: MeshTrusts,
}

/// One certificate is bound to two parties.
#[derive(Debug, thiserror::Error)]
#[error(
    "the certificate {certificate} is bound to {one} and to {other}; one certificate stands for one party (R-34)"
)]
pub struct BoundTwice {
    certificate: String,
    one: String,
    other: String,
}

/// A node's bundle would hold more than a node takes.
#[derive(Debug, thiserror::Error)]
#[error(
    "the bundle of {node} {problem}; let fewer agencies, datasets and purposes meet at one agency, or divide it"
)]
pub struct TooLarge {
    node: String,
    problem: TooMany,
}

/// Why material makes no draft.
#[derive(Debug, thiserror::Error)]
pub enum NoDraft {
    /// One certificate is bound to two parties.
    #[error(transparent)]
    BoundTwice(#[from] BoundTwice),
    /// A bundle is too large.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl Draft {
    /// Compiles. Pure: the same material gives the same draft.
    ///
    /// # Errors
    /// [`NoDraft`].
    pub fn compile(material: &Material) -> Result<Draft, NoDraft> {
        let Material {
            mesh,
            catalog,
            in_force,
            suspensions,
            enrolled,
            contracts,
            revocation_lists,
            revocation,
            operators,
            signer,
            trusts,
            ..
        } = material;
        let catalog = &Arc::new(catalog.with_enrolled(enrolled));
        let directory = directory(catalog, operators)?;
        let rights = material.rights();
        let issue = Issue {
            mesh: mesh.to_string(),
            epoch: 0,
            time: OffsetDateTime::UNIX_EPOCH,
            revocation_lists: revocation_lists.to_vec(),
        };
        let nodes = rights.nodes().iter().filter_map(|node| rights.bundle_for(&node.name, &issue));
        let bundles: Vec<RightsBundle> = nodes
            .map(|mut bundle| {
                for right in &mut bundle.rights {
                    suspensions.mark(right);
                }
                let activations = Some(in_force.activated.of_bundle(&bundle, catalog));
                RightsBundle { activations, ..bundle }
            })
            .collect();
        let published = catalog.entries().iter().filter(|entry| rights.is_compiled(&entry.id));
        Ok(Draft {
            content_hash: content_hash(&bundles, signer.key_name(), BUNDLE_BYTES_MAX)?,
            concerns: bundles.iter().map(|bundle| (bundle.audience.clone(), providers(bundle))).collect(),
            findings: rights.findings().to_vec(),
            broken_invariants: rights.broken_invariants().to_vec(),
            bundles,
            directory,
            revocation: Arc::clone(revocation),
            shown: Shown {
                parties: parties(catalog),
                published: published.map(|entry| entry.id.clone()).collect(),
                catalog: Arc::clone(catalog),
                in_force: Arc::clone(in_force),
                asked: Asked {
                    contracts: contracts.clone(),
                    rights: Arc::new(rights),
                    whole: OnceLock::new(),
                },
            },
            signer: signer.clone(),
            trusts: trusts.clone(),
        })
    }

    /// Everything compiled.
    pub fn rights(&self) -> &Rights {
        &self.shown.asked.rights
    }

    /// Numbers and signs the draft.
    ///
    /// # Errors
    /// [`SignError`] if the cryptographic library fails.
    pub fn seal(self, stamp: Stamp) -> Result<Generation, SignError> {
        let signer = self.signer;
        let bundles = self
            .bundles
            .into_iter()
            .map(|bundle| RightsBundle { epoch: stamp.epoch, issue_time: Some(stamp.issue_time), ..bundle })
            .map(|bundle| Ok((bundle.audience.clone(), Arc::new(signer.seal(&bundle)?))))
            .collect::<Result<_, SignError>>()?;
        Ok(Generation {
            stamp,
            content_hash: self.content_hash,
            bundles,
            directory: self.directory,
            revocation: self.revocation,
            concerns: self.concerns,
            shown: self.shown,
            signer,
            trusts: self.trusts,
        })
    }
}

/// What tells one generation from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    /// Rises strictly with the content.
    pub epoch: u64,
    /// When this epoch was made. Kept with it, so that the same epoch always has the same bytes.
    pub issue_time: Timestamp,
}

/// A sealed generation.
#[derive(Debug)]
pub struct Generation {
    stamp: Stamp,
    content_hash: Sha256,
    bundles: HashMap<String, Arc<SealedBundle>>,
    directory: Directory,
    revocation: Arc<[RevocationState]>,
    /// Providers whose contracts are in a node's bundle, by node.
    concerns: HashMap<String, BTreeSet<String>>,
    shown: Shown,
    signer: BundleSigner,
    trusts: MeshTrusts,
}

impl Generation {
    /// Its epoch and issue time.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Its epoch.
    pub fn epoch(&self) -> u64 {
        self.stamp.epoch
    }

    /// The hash of its content.
    pub fn content_hash(&self) -> Sha256 {
        self.content_hash
    }

    /// The bundle of one node.
    pub fn bundle(&self, node: &str) -> Option<Arc<SealedBundle>> {
        self.bundles.get(node).cloned()
    }

    /// Signs heartbeats about its bundles, by the same key as these.
    pub fn signer(&self) -> &BundleSigner {
        &self.signer
    }

    /// The mesh trust files in whose light it was made.
    pub fn trusts(&self) -> &MeshTrusts {
        &self.trusts
    }

    /// Whether a node's bundle holds the contract of a provider.
    pub fn concerns(&self, node: &str, provider: &str) -> bool {
        self.concerns.get(node).is_some_and(|providers| providers.contains(provider))
    }

    /// Every bundle, in no order.
    pub fn bundles(&self) -> impl Iterator<Item = &SealedBundle> {
        self.bundles.values().map(Arc::as_ref)
    }

    /// Who a certificate is.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The revocation lists in its bundles.
    pub fn revocation(&self) -> &[RevocationState] {
        &self.revocation
    }

    /// Catalog and registry, with what was enrolled.
    pub fn catalog(&self) -> &Catalog {
        &self.shown.catalog
    }

    /// Codes of agencies and outside parties, sorted.
    pub fn parties(&self) -> &[String] {
        &self.shown.parties
    }

    /// One of them, with its nodes and systems.
    pub fn party(&self, code: &str) -> Option<Agency> {
        let party = self.shown.catalog.describe_party(code)?;
        Some(Agency { etag: etag(&party), ..party })
    }

    /// Entries of the catalog, by id.
    pub fn entries(&self) -> &[catalog::Entry] {
        self.shown.catalog.entries()
    }

    /// Everything compiled.
    pub fn rights(&self) -> &Rights {
        &self.shown.asked.rights
    }

    /// Contracts by provider.
    pub fn contracts(&self) -> &BTreeMap<String, Arc<Contract>> {
        &self.shown.asked.contracts
    }

    /// The rights of the whole mesh, to be asked about. The first to ask waits for the index: call it where waiting does
    /// no harm. `None` for a mesh too large for one index.
    pub fn whole(&self) -> Option<&RightsIndex> {
        self.shown.asked.whole.get_or_init(|| whole(self.rights())).as_ref()
    }

    /// When both approvals of an entry were there; `None` where nobody has signed it.
    pub fn activate_time(&self, entry: &str) -> Option<Timestamp> {
        let signed = self.shown.in_force.activated.approvers_of(entry)?;
        signed.approved.approvals.iter().filter_map(|one| one.time).max_by_key(|time| time.seconds)
    }

    /// One of them as people read it.
    pub fn describe(&self, entry: &catalog::Entry) -> Entry {
        let described = entry.describe(self.shown.published.contains(&entry.id));
        let signed = self.shown.in_force.activated.approvers_of(&entry.id);
        let described = match signed {
            // Who signed says more than whom the file names.
            Some(signed) => Entry {
                approved_by: signed.approvers.iter().map(|one| one.subject.clone()).collect(),
                activate_time: self.activate_time(&entry.id),
                ..described
            },
            None => described,
        };
        Entry { etag: etag(&described), ..described }
    }
}

/// What registry and catalog services show.
#[derive(Debug)]
struct Shown {
    catalog: Arc<Catalog>,
    in_force: Arc<InForce>,
    /// Codes, sorted.
    parties: Vec<String>,
    /// Ids of the entries whose dataset is published.
    published: BTreeSet<String>,
    asked: Asked,
}

/// What questions about decisions are answered from ([`crate::service::decision`]).
#[derive(Debug)]
struct Asked {
    contracts: BTreeMap<String, Arc<Contract>>,
    rights: Arc<Rights>,
    /// Made when it is first asked for.
    whole: OnceLock<Option<RightsIndex>>,
}

/// The index of a whole mesh.
pub fn whole(rights: &Rights) -> Option<RightsIndex> {
    let issue = Issue {
        mesh: "whole".to_owned(),
        epoch: 1,
        time: OffsetDateTime::UNIX_EPOCH,
        revocation_lists: Vec::new(),
    };
    let index = RightsIndex::from_bundle(&rights.whole(&issue));
    index.inspect_err(|error| tracing::error!(%error, "decisions cannot be asked about")).ok()
}

/// Changes whenever anything of the message does.
fn etag(message: &impl Message) -> String {
    hex::encode(&sha256(&message.encode_to_vec())[..8])
}

fn providers(bundle: &RightsBundle) -> BTreeSet<String> {
    bundle.contracts.iter().map(|contract| contract.provider.clone()).collect()
}

fn parties(catalog: &Catalog) -> Vec<String> {
    let inside = catalog.agencies().iter().map(|agency| agency.code.clone());
    let outside = catalog.outside_parties().iter().map(|party| party.code.clone());
    let mut codes: Vec<String> = inside.chain(outside).collect();
    codes.sort();
    codes
}

/// The hash of who signs and what the bundles say, length-prefixed so that no two lists of bundles read alike. The one place
/// where each of them is written out, and so where one that no node takes is found.
fn content_hash(bundles: &[RightsBundle], key_name: &str, bytes_max: usize) -> Result<Sha256, TooLarge> {
    let mut context = Context::new(&SHA256);
    context.update(&(key_name.len() as u64).to_be_bytes());
    context.update(key_name.as_bytes());
    for bundle in bundles {
        // Epoch and time are put in when it is sealed.
        let given = bundle.encoded_len() + STAMP_BYTES_MAX;
        let bytes = TooMany { what: "bytes", given, max: bytes_max };
        let held = if given > bytes_max { Err(bytes) } else { RightsIndex::takes(bundle) };
        held.map_err(|problem| TooLarge { node: bundle.audience.clone(), problem })?;
        context.update(&bundle.encode_length_delimited_to_vec());
    }
    let mut hash = Sha256::default();
    hash.copy_from_slice(context.finish().as_ref());
    Ok(hash)
}

/// What a stamp adds to a bundle at most, bytes: two fields, an epoch of ten, a time of twenty with its length.
const STAMP_BYTES_MAX: usize = 32;

fn directory(catalog: &Catalog, operators: &[(CertificateBinding, Caller)]) -> Result<Directory, BoundTwice> {
    let nodes = catalog.nodes().iter().map(|node| {
        let caller = Caller::Node { name: node.name.clone(), agency: node.agency.clone() };
        (caller, &node.certificates)
    });
    let systems = catalog.systems().iter().map(|system| {
        let caller = Caller::System { name: system.name.clone(), agency: system.agency.clone() };
        (caller, &system.certificates)
    });
    let mut directory = Directory::default();
    let mut bind = |binding: CertificateBinding, caller: Caller| {
        let (certificate, one) = (binding.to_string(), caller.to_string());
        directory.bind(binding, caller).map_err(|other| BoundTwice {
            certificate,
            one,
            other: other.to_string(),
        })
    };
    for (caller, certificates) in nodes.chain(systems) {
        for certificate in certificates {
            // A key hash of another length can be nobody's: the reader of the registry has refused it before.
            if let Some(binding) = binding(certificate) {
                bind(binding, caller.clone())?;
            }
        }
    }
    for (binding, caller) in operators {
        bind(binding.clone(), caller.clone())?;
    }
    Ok(directory)
}

fn binding(certificate: &control::CertificateBinding) -> Option<CertificateBinding> {
    Some(CertificateBinding {
        issuer: certificate.issuer.clone(),
        serial: certificate.serial.clone(),
        spki_sha256: certificate.spki_sha256.as_slice().try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bundle: RightsBundle, bytes_max: usize) -> Option<String> {
        content_hash(&[bundle], "bundle-1", bytes_max).err().map(|refused| refused.to_string())
    }

    #[test]
    fn a_bundle_that_no_node_takes_is_refused_by_name_and_size() {
        let bundle = RightsBundle {
            audience: "agencies/G01/nodes/n1".to_owned(),
            mesh: "m".repeat(1_000),
            ..RightsBundle::default()
        };
        let bytes = bundle.encoded_len() + STAMP_BYTES_MAX;
        assert_eq!(refused(bundle.clone(), bytes), None);
        let told = refused(bundle, bytes - 1).unwrap();
        let expected = format!(
            "the bundle of agencies/G01/nodes/n1 holds {bytes} bytes; at most {} are taken in; let fewer",
            bytes - 1
        );
        assert!(told.starts_with(&expected), "{told}");
    }

    #[test]
    fn a_bundle_of_more_parties_than_a_node_takes_is_refused() {
        let parties = |count| RightsBundle {
            audience: "agencies/G01/nodes/n1".to_owned(),
            parties: vec![control::Party::default(); count],
            ..RightsBundle::default()
        };
        assert_eq!(refused(parties(1_000_000), BUNDLE_BYTES_MAX), None);
        let told = refused(parties(1_000_001), BUNDLE_BYTES_MAX).unwrap();
        assert!(told.contains("holds 1000001 parties; at most 1000000 are taken in"), "{told}");
    }

    #[test]
    fn a_stamp_is_no_longer_than_is_reckoned() {
        let stamped = RightsBundle {
            epoch: u64::MAX,
            issue_time: Some(Timestamp { seconds: i64::MAX, nanos: i32::MAX }),
            ..RightsBundle::default()
        };
        assert!(stamped.encoded_len() <= STAMP_BYTES_MAX);
    }
}
