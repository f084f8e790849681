//! `RegistryService`: who takes part, and the contracts that providers publish.

use std::sync::Arc;

use bytes::Bytes;
use lienthong_proto::lienthong::control::v1 as control;
use lienthong_proto::lienthong::registry::v1::registry_service_server::RegistryService;
use lienthong_proto::lienthong::registry::v1::{
    Agency, GetAgencyRequest, GetAgencyResponse, GetContractRequest, GetContractResponse,
    ListAgenciesRequest, ListAgenciesResponse, PublishContractRequest, PublishContractResponse,
};
use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;
use tokio::task::spawn_blocking;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::access::Rpc;
use crate::compliance::Examiner;
use crate::door::Door;
use crate::error::BrokerError;
use crate::generation::{Contract, Generation};
use crate::limits::{
    CONTRACT_VERSION_DIGITS_MIN, FINDINGS_SHOWN_MAX, NAME_SHOWN_BYTES_MAX, VERSION_SHOWN_DIGITS,
};
use crate::metrics::BrokerMetrics;
use crate::paging::Page;
use crate::query::{Filter, masked};
use crate::shelf::{Shelf, Shelved};
use crate::steward::{PublishError, Steward};
use crate::stored::StoredContract;
use crate::text;

/// The service.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) door: Door,
    pub(crate) steward: Arc<Steward>,
    pub(crate) examiner: Arc<Examiner>,
    pub(crate) shelf: Shelf,
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
        let ListAgenciesRequest { page_size, page_token, filter, read_mask } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let filter = Filter::read(&filter, &["bloc", "level", "role", "sector", "status"])?;
        let parties = guest.generation.parties().iter().filter_map(|code| guest.generation.party(code));
        let matching: Vec<Agency> =
            parties.filter(|one| filter.matches(|field| values_of(one, field))).collect();
        let (agencies, next_page_token) = page.cut(&matching, |one| &one.code);
        let name = "lienthong.registry.v1.Agency";
        let shown = agencies.iter().map(|one| masked(one.clone(), read_mask.as_ref(), name));
        let agencies = shown.collect::<Result<_, _>>()?;
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
                self.examiner.published(&node.name, None).await;
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
                // What was never registered cannot drift: its entry has no contract at all.
                if error.is_of_the_contract() && node.generation.contracts().contains_key(&node.agency) {
                    self.examiner.published(&node.name, Some(&error.to_string())).await;
                }
                Err(status(&error))
            }
        }
    }

    async fn get_contract(
        &self,
        request: Request<GetContractRequest>,
    ) -> Result<Response<GetContractResponse>, Status> {
        let node = self.door.admit_node(Rpc::GetContract, &request)?;
        let GetContractRequest { provider, version } = request.into_inner();
        let version = version.to_ascii_lowercase();
        if node.agency != provider && !node.generation.concerns(&node.name, &provider) {
            return Err(super::not_found("contract that concerns this node", &provider, "G01"));
        }
        let kept = self.shelf.versions(&provider).await.map_err(|error| unread(&error))?;
        if !node.generation.catalog().beside(&provider).is_empty() {
            return self.annotated(&node.generation, kept, &provider, &version).await;
        }
        let about = version_of(&kept, &provider, &version)?;
        let Shelved { about, descriptor_set } =
            self.shelf.contract(&provider, about.clone()).await.map_err(|error| unread(&error))?;
        let hash = Bytes::from(about.hash);
        let contract =
            control::Contract { provider, hash: hash.clone(), descriptor_set, published_hash: hash };
        Ok(Response::new(GetContractResponse { contract: Some(contract), publish_time: about.publish_time }))
    }
}

