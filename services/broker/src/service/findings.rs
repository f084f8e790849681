//! `FindingService`: what does not match, and who closed it why.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use lienthong_audit::finding::{DETAIL_CHARS_MAX, is_id};
use lienthong_proto::lienthong::audit::v1::finding_service_server::FindingService;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{
    CloseFindingRequest, CloseFindingResponse, FindingClosed, FindingEntry, FindingKind, ListFindingsRequest,
    ListFindingsResponse, ListWatchRulesRequest, ListWatchRulesResponse, NoteFindingRequest,
    NoteFindingResponse, WatchFindingsRequest, WatchFindingsResponse,
};
use lienthong_transport::Drain;
use lienthong_watch::Rules;
use tonic::{Request, Response, Status};

use super::watching::Watching;
use super::{not_found, notes};
use crate::access::Rpc;
use crate::door::Door;
use crate::error::BrokerError;
use crate::identity::Caller;
use crate::ledger::Ledger;
use crate::limits::{FINDING_CLOSE_WAIT_MS, FINDINGS_CLOSING_MAX, FINDINGS_PAGE_DEFAULT, FINDINGS_PAGE_MAX};
use crate::matching::Progress;
use crate::places::Places;
use crate::shelf::Shelf;

/// The service.
#[derive(Clone, Debug)]
pub struct FindingDesk {
    pub(crate) door: Door,
    pub(crate) ledger: Ledger,
    pub(crate) shelf: Shelf,
    pub(crate) progress: Progress,
    /// Findings that are closed on record, or about to be, and that matching may not have taken in yet.
    pub(crate) closing: Arc<Mutex<HashSet<String>>>,
    pub(crate) drain: Drain,
    pub(crate) places: Places,
    /// The rules that are applied.
    pub(crate) rules: Arc<Rules>,
}

#[tonic::async_trait]
impl FindingService for FindingDesk {
    type WatchFindingsStream = BoxStream<'static, Result<WatchFindingsResponse, Status>>;

    async fn list_findings(
        &self,
        request: Request<ListFindingsRequest>,
    ) -> Result<Response<ListFindingsResponse>, Status> {
        let guest = self.door.admit(Rpc::ListFindings, &request)?;
        let asked = request.into_inner();
        let items_max = match usize::try_from(asked.page_size) {
            Ok(0) => FINDINGS_PAGE_DEFAULT,
            Ok(size) => size.min(FINDINGS_PAGE_MAX),
            Err(_) => return Err(Status::invalid_argument("page_size is negative")),
        };
        let after = match asked.page_token.as_str() {
            "" => None,
            token => Some(u64::from_str_radix(token, 16).map_err(|_| {
                Status::invalid_argument(
                    "page_token is not one that this service gave; begin again without it",
                )
            })?),
        };
        let wanted = |entry: &FindingEntry| is_wanted(&asked, entry) && concerns(&guest.caller, entry);
        let (findings, next) =
            self.shelf.findings(after, items_max, wanted).await.map_err(|error| unavailable(&error))?;
        let next_page_token = next.map(|index| format!("{index:x}")).unwrap_or_default();
        let matched_upto = self.progress.matched();
        Ok(Response::new(ListFindingsResponse { findings, next_page_token, matched_upto }))
    }

