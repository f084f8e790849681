//! `HoldingsService`: what the agencies hold, and what the catalog makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lienthong_catalog::catalog::{Catalog, Database as CatalogDatabase};
use lienthong_catalog::purpose;
use lienthong_proto::lienthong::catalog::v1::{SharedDataset, SharedField};
use lienthong_proto::lienthong::control::v1::{Right, System};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::lienthong::registry::v1::holdings_service_server::HoldingsService;
use lienthong_proto::lienthong::registry::v1::{
    Database, DatasetHolding, DictionaryElement, GetDatabaseRequest, GetDatabaseResponse, GetDatasetRequest,
    GetDatasetResponse, ListDatabasesRequest, ListDatabasesResponse, ListDatasetHoldingsRequest,
    ListDatasetHoldingsResponse, ListDictionaryRequest, ListDictionaryResponse, ListPurposesRequest,
    ListPurposesResponse, ListRightsRequest, ListRightsResponse, ListSystemsRequest, ListSystemsResponse,
    PurposeDescription,
};
use tokio::task::spawn_blocking;
use tonic::{Request, Response, Status};

use crate::access::Rpc;
use crate::arbiter::Actor;
use crate::door::Door;
use crate::generation::Material;
use crate::paging::Page;
use crate::query::{Filter, masked};
use crate::steward::Steward;

/// The service.
#[derive(Clone, Debug)]
pub struct Holdings {
    pub(crate) door: Door,
    pub(crate) steward: Arc<Steward>,
}

#[tonic::async_trait]
impl HoldingsService for Holdings {
    async fn get_database(
        &self,
        request: Request<GetDatabaseRequest>,
    ) -> Result<Response<GetDatabaseResponse>, Status> {
        let guest = self.door.admit(Rpc::GetDatabase, &request)?;
        let name = &request.get_ref().name;
        let databases = guest.generation.catalog().databases().iter().map(database);
        let found = databases.into_iter().find(|one| one.name == *name);
        let database = found.ok_or_else(|| super::not_found("database", name, "databases/dan_cu"))?;
        Ok(Response::new(GetDatabaseResponse { database: Some(database) }))
    }

    async fn list_databases(
        &self,
        request: Request<ListDatabasesRequest>,
    ) -> Result<Response<ListDatabasesResponse>, Status> {
        let guest = self.door.admit(Rpc::ListDatabases, &request)?;
        let ListDatabasesRequest { page_size, page_token, filter } = request.into_inner();
        let (page, filter) =
            (Page::read(page_size, &page_token)?, Filter::read(&filter, &["owner", "kind"])?);
        let mut all: Vec<Database> = guest.generation.catalog().databases().iter().map(database).collect();
        all.retain(|one| {
            filter.matches(|field| [if field == "owner" { one.owner.as_str() } else { one.kind.as_str() }])
        });
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let (databases, next_page_token) = page.cut(&all, |one| &one.name);
        Ok(Response::new(ListDatabasesResponse { databases: databases.to_vec(), next_page_token }))
    }

    async fn get_dataset(
        &self,
        request: Request<GetDatasetRequest>,
    ) -> Result<Response<GetDatasetResponse>, Status> {
        self.door.admit(Rpc::GetDataset, &request)?;
        let name = &request.get_ref().name;
        let found = datasets(&self.steward.material().await).into_iter().find(|one| one.name == *name);
        let dataset =
            found.ok_or_else(|| super::not_found("dataset", name, "agencies/G01/datasets/dancu.cong_dan"))?;
        Ok(Response::new(GetDatasetResponse { dataset: Some(dataset) }))
    }

    async fn list_dataset_holdings(
        &self,
        request: Request<ListDatasetHoldingsRequest>,
    ) -> Result<Response<ListDatasetHoldingsResponse>, Status> {
        self.door.admit(Rpc::ListDatasetHoldings, &request)?;
        let ListDatasetHoldingsRequest { page_size, page_token, filter, read_mask } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let filter = Filter::read(&filter, &["provider", "database"])?;
        let mut all = datasets(&self.steward.material().await);
        all.retain(|one| {
            filter.matches(|field| {
                [if field == "provider" { one.provider.as_str() } else { one.database.as_str() }]
            })
        });
        let (shown, next_page_token) = page.cut(&all, |one| &one.name);
        let name = "lienthong.registry.v1.DatasetHolding";
        let shown = shown.iter().map(|one| masked(one.clone(), read_mask.as_ref(), name));
        let datasets = shown.collect::<Result<_, _>>()?;
        Ok(Response::new(ListDatasetHoldingsResponse { datasets, next_page_token }))
    }

    async fn list_systems(
        &self,
        request: Request<ListSystemsRequest>,
    ) -> Result<Response<ListSystemsResponse>, Status> {
        let guest = self.door.admit(Rpc::ListSystems, &request)?;
        let ListSystemsRequest { page_size, page_token, filter } = request.into_inner();
        let (page, filter) = (Page::read(page_size, &page_token)?, Filter::read(&filter, &["agency"])?);
        let mut all: Vec<System> = guest.generation.catalog().systems().to_vec();
        all.retain(|one| filter.matches(|_| [one.agency.as_str()]));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let (systems, next_page_token) = page.cut(&all, |one| &one.name);
        Ok(Response::new(ListSystemsResponse { systems: systems.to_vec(), next_page_token }))
    }

