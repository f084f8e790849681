//! `MeshStatusService`: how the mesh stands, for those who run it and those who watch it.

use std::sync::Arc;

use lienthong_catalog::catalog::Catalog;
use lienthong_duty::timestamp;
use lienthong_proto::lienthong::control::v1::mesh_status_service_server::MeshStatusService;
use lienthong_proto::lienthong::control::v1::node_state::ListInForce;
use lienthong_proto::lienthong::control::v1::{
    GetMeshStatusRequest, GetMeshStatusResponse, ListNodeStatesRequest, ListNodeStatesResponse, NodeState,
    WhoAmIRequest, WhoAmIResponse,
};
use prost_types::Timestamp;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::access::Rpc;
use crate::board::{Board, Row};
use crate::clock;
use crate::door::Door;
use crate::generation::Generation;
use crate::identity::Caller;
use crate::index::Index;
use crate::ledger::Ledger;
use crate::matching::Progress;
use crate::paging::Page;
use crate::positions::Positions;

/// The service.
#[derive(Clone, Debug)]
pub struct MeshStatus {
    door: Door,
    from: Sources,
    start_time: Timestamp,
}

/// Where it looks.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The registry and the newest bundles.
    pub generations: watch::Receiver<Arc<Generation>>,
    /// What nodes say of themselves.
    pub board: Board,
    /// How much of each journal the log holds.
    pub positions: Arc<Positions>,
    /// The log.
    pub ledger: Ledger,
    /// Its index.
    pub index: Index,
    /// How far it is matched.
    pub progress: Progress,
}

impl MeshStatus {
    /// A service that began now.
    pub fn new(door: Door, from: Sources) -> MeshStatus {
        MeshStatus { door, from, start_time: clock::now() }
    }
}

#[tonic::async_trait]
impl MeshStatusService for MeshStatus {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let guest = self.door.admit(Rpc::WhoAmI, &request)?;
        let (name, agency) = match &guest.caller {
            Caller::Node { name, agency } | Caller::System { name, agency } => {
                (name.as_str(), agency.as_str())
            }
            Caller::Officer { subject, agency } | Caller::Head { subject, agency } => {
                (subject.as_str(), agency.as_str())
            }
            Caller::Operator { subject }
            | Caller::Auditor { subject }
            | Caller::Steward { subject }
            | Caller::Console { subject } => (subject.as_str(), ""),
            Caller::Anonymous { .. } => ("", ""),
        };
        let (agency_name_vi, agency_name_en) = names(guest.generation.catalog(), agency);
        Ok(Response::new(WhoAmIResponse {
            role: guest.caller.role().name().to_owned(),
            name: name.to_owned(),
            agency: agency.to_owned(),
            agency_name_vi,
            agency_name_en,
            console: guest.console().to_owned(),
        }))
    }

    async fn get_mesh_status(
        &self,
        request: Request<GetMeshStatusRequest>,
    ) -> Result<Response<GetMeshStatusResponse>, Status> {
        let guest = self.door.admit(Rpc::GetMeshStatus, &request)?;
        let checkpoint = self.from.ledger.published().await.map_err(|error| {
            tracing::error!(%error, "the published checkpoint cannot be read");
            Status::unavailable("the published checkpoint cannot be read now; ask again")
        })?;
        let generation = &guest.generation;
        Ok(Response::new(GetMeshStatusResponse {
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            start_time: Some(self.start_time),
            now: Some(clock::now()),
            epoch: generation.epoch(),
            trust_version: generation.trusts().newest().trust().version(),
            log_entries: *self.from.ledger.published_size().borrow(),
            indexed_upto: self.from.index.upto(),
            matched_upto: self.from.progress.matched(),
            checkpoint,
            revocation: generation.revocation().to_vec(),
            nodes: u32::try_from(generation.catalog().nodes().len()).unwrap_or(u32::MAX),
            nodes_connected: u32::try_from(self.from.board.connected()).unwrap_or(u32::MAX),
        }))
    }

    async fn list_node_states(
        &self,
        request: Request<ListNodeStatesRequest>,
    ) -> Result<Response<ListNodeStatesResponse>, Status> {
        let guest = self.door.admit(Rpc::ListNodeStates, &request)?;
        let ListNodeStatesRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let mut names: Vec<&str> =
            guest.generation.catalog().nodes().iter().map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        let (names, next_page_token) = page.cut(&names, |name| name);
        let nodes = names.iter().map(|name| self.node(name)).collect();
        Ok(Response::new(ListNodeStatesResponse { nodes, next_page_token }))
    }
}

/// What a party is called, in Vietnamese and in English.
fn names(catalog: &Catalog, code: &str) -> (String, String) {
    if let Some(agency) = catalog.agencies().iter().find(|agency| agency.code == code) {
        return (agency.name_vi.clone(), agency.name_en.clone());
    }
    let outside = catalog.outside_parties().iter().find(|party| party.code == code);
    (outside.map(|party| party.name_vi.clone()).unwrap_or_default(), String::new())
}

impl MeshStatus {
    fn node(&self, name: &str) -> NodeState {
        let Row {
            watches,
            software_version,
            sent_epoch,
            applied_epoch,
            applied_time,
            error,
            trust_version,
            trust_error,
            revocation,
            cut,
            certificate_not_after,
            ..
        } = self.from.board.row(name).unwrap_or_default();
        let connected = watches > 0;
        NodeState {
            name: name.to_owned(),
            connected,
            software_version,
            sent_epoch,
            applied_epoch,
            applied_time,
            error,
            trust_version,
            trust_error,
            revocation: revocation
                .into_iter()
                .map(|held| ListInForce { list: Some(held.list), since: held.since })
                .collect(),
            connections_cut: cut.as_ref().map_or(0, |cut| cut.connections),
            cut_time: cut.and_then(|cut| cut.gone),
            certificate_not_after: certificate_not_after.filter(|_| connected).map(timestamp),
            journal_seq: self.from.positions.of(name).map_or(0, |position| position.last_seq),
        }
    }
}
