//! `RegistryService`: who takes part, and the contracts that providers publish.

use std::sync::Arc;

use lienthong_proto::lienthong::registry::v1::registry_service_server::RegistryService;
use lienthong_proto::lienthong::registry::v1::{
    GetAgencyRequest, GetAgencyResponse, ListAgenciesRequest, ListAgenciesResponse, PublishContractRequest,
    PublishContractResponse,
};
use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::access::Rpc;
use crate::door::Door;
use crate::limits::FINDINGS_SHOWN_MAX;
use crate::metrics::BrokerMetrics;
use crate::paging::Page;
use crate::steward::{PublishError, Steward};

/// The service.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) door: Door,
    pub(crate) steward: Arc<Steward>,
    pub(crate) metrics: BrokerMetrics,
}

#[tonic::async_trait]
impl RegistryService for Registry {
    async fn get_agency(
        &self,
        request: Request<GetAgencyRequest>,
    ) -> Result<Response<GetAgencyResponse>, Status> {
        let guest = self.door.admit(Rpc::GetAgency, &request)?;
        let name = &request.get_ref().name;
        match name.strip_prefix("agencies/").and_then(|code| guest.generation.party(code)) {
            Some(agency) => Ok(Response::new(GetAgencyResponse { agency: Some(agency) })),
            None => Err(super::not_found("agency", name, "agencies/G01")),
        }
    }

    async fn list_agencies(
        &self,
        request: Request<ListAgenciesRequest>,
    ) -> Result<Response<ListAgenciesResponse>, Status> {
        let guest = self.door.admit(Rpc::ListAgencies, &request)?;
        let ListAgenciesRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let (codes, next_page_token) = page.cut(guest.generation.parties(), |code| code);
        let agencies = codes.iter().filter_map(|code| guest.generation.party(code)).collect();
        Ok(Response::new(ListAgenciesResponse { agencies, next_page_token }))
    }

    async fn publish_contract(
        &self,
        request: Request<PublishContractRequest>,
    ) -> Result<Response<PublishContractResponse>, Status> {
        let node = self.door.admit_node(Rpc::PublishContract, &request)?;
        let descriptor_set = request.into_inner().descriptor_set.into();
        // The work goes on when the caller hangs up: what is half published would be found only at the next start.
        let (steward, name, agency) = (Arc::clone(&self.steward), node.name.clone(), node.agency.clone());
        let work = tokio::spawn(async move { steward.publish(&name, &agency, descriptor_set).await });
        match work.await.map_err(|_| Status::internal("the publication ended unexpectedly"))? {
            Ok(published) => {
                self.metrics.contract(if published.changed { "published" } else { "unchanged" });
                Ok(Response::new(PublishContractResponse {
                    hash: published.hash.to_vec(),
                    datasets: published.datasets,
                    findings: published.findings,
                    epoch: published.epoch,
                    publish_time: published.publish_time,
                }))
            }
            Err(error) => {
                self.metrics.contract("refused");
                tracing::warn!(node = node.name, %error, "contract refused");
                Err(status(&error))
            }
        }
    }
}

fn status(error: &PublishError) -> Status {
    match error {
        PublishError::NotAProvider(_) => {
            MeshError::new(Reason::DenyNotEntitled, error.to_string()).with_rule("R-09").to_status()
        }
        PublishError::Unreadable(_) => Status::invalid_argument(error.to_string()),
        PublishError::Findings(findings) => {
            let mut details = ErrorDetails::new();
            for finding in findings.iter().take(FINDINGS_SHOWN_MAX) {
                details.add_bad_request_violation("descriptor_set", finding);
            }
            Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
        }
        PublishError::Broker(error) => {
            tracing::error!(%error, "contract not published");
            Status::unavailable(
                "the broker could not store or record the contract; it is not published, try again",
            )
        }
    }
}