    async fn close_finding(
        &self,
        request: Request<CloseFindingRequest>,
    ) -> Result<Response<CloseFindingResponse>, Status> {
        let guest = self.door.admit(Rpc::CloseFinding, &request)?;
        let CloseFindingRequest { id, reason } = request.into_inner();
        let reason = reason.trim().to_owned();
        if reason.is_empty() || reason.chars().count() > DETAIL_CHARS_MAX {
            return Err(Status::invalid_argument(
                "give a reason of 1 to 256 characters: it is kept for ever",
            ));
        }
        let entry = if is_id(&id) {
            self.shelf.finding(&id).await.map_err(|error| unavailable(&error))?
        } else {
            None
        };
        let entry = entry.ok_or_else(|| not_found("finding", &id, "0123456789abcdef0123456789abcdef"))?;
        if let Some(closed) = &entry.closed {
            let said = format!("closed already by {}: {}", closed.actor, closed.reason);
            return Err(Status::failed_precondition(said));
        }
        if !self.begins(&id) {
            return Err(Status::failed_precondition("closed already, a moment ago"));
        }
        let closed = FindingClosed {
            id: id.clone(),
            actor: guest.caller.to_string(),
            reason,
            via: guest.console().to_owned(),
        };
        let recorded = self.ledger.record(vec![Body::FindingClosed(closed.clone())]).await;
        let recorded = recorded.map_err(|error| {
            self.lock().remove(&id);
            Status::unavailable(error.to_string())
        })?;
        // Seen by everybody who lists from now on, where matching keeps up.
        let patience = Duration::from_millis(FINDING_CLOSE_WAIT_MS);
        self.progress.reaches(recorded.first_index + 1, patience).await;
        let saved = self.shelf.finding(&id).await.map_err(|error| unavailable(&error))?;
        let saved = saved.filter(|saved| saved.closed.is_some());
        let close_log_index = recorded.first_index;
        let finding = saved.unwrap_or(FindingEntry { closed: Some(closed), close_log_index, ..entry });
        Ok(Response::new(CloseFindingResponse { finding: Some(finding) }))
    }

    async fn note_finding(
        &self,
        request: Request<NoteFindingRequest>,
    ) -> Result<Response<NoteFindingResponse>, Status> {
        let guest = self.door.admit(Rpc::NoteFinding, &request)?;
        let finding = self.note(&guest, request.into_inner()).await?;
        Ok(Response::new(NoteFindingResponse { finding: Some(finding) }))
    }

    async fn list_watch_rules(
        &self,
        request: Request<ListWatchRulesRequest>,
    ) -> Result<Response<ListWatchRulesResponse>, Status> {
        self.door.admit(Rpc::ListWatchRules, &request)?;
        Ok(Response::new(notes::told(&self.rules)))
    }

    async fn watch_findings(
        &self,
        request: Request<WatchFindingsRequest>,
    ) -> Result<Response<Self::WatchFindingsStream>, Status> {
        let guest = self.door.admit(Rpc::WatchFindings, &request)?;
        let place = self.places.take(&guest.caller.to_string())?;
        let watching = Watching::begin(self.clone(), guest, request.into_inner(), place);
        Ok(Response::new(stream::unfold(Some(watching), Watching::step).boxed()))
    }
}

impl FindingDesk {
    /// True for the one who closes a finding first. What is long taken in by matching is forgotten: the shelf knows it.
    fn begins(&self, id: &str) -> bool {
        let mut closing = self.lock();
        if closing.len() >= FINDINGS_CLOSING_MAX {
            closing.clear();
        }
        closing.insert(id.to_owned())
    }

    /// True of one whose closing is on record, or on its way there; matching may not have seen it yet.
    pub(super) fn is_closing(&self, id: &str) -> bool {
        self.lock().contains(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_wanted(asked: &ListFindingsRequest, entry: &FindingEntry) -> bool {
    let Some(found) = &entry.finding else { return false };
    let kind = asked.kind();
    (asked.include_closed || entry.closed.is_none())
        && (kind == FindingKind::Unspecified || found.kind() == kind)
        && (asked.node.is_empty() || found.nodes.contains(&asked.node))
}

/// An agency's officer sees what concerns a node or system of his agency; the operator's people see all.
pub(super) fn concerns(caller: &Caller, entry: &FindingEntry) -> bool {
    let Caller::Officer { agency, .. } = caller else { return true };
    let of_agency = |name: &String| {
        name.strip_prefix("agencies/").and_then(|rest| rest.split('/').next()) == Some(agency.as_str())
    };
    entry.finding.as_ref().is_some_and(|found| found.nodes.iter().any(of_agency))
}

pub(super) fn unavailable(error: &BrokerError) -> Status {
    tracing::error!(%error, "findings cannot be read");
    Status::unavailable("findings cannot be read now; ask again")
}
