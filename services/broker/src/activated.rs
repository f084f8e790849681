//! By whose signatures each entry of the catalog is in force: kept from change to change, handed to nodes with the rights
//! that stand on it.

use std::collections::{BTreeMap, BTreeSet};

use lienthong_approval::check::approved;
use lienthong_approval::proofs;
use lienthong_audit::hash::Hash;
use lienthong_catalog::catalog::{Catalog, Entry};
use lienthong_certs::Judge;
use lienthong_proto::lienthong::control::v1::{
    ActivatedEntry, Activations, ApprovedChange, Approver, RightOrigin, RightsBundle,
};

use crate::stored::{StoredActivated, StoredActivation};

/// The signatures behind the catalog in force. Cheap to share behind an `Arc`.
#[derive(Clone, Debug, Default)]
pub struct Activated {
    /// By number.
    changes: BTreeMap<u64, Signed>,
    /// By id of the entry.
    entries: BTreeMap<String, Activation>,
}

/// A change with the persons who signed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// Statement and approvals.
    pub approved: ApprovedChange,
    /// Whose they are.
    pub approvers: Vec<Approver>,
}

#[derive(Clone, Debug)]
struct Activation {
    change: u64,
    index: u64,
    proof: Vec<Hash>,
}

impl Activated {
    /// What was stored: the entries, and the changes that are still needed.
    pub fn read(stored: StoredActivated, mut changes: BTreeMap<u64, Signed>) -> Activated {
        let entries: BTreeMap<String, Activation> = stored
            .entries
            .into_iter()
            .map(|one| {
                let hashes = one.proof.iter().filter_map(|hash| Hash::from_slice(hash)).collect();
                (one.entry, Activation { change: one.change, index: one.index, proof: hashes })
            })
            .collect();
        let needed: BTreeSet<u64> = entries.values().map(|entry| entry.change).collect();
        changes.retain(|number, _| needed.contains(number));
        Activated { changes, entries }
    }

    /// What is stored beside the changes themselves.
    pub fn to_stored(&self) -> StoredActivated {
        let one = |(id, activation): (&String, &Activation)| StoredActivation {
            entry: id.clone(),
            change: activation.change,
            index: activation.index,
            proof: activation.proof.iter().map(|hash| hash.0.to_vec()).collect(),
        };
        StoredActivated { entries: self.entries.iter().map(one).collect() }
    }

    /// The numbers of the changes whose signatures count still.
    pub fn changes(&self) -> impl Iterator<Item = u64> + '_ {
        self.changes.keys().copied()
    }

    /// The persons behind an entry, and when the second of them signed.
    pub fn approvers_of(&self, entry: &str) -> Option<&Signed> {
        self.changes.get(&self.entries.get(entry)?.change)
    }

    /// The entries in force of `catalog` that a change must activate: new ones, those that say something else than in
    /// `before`, and those whose signatures no longer hold.
    pub fn lacking<'c>(&self, catalog: &'c Catalog, before: &Catalog, judge: &Judge) -> Vec<&'c Entry> {
        let holds = |signed: &Signed| approved(&signed.approved, &signed.approvers, judge).is_ok();
        let good: BTreeSet<u64> =
            self.changes.iter().filter(|(_, signed)| holds(signed)).map(|(number, _)| *number).collect();
        let said =
            |id: &str| before.entries().iter().find(|entry| entry.id == id).map(|entry| &entry.content);
        in_force(catalog)
            .into_iter()
            .filter(|entry| {
                let signed = self.entries.get(&entry.id).is_some_and(|one| good.contains(&one.change));
                !signed || said(&entry.id) != Some(&entry.content)
            })
            .collect()
    }

    /// The signatures once change `number` has put `catalog` into force and activated these entries, in order of their ids.
    #[must_use]
    pub fn after(&self, number: u64, signed: Signed, activated: &[&Entry], catalog: &Catalog) -> Activated {
        let mut entries = self.entries.clone();
        for ((index, entry), proof) in (0..).zip(activated).zip(proofs(activated)) {
            entries.insert(entry.id.clone(), Activation { change: number, index, proof });
        }
        let kept: BTreeSet<&str> = in_force(catalog).into_iter().map(|entry| entry.id.as_str()).collect();
        entries.retain(|id, _| kept.contains(id.as_str()));
        let mut changes = self.changes.clone();
        changes.insert(number, signed);
        let needed: BTreeSet<u64> = entries.values().map(|entry| entry.change).collect();
        changes.retain(|number, _| needed.contains(number));
        Activated { changes, entries }
    }

    /// What a bundle must carry so that its node believes it.
    pub fn of_bundle(&self, bundle: &RightsBundle, catalog: &Catalog) -> Activations {
        let of_datasets = bundle.datasets.iter().filter_map(|dataset| dataset.entry.split('@').next());
        let standing = bundle.rights.iter().filter(|right| right.origin() != RightOrigin::Default);
        let of_rights = standing.filter_map(|right| right.id.split('/').next());
        let ids: BTreeSet<&str> = of_datasets.chain(of_rights).filter(|id| !id.is_empty()).collect();
        let mut activations = Activations::default();
        let mut places: BTreeMap<u64, u32> = BTreeMap::new();
        for entry in catalog.entries().iter().filter(|entry| ids.contains(entry.id.as_str())) {
            let Some(activation) = self.entries.get(&entry.id) else { continue };
            let Some(signed) = self.changes.get(&activation.change) else { continue };
            let change = *places.entry(activation.change).or_insert_with(|| {
                let new = signed.approvers.iter().filter(|one| !activations.approvers.contains(one));
                let new: Vec<Approver> = new.cloned().collect();
                activations.approvers.extend(new);
                activations.changes.push(signed.approved.clone());
                u32::try_from(activations.changes.len() - 1).unwrap_or(u32::MAX)
            });
            activations.entries.push(ActivatedEntry {
                entry: entry.versioned_id(),
                content: entry.content.clone().into_bytes(),
                change,
                index: activation.index,
                proof: activation.proof.iter().map(|hash| hash.0.to_vec()).collect(),
            });
        }
        activations
    }
}

/// Entries in force, in order of their ids: all that a change may activate.
pub fn in_force(catalog: &Catalog) -> Vec<&Entry> {
    catalog.entries().iter().filter(|entry| entry.status.is_in_force()).collect()
}