impl Registry {
    /// A version of a contract beside which the catalog says something: with what it says now, and known by the hash
    /// of that.
    async fn annotated(
        &self,
        generation: &Generation,
        kept: Vec<StoredContract>,
        provider: &str,
        version: &str,
    ) -> Result<Response<GetContractResponse>, Status> {
        let looked_at = if version.is_empty() { 1 } else { kept.len() };
        let (mut abouts, mut carried) = (Vec::new(), Vec::new());
        for about in kept.into_iter().take(looked_at) {
            let shelved = self.shelf.contract(provider, about).await.map_err(|error| unread(&error))?;
            let (beside, code) = (generation.catalog().beside(provider).clone(), provider.to_owned());
            let published = shelved.descriptor_set;
            let read = spawn_blocking(move || Contract::read(&code, published, &beside)).await;
            // A version that a newer broker no longer reads is none.
            if let Ok(Ok(contract)) = read {
                abouts.push(StoredContract { hash: contract.carried.hash.to_vec(), ..shelved.about });
                carried.push(contract.carried);
            }
        }
        let about = version_of(&abouts, provider, version)?;
        let contract = carried.into_iter().find(|contract| contract.hash == about.hash);
        Ok(Response::new(GetContractResponse { contract, publish_time: about.publish_time }))
    }
}

/// What a filter compares.
fn values_of<'a>(agency: &'a Agency, field: &str) -> Vec<&'a str> {
    let all = |texts: &'a [String]| texts.iter().map(String::as_str).collect();
    match field {
        "bloc" => vec![&agency.bloc],
        "level" => vec![&agency.level],
        "role" => all(&agency.roles),
        "sector" => all(&agency.sectors),
        _ => vec![if agency.active { "ACTIVE" } else { "ENDED" }],
    }
}

/// The version whose hash begins with these digits, or the newest.
fn version_of<'a>(
    kept: &'a [StoredContract],
    provider: &str,
    version: &str,
) -> Result<&'a StoredContract, Status> {
    if !version.is_empty() && version.len() < CONTRACT_VERSION_DIGITS_MIN {
        let problem =
            format!("a version is at least {CONTRACT_VERSION_DIGITS_MIN} hexadecimal digits of its hash");
        return Err(Status::invalid_argument(problem));
    }
    let found: Vec<_> = kept.iter().filter(|about| hex::encode(&about.hash).starts_with(version)).collect();
    match found.as_slice() {
        [newest, ..] if version.is_empty() => Ok(newest),
        // The same bytes may have been published again.
        [about, rest @ ..] if rest.iter().all(|other| other.hash == about.hash) => Ok(about),
        [] => {
            let shown = |about: &StoredContract| {
                text::cut(&hex::encode(&about.hash), VERSION_SHOWN_DIGITS).to_owned()
            };
            let hashes: Vec<String> = kept.iter().map(shown).collect();
            let kept = if hashes.is_empty() { "none".to_owned() } else { hashes.join(", ") };
            let version = text::cut(version, NAME_SHOWN_BYTES_MAX).escape_debug().to_string();
            Err(Status::not_found(format!(
                "no version {version} of the contract of {provider} is kept; kept are, the newest first: {kept}"
            )))
        }
        several => Err(Status::invalid_argument(format!(
            "{} versions of the contract of {provider} begin with {version}; write more digits",
            several.len()
        ))),
    }
}

fn unread(error: &BrokerError) -> Status {
    tracing::error!(%error, "contract not read");
    Status::unavailable("the broker could not read the contract; try again")
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
        PublishError::Breaks(broken) => {
            let mut details = ErrorDetails::new();
            for change in broken.changes.iter().take(FINDINGS_SHOWN_MAX) {
                details.add_bad_request_violation("descriptor_set", change);
            }
            Status::with_error_details(Code::FailedPrecondition, error.to_string(), details)
        }
        PublishError::Busy => Status::unavailable(error.to_string()),
        PublishError::Broker(BrokerError::Invariants(broken)) => {
            let mut details = ErrorDetails::new();
            for finding in broken.iter().take(FINDINGS_SHOWN_MAX) {
                details.add_bad_request_violation("descriptor_set", finding);
            }
            let message = "the contract would make the catalog break an invariant that the stewards declared";
            Status::with_error_details(Code::FailedPrecondition, message, details)
        }
        PublishError::Broker(BrokerError::TooLarge(bundle)) => {
            Status::failed_precondition(bundle.to_string())
        }
        PublishError::Broker(error) => {
            tracing::error!(%error, "contract not published");
            Status::unavailable(
                "the broker could not store or record the contract; it is not published, try again",
            )
        }
    }
}
