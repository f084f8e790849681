//! The code list as a gRPC service.

use std::sync::Arc;

use lienthong_proto::vn::danhmuc::v1::administrative_unit_service_server::AdministrativeUnitService;
use lienthong_proto::vn::danhmuc::v1::{
    GetAdministrativeUnitRequest, GetAdministrativeUnitResponse, ListAdministrativeUnitsRequest,
    ListAdministrativeUnitsResponse,
};
use tonic::{Request, Response, Status};

use super::code_list::CodeList;

/// Answers `vn.danhmuc.v1.AdministrativeUnitService`.
#[derive(Clone, Debug)]
pub struct AdministrativeUnitBackend {
    code_list: Arc<CodeList>,
}

impl AdministrativeUnitBackend {
    /// Serves `code_list`.
    pub fn new(code_list: CodeList) -> Self {
        Self { code_list: Arc::new(code_list) }
    }
}

#[tonic::async_trait]
impl AdministrativeUnitService for AdministrativeUnitBackend {
    async fn get_administrative_unit(
        &self,
        request: Request<GetAdministrativeUnitRequest>,
    ) -> Result<Response<GetAdministrativeUnitResponse>, Status> {
        let unit = self.code_list.unit(&request.get_ref().ma_dvhc)?;
        Ok(Response::new(GetAdministrativeUnitResponse { unit: Some(unit.clone()) }))
    }

    async fn list_administrative_units(
        &self,
        request: Request<ListAdministrativeUnitsRequest>,
    ) -> Result<Response<ListAdministrativeUnitsResponse>, Status> {
        Ok(Response::new(self.code_list.list(request.get_ref())?))
    }
}
