//! The provider's backend, the same for every contestant: a tonic server of the typed service, as an agency would write
//! it, which answers from memory.
//!
//! Not as light as can be: the baselines' share of the direct call, by which a run is judged valid, was measured with
//! such a backend, and such a backend is what stands behind a node.

use anyhow::Context;
use lienthong_proto::vn::dancu::v1::citizen_service_server::{CitizenService, CitizenServiceServer};
use lienthong_proto::vn::dancu::v1::{
    GetCitizenRequest, GetCitizenResponse, ListCitizensRequest, ListCitizensResponse, SyncCitizensRequest,
    SyncCitizensResponse, VerifyRecordRequest, VerifyRecordResponse,
};
use tonic::{Request, Response, Status};

use crate::exchange::{self, PAYLOADS_BYTES, STREAM_MESSAGE_BYTES};
use crate::pki::{Pki, Role};
use crate::tonic_server::TonicServer;

/// Starts the backend, on the runtime that is polled.
pub async fn start(pki: &Pki, stream_messages: usize) -> anyhow::Result<TonicServer> {
    let rows = PAYLOADS_BYTES.into_iter().map(exchange::response);
    let rows = rows.collect::<Option<_>>().context("a payload is too small")?;
    let row = exchange::response(STREAM_MESSAGE_BYTES).context("a message of the stream is too small")?;
    let streamed = SyncCitizensResponse { citizen: row.citizen };
    let register = Register { rows, streamed, stream_messages };
    TonicServer::start(pki, Role::Backend, CitizenServiceServer::new(register)).await
}

/// A register of few citizens: one for each payload.
struct Register {
    rows: Vec<GetCitizenResponse>,
    streamed: SyncCitizensResponse,
    stream_messages: usize,
}

#[tonic::async_trait]
impl CitizenService for Register {
    async fn get_citizen(
        &self,
        request: Request<GetCitizenRequest>,
    ) -> Result<Response<GetCitizenResponse>, Status> {
        let number = &request.get_ref().so_dinh_danh;
        let is_asked = |row: &&GetCitizenResponse| {
            row.citizen.as_ref().is_some_and(|citizen| citizen.so_dinh_danh == *number)
        };
        let row = self.rows.iter().find(is_asked);
        row.cloned().map(Response::new).ok_or_else(|| Status::not_found("no such citizen"))
    }

    async fn list_citizens(
        &self,
        _: Request<ListCitizensRequest>,
    ) -> Result<Response<ListCitizensResponse>, Status> {
        Err(not_measured())
    }

    type SyncCitizensStream = tokio_stream::Iter<std::iter::RepeatN<Result<SyncCitizensResponse, Status>>>;

    async fn sync_citizens(
        &self,
        _: Request<SyncCitizensRequest>,
    ) -> Result<Response<Self::SyncCitizensStream>, Status> {
        let messages = std::iter::repeat_n(Ok(self.streamed.clone()), self.stream_messages);
        Ok(Response::new(tokio_stream::iter(messages)))
    }

    async fn verify_record(
        &self,
        _: Request<VerifyRecordRequest>,
    ) -> Result<Response<VerifyRecordResponse>, Status> {
        Err(not_measured())
    }
}

fn not_measured() -> Status {
    Status::unimplemented("the benchmark measures GetCitizen and SyncCitizens only")
}
