//! `NodeCatalogService`: what the agency shares, and what this caller may call.

use lienthong_proto::lienthong::catalog::v1::{
    CheckDossierRequest, CheckDossierResponse, GetContractRequest, GetContractResponse,
    ListCallableMethodsRequest, ListCallableMethodsResponse, ListDatasetsRequest, ListDatasetsResponse,
    node_catalog_service_server::NodeCatalogService,
};
use tonic::{Request, Response, Status};

use crate::services::{asker::Asker, contract, dossier, page::page};

/// The catalog as one caller sees it.
pub struct OwnCatalog(pub Asker);

#[tonic::async_trait]
impl NodeCatalogService for OwnCatalog {
    async fn list_datasets(
        &self,
        request: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        let request = request.into_inner();
        let rights = self.0.rights()?;
        let agency = &self.0.core.node.agency;
        let datasets = rights.shared_datasets(agency);
        let (datasets, next_page_token) = page(datasets, request.page_size, &request.page_token)?;
        let agency = agency.clone();
        Ok(Response::new(ListDatasetsResponse { agency, datasets, next_page_token, epoch: rights.epoch() }))
    }

    async fn list_callable_methods(
        &self,
        request: Request<ListCallableMethodsRequest>,
    ) -> Result<Response<ListCallableMethodsResponse>, Status> {
        let request = request.into_inner();
        let callable = self.0.callable(&*self.0.rights()?);
        let (methods, next_page_token) = page(callable, request.page_size, &request.page_token)?;
        Ok(Response::new(ListCallableMethodsResponse { methods, next_page_token }))
    }

    async fn get_contract(
        &self,
        request: Request<GetContractRequest>,
    ) -> Result<Response<GetContractResponse>, Status> {
        contract::get(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn check_dossier(
        &self,
        request: Request<CheckDossierRequest>,
    ) -> Result<Response<CheckDossierResponse>, Status> {
        let rights = self.0.rights()?;
        let callable = self.0.callable(&rights);
        dossier::check(&rights, &callable, request.into_inner()).map(Response::new)
    }
}
