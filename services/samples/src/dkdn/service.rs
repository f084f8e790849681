//! The register as a gRPC service.

use std::sync::Arc;

use lienthong_proto::vn::dkdn::v1::enterprise_service_server::EnterpriseService;
use lienthong_proto::vn::dkdn::v1::{
    GetEnterpriseRequest, GetEnterpriseResponse, ListEnterprisesRequest, ListEnterprisesResponse,
};
use tonic::{Request, Response, Status};

use super::register::Register;

/// Answers `vn.dkdn.v1.EnterpriseService`.
#[derive(Clone, Debug)]
pub struct EnterpriseBackend {
    register: Arc<Register>,
}

impl EnterpriseBackend {
    /// Serves `register`.
    pub fn new(register: Register) -> Self {
        Self { register: Arc::new(register) }
    }
}

#[tonic::async_trait]
impl EnterpriseService for EnterpriseBackend {
    async fn get_enterprise(
        &self,
        request: Request<GetEnterpriseRequest>,
    ) -> Result<Response<GetEnterpriseResponse>, Status> {
        let enterprise = self.register.enterprise(&request.get_ref().ma_so_doanh_nghiep)?;
        Ok(Response::new(GetEnterpriseResponse { enterprise: Some(enterprise.clone()) }))
    }

    async fn list_enterprises(
        &self,
        request: Request<ListEnterprisesRequest>,
    ) -> Result<Response<ListEnterprisesResponse>, Status> {
        Ok(Response::new(self.register.list(request.get_ref())?))
    }
}
