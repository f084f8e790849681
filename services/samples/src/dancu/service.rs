//! The register as a gRPC service.

use std::sync::Arc;
use std::time::SystemTime;

use lienthong_proto::vn::dancu::v1::citizen_service_server::CitizenService;
use lienthong_proto::vn::dancu::v1::{
    GetCitizenRequest, GetCitizenResponse, ListCitizensRequest, ListCitizensResponse, SyncCitizensRequest,
    SyncCitizensResponse, VerifyRecordRequest, VerifyRecordResponse,
};
use tokio_stream::{Iter, iter};
use tonic::{Request, Response, Status};

use super::register::Register;

/// Answers `vn.dancu.v1.CitizenService`.
#[derive(Clone, Debug)]
pub struct CitizenBackend {
    register: Arc<Register>,
}

impl CitizenBackend {
    /// Serves `register`.
    pub fn new(register: Register) -> Self {
        Self { register: Arc::new(register) }
    }
}

/// The changed records, all of them in memory already: nothing queues up behind a slow reader.
type SyncStream = Iter<std::vec::IntoIter<Result<SyncCitizensResponse, Status>>>;

#[tonic::async_trait]
impl CitizenService for CitizenBackend {
    type SyncCitizensStream = SyncStream;

    async fn get_citizen(
        &self,
        request: Request<GetCitizenRequest>,
    ) -> Result<Response<GetCitizenResponse>, Status> {
        let citizen = self.register.citizen(&request.get_ref().so_dinh_danh)?;
        Ok(Response::new(GetCitizenResponse { citizen: Some(citizen.clone()) }))
    }

    async fn list_citizens(
        &self,
        request: Request<ListCitizensRequest>,
    ) -> Result<Response<ListCitizensResponse>, Status> {
        Ok(Response::new(self.register.list(request.get_ref())?))
    }

    async fn sync_citizens(
        &self,
        request: Request<SyncCitizensRequest>,
    ) -> Result<Response<Self::SyncCitizensStream>, Status> {
        let changed = self.register.changed_after(request.get_ref().changed_after.as_ref())?;
        let responses: Vec<_> = changed
            .iter()
            .map(|citizen| Ok(SyncCitizensResponse { citizen: Some(citizen.clone()) }))
            .collect();
        Ok(Response::new(iter(responses)))
    }

    async fn verify_record(
        &self,
        request: Request<VerifyRecordRequest>,
    ) -> Result<Response<VerifyRecordResponse>, Status> {
        let confirmation = self.register.verify(request.get_ref(), SystemTime::now().into())?;
        Ok(Response::new(VerifyRecordResponse { confirmation: Some(confirmation) }))
    }
}
