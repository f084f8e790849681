//! What people and programs may read: of a node's rights, the datasets that an agency shares and the methods that
//! one consumer may call; of the catalog, its entries and parties. Feeds `NodeCatalogService`, `CatalogService`,
//! `RegistryService` and the console.

mod catalog;

use lienthong_proto::lienthong::catalog::v1::{CallableMethod, PurposeFields, SharedDataset, SharedField};
use time::OffsetDateTime;

use crate::contract::ContractField;
use crate::decide::granted_by_purpose;
use crate::rights::{Dataset, Index, Method, Moment, RightsIndex};

impl RightsIndex {
    /// The datasets that an agency shares, by id.
    pub fn shared_datasets(&self, provider: &str) -> Vec<SharedDataset> {
        let index = &*self.0;
        let own =
            index.datasets.iter().filter(|dataset| dataset.declared.provider == provider && !dataset.secret);
        let mut shared: Vec<_> = own.map(|dataset| shared_dataset(index, dataset)).collect();
        shared.sort_by(|a, b| a.id.cmp(&b.id));
        shared
    }

    /// The methods that a consumer may call now, by path and provider, with the fields that each purpose grants;
    /// nothing for a stranger or an outside party. `system` is a resource name, as in a question.
    pub fn callable_methods(
        &self,
        consumer: &str,
        system: Option<&str>,
        now: OffsetDateTime,
    ) -> Vec<CallableMethod> {
        let index = &*self.0;
        let identities = &index.identities;
        let Some(party) = identities.party_facts(consumer).filter(|party| !party.outside) else {
            return Vec::new();
        };
        let system = match system.map(|name| identities.system_facts(name)) {
            None => None,
            Some(Some(system)) if system.party == party.slot => Some(system.slot),
            Some(_) => return Vec::new(),
        };
        let now = Moment::of_clock(now);
        index.methods.iter().filter_map(|method| callable(index, method, party.slot, system, now)).collect()
    }
}

fn callable(
    index: &Index,
    method: &Method,
    consumer: u32,
    system: Option<u32>,
    now: Moment,
) -> Option<CallableMethod> {
    if index.dataset_of(method).secret {
        return None;
    }
    let purposes: Vec<PurposeFields> = granted_by_purpose(index, method, consumer, system, now)
        .map(|(purpose, fields)| PurposeFields {
            purpose: purpose.into(),
            fields: fields.ids.iter().cloned().collect(),
            masked_fields: fields.masking.keys().cloned().collect(),
            ..PurposeFields::default()
        })
        .collect();
    (!purposes.is_empty()).then(|| CallableMethod {
        path: method.path().to_owned(),
        provider: method.provider().to_owned(),
        dataset: method.dataset_id().to_owned(),
        kind: method.kind().into(),
        purposes,
        contract_hash: contract_hash(index, method.provider()),
    })
}

fn contract_hash(index: &Index, provider: &str) -> Vec<u8> {
    let contract = index.contracts.iter().find(|contract| contract.provider == provider);
    contract.map(|contract| contract.hash.to_vec()).unwrap_or_default()
}

fn shared_dataset(index: &Index, dataset: &Dataset) -> SharedDataset {
    let options = dataset.contract.options();
    let own = |method: &&std::sync::Arc<Method>| std::ptr::eq(index.dataset_of(method), dataset);
    SharedDataset {
        id: options.id.clone(),
        name_vi: options.name_vi.clone(),
        name_en: options.name_en.clone(),
        fields: dataset.contract.fields().iter().map(shared_field).collect(),
        key_fields: options.key_fields.clone(),
        sharing: options.sharing,
        importance: options.importance,
        personal: options.personal,
        freshness: dataset.declared.freshness,
        legal_basis: dataset.declared.legal_basis.clone(),
        methods: index.methods.iter().filter(own).map(|method| method.path().to_owned()).collect(),
    }
}

fn shared_field(field: &ContractField) -> SharedField {
    SharedField {
        id: field.id.clone(),
        label_vi: field.options.label_vi.clone(),
        r#type: field.type_name(),
        personal: field.personal.into(),
        dictionary_ref: field.options.dictionary_ref.clone(),
    }
}
