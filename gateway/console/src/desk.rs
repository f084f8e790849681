//! Questions to the broker for one person: each carries the chain that he showed, and the broker judges it anew.

use std::sync::Arc;
use std::time::Duration;

use lienthong_proto::lienthong::audit::v1::finding_service_client::FindingServiceClient;
use lienthong_proto::lienthong::audit::v1::search_service_client::SearchServiceClient;
use lienthong_proto::lienthong::catalog::v1::catalog_change_service_client::CatalogChangeServiceClient;
use lienthong_proto::lienthong::catalog::v1::catalog_service_client::CatalogServiceClient;
use lienthong_proto::lienthong::catalog::v1::decision_service_client::DecisionServiceClient;
use lienthong_proto::lienthong::compliance::v1::compliance_service_client::ComplianceServiceClient;
use lienthong_proto::lienthong::control::v1::mesh_status_service_client::MeshStatusServiceClient;
use lienthong_proto::lienthong::registry::v1::duty_service_client::DutyServiceClient;
use lienthong_proto::lienthong::registry::v1::enrollment_service_client::EnrollmentServiceClient;
use lienthong_proto::lienthong::registry::v1::holdings_service_client::HoldingsServiceClient;
use lienthong_proto::lienthong::registry::v1::registry_service_client::RegistryServiceClient;
use lienthong_transport::Channel;
use lienthong_transport::peer::PERSON_KEY;
use rustls_pki_types::CertificateDer;
use tonic::body::Body;
use tonic::metadata::{Binary, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

/// How long the broker may take for one answer, seconds.
pub const ANSWER_TIMEOUT_S: u64 = 30;

/// Largest answer of a search, bytes: a page of records with their proofs.
const SEARCH_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The way to the broker, as one person.
pub type Line = InterceptedService<Channel<Body>, Speaking>;

/// Where questions for one person are put.
#[derive(Clone)]
pub struct Desk(Line);

/// Adds the person to each question.
#[derive(Clone)]
pub struct Speaking {
    chain: Arc<[MetadataValue<Binary>]>,
    patient: bool,
}

impl Desk {
    /// A desk for the person with this chain.
    pub fn new(broker: Channel<Body>, chain: &[CertificateDer<'static>]) -> Self {
        Self::speaking(broker, chain, false)
    }

    /// The same for a stream, which has no end.
    pub fn patient(broker: Channel<Body>, chain: &[CertificateDer<'static>]) -> Self {
        Self::speaking(broker, chain, true)
    }

    fn speaking(broker: Channel<Body>, chain: &[CertificateDer<'static>], patient: bool) -> Self {
        let chain = chain.iter().map(|der| MetadataValue::from_bytes(der)).collect();
        Self(InterceptedService::new(broker, Speaking { chain, patient }))
    }

    /// How the mesh stands.
    pub fn status(&self) -> MeshStatusServiceClient<Line> {
        MeshStatusServiceClient::new(self.0.clone())
    }

    /// The log.
    pub fn log(&self) -> SearchServiceClient<Line> {
        SearchServiceClient::new(self.0.clone()).max_decoding_message_size(SEARCH_ANSWER_BYTES_MAX)
    }

    /// Findings.
    pub fn findings(&self) -> FindingServiceClient<Line> {
        FindingServiceClient::new(self.0.clone())
    }

    /// Decisions.
    pub fn decisions(&self) -> DecisionServiceClient<Line> {
        DecisionServiceClient::new(self.0.clone())
    }

    /// The catalog.
    pub fn catalog(&self) -> CatalogServiceClient<Line> {
        CatalogServiceClient::new(self.0.clone())
    }

    /// Changes of the catalog.
    pub fn changes(&self) -> CatalogChangeServiceClient<Line> {
        CatalogChangeServiceClient::new(self.0.clone())
    }

    /// What agencies hold.
    pub fn holdings(&self) -> HoldingsServiceClient<Line> {
        HoldingsServiceClient::new(self.0.clone())
    }

    /// Who takes part.
    pub fn registry(&self) -> RegistryServiceClient<Line> {
        RegistryServiceClient::new(self.0.clone())
    }

    /// Who wants to.
    pub fn enrollments(&self) -> EnrollmentServiceClient<Line> {
        EnrollmentServiceClient::new(self.0.clone())
    }

    /// How it is kept.
    pub fn compliance(&self) -> ComplianceServiceClient<Line> {
        ComplianceServiceClient::new(self.0.clone())
    }

    /// The duty to share.
    pub fn duty(&self) -> DutyServiceClient<Line> {
        DutyServiceClient::new(self.0.clone())
    }
}

impl Interceptor for Speaking {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for der in self.chain.iter() {
            request.metadata_mut().append_bin(PERSON_KEY, der.clone());
        }
        if !self.patient {
            request.set_timeout(Duration::from_secs(ANSWER_TIMEOUT_S));
        }
        Ok(request)
    }
}