    async fn list_dictionary(
        &self,
        request: Request<ListDictionaryRequest>,
    ) -> Result<Response<ListDictionaryResponse>, Status> {
        let guest = self.door.admit(Rpc::ListDictionary, &request)?;
        let ListDictionaryRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let all: Vec<DictionaryElement> = guest
            .generation
            .catalog()
            .dictionary()
            .ids()
            .map(|id| DictionaryElement { id: id.to_owned(), label_vi: String::new() })
            .collect();
        let (elements, next_page_token) = page.cut(&all, |one| &one.id);
        Ok(Response::new(ListDictionaryResponse { elements: elements.to_vec(), next_page_token }))
    }

    async fn list_purposes(
        &self,
        request: Request<ListPurposesRequest>,
    ) -> Result<Response<ListPurposesResponse>, Status> {
        self.door.admit(Rpc::ListPurposes, &request)?;
        let describe = |(purpose, _): &(Purpose, &str)| {
            let needs = purpose::needs_dossier(*purpose);
            PurposeDescription {
                purpose: (*purpose).into(),
                required_context: if needs { vec!["mesh-dossier".to_owned()] } else { Vec::new() },
                grantable: *purpose != Purpose::Commercial,
            }
        };
        let purposes = purpose::WORDS.iter().map(describe).collect();
        Ok(Response::new(ListPurposesResponse { purposes }))
    }

    async fn list_rights(
        &self,
        request: Request<ListRightsRequest>,
    ) -> Result<Response<ListRightsResponse>, Status> {
        let guest = self.door.admit(Rpc::ListRights, &request)?;
        let actor = Actor::of(&guest.caller);
        let ListRightsRequest { page_size, page_token, filter } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let filter = Filter::read(&filter, &["consumer", "provider", "dataset"])?;
        let material = self.steward.material().await;
        let epoch = guest.generation.epoch();
        let compiled = spawn_blocking(move || {
            let suspensions = Arc::clone(&material.suspensions);
            let mut rights = material.rights().rights().to_vec();
            for right in &mut rights {
                suspensions.mark(right);
            }
            rights
        });
        let mut all = compiled.await.map_err(|_| Status::internal("the rights could not be compiled"))?;
        all.retain(|right| {
            let concerns = actor.as_ref().is_some_and(|actor| {
                actor.sees_all
                    || [&right.provider, &right.consumer].contains(&&actor.agency)
                    || right.consumer.is_empty()
            });
            concerns && filter.matches(|field| [field_of(right, field)])
        });
        // Keys of masking are nodes' own.
        for right in &mut all {
            right.hash_key.clear();
        }
        let (rights, next_page_token) = page.cut(&all, |one: &Right| &one.id);
        Ok(Response::new(ListRightsResponse { rights: rights.to_vec(), next_page_token, epoch }))
    }
}

fn field_of<'r>(right: &'r Right, field: &str) -> &'r str {
    match field {
        "consumer" => &right.consumer,
        "provider" => &right.provider,
        _ => &right.dataset,
    }
}

fn database(one: &CatalogDatabase) -> Database {
    Database {
        name: format!("databases/{}", one.id),
        name_vi: one.name_vi.clone(),
        kind: one.kind.word().to_owned(),
        owner: one.owner_code.clone(),
        legal_basis: one.legal_basis.iter().map(ToString::to_string).collect(),
        special_operational: one.special_operational,
        datasets: one.datasets.iter().map(|dataset| dataset.id.clone()).collect(),
    }
}

/// Every dataset that a database lists or a contract declares, by name.
fn datasets(material: &Material) -> Vec<DatasetHolding> {
    let catalog: &Catalog = &material.catalog;
    let mut holdings: BTreeMap<String, DatasetHolding> = BTreeMap::new();
    for database in catalog.databases() {
        for dataset in &database.datasets {
            let name = format!("agencies/{}/datasets/{}", database.owner_code, dataset.id);
            holdings.insert(
                name.clone(),
                DatasetHolding {
                    name,
                    declared: Some(SharedDataset { id: dataset.id.clone(), ..SharedDataset::default() }),
                    provider: database.owner_code.clone(),
                    database: format!("databases/{}", database.id),
                    master: dataset.master,
                    ..DatasetHolding::default()
                },
            );
        }
    }
    for (provider, contract) in &material.contracts {
        for dataset in contract.model.datasets() {
            let name = format!("agencies/{provider}/datasets/{}", dataset.id());
            let options = dataset.options();
            let fields = dataset.fields().iter().map(|field| SharedField {
                id: field.id.clone(),
                label_vi: field.options.label_vi.clone(),
                r#type: field.type_name(),
                personal: field.personal.into(),
                dictionary_ref: field.options.dictionary_ref.clone(),
            });
            let methods = contract.model.methods().iter().filter(|method| method.dataset == dataset.id());
            let holding = holdings.entry(name.clone()).or_insert_with(|| DatasetHolding {
                name,
                provider: provider.clone(),
                ..DatasetHolding::default()
            });
            holding.published = true;
            holding.master |= options.master;
            holding.declared = Some(SharedDataset {
                id: options.id.clone(),
                name_vi: options.name_vi.clone(),
                name_en: options.name_en.clone(),
                fields: fields.collect(),
                key_fields: options.key_fields.clone(),
                sharing: options.sharing,
                importance: options.importance,
                personal: options.personal,
                methods: methods.map(|method| method.path.clone()).collect(),
                ..SharedDataset::default()
            });
        }
    }
    for entry in catalog.entries().iter().filter(|entry| entry.status.is_in_force()) {
        let name = format!("agencies/{}/datasets/{}", entry.provider_code, entry.dataset_id);
        if let Some(holding) = holdings.get_mut(&name) {
            holding.entries.push(entry.versioned_id());
        }
    }
    holdings.into_values().collect()
}
