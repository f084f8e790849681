//! `CatalogService`: the mandatory-sharing catalog, as people read it.

use lienthong_proto::lienthong::catalog::v1::catalog_service_server::CatalogService;
use lienthong_proto::lienthong::catalog::v1::{
    GetEntryRequest, GetEntryResponse, ListEntriesRequest, ListEntriesResponse,
};
use tonic::{Request, Response, Status};

use crate::access::Rpc;
use crate::door::Door;
use crate::paging::Page;
use crate::query::{Filter, masked};

/// The service.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(crate) door: Door,
}

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn get_entry(
        &self,
        request: Request<GetEntryRequest>,
    ) -> Result<Response<GetEntryResponse>, Status> {
        let guest = self.door.admit(Rpc::GetEntry, &request)?;
        let name = &request.get_ref().name;
        let entries = guest.generation.entries();
        let found = name
            .strip_prefix("entries/")
            .and_then(|id| entries.binary_search_by(|entry| entry.id.as_str().cmp(id)).ok())
            .and_then(|index| entries.get(index));
        match found {
            Some(entry) => {
                Ok(Response::new(GetEntryResponse { entry: Some(guest.generation.describe(entry)) }))
            }
            None => Err(super::not_found("entry", name, "entries/CE-0007")),
        }
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let guest = self.door.admit(Rpc::ListEntries, &request)?;
        let ListEntriesRequest { page_size, page_token, filter, read_mask } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let filter = Filter::read(&filter, &["provider", "dataset", "status"])?;
        let matching = guest.generation.entries().iter().filter(|entry| {
            filter.matches(|field| {
                [match field {
                    "provider" => entry.provider_code.as_str(),
                    "dataset" => entry.dataset_id.as_str(),
                    _ => entry.status.word(),
                }]
            })
        });
        let matching: Vec<_> = matching.collect();
        let (entries, next_page_token) = page.cut(&matching, |entry| &entry.id);
        let described = entries.iter().map(|entry| guest.generation.describe(entry));
        let shown = described.map(|entry| masked(entry, read_mask.as_ref(), "lienthong.catalog.v1.Entry"));
        let entries = shown.collect::<Result<_, _>>()?;
        Ok(Response::new(ListEntriesResponse { entries, next_page_token }))
    }
}
