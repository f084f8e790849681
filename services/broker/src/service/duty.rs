//! `DutyService`: refusals, disputes, outages and connection requests, as agencies declare them.

use std::future::Future;
use std::sync::Arc;

use lienthong_proto::lienthong::registry::v1::duty_service_server::DutyService;
use lienthong_proto::lienthong::registry::v1::{
    AnnounceOutageRequest, AnnounceOutageResponse, AnswerConnectionRequestRequest,
    AnswerConnectionRequestResponse, AnswerDisputeRequest, AnswerDisputeResponse, ConnectionRequest,
    ConnectionRequestState, CreateConnectionRequestRequest, CreateConnectionRequestResponse,
    DecideDisputeRequest, DecideDisputeResponse, DeclareRefusalRequest, DeclareRefusalResponse, Dispute,
    DisputeOutcome, GetDisputeRequest, GetDisputeResponse, GetRefusalRequest, GetRefusalResponse,
    ListConnectionRequestsRequest, ListConnectionRequestsResponse, ListDisputesRequest, ListDisputesResponse,
    ListOutagesRequest, ListOutagesResponse, ListRefusalsRequest, ListRefusalsResponse, Outage, Refusal,
    RefusalState, WithdrawRefusalRequest, WithdrawRefusalResponse,
};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use crate::access::Rpc;
use crate::arbiter::{Actor, Arbiter, ArbiterError};
use crate::door::Door;
use crate::paging::Page;

/// The service.
#[derive(Clone, Debug)]
pub struct Duty {
    pub(crate) door: Door,
    pub(crate) arbiter: Arc<Arbiter>,
}

#[tonic::async_trait]
impl DutyService for Duty {
    async fn declare_refusal(
        &self,
        request: Request<DeclareRefusalRequest>,
    ) -> Result<Response<DeclareRefusalResponse>, Status> {
        let (actor, request) = self.actor(Rpc::DeclareRefusal, request)?;
        let (refusal, dispute) =
            self.step(move |arbiter| async move { arbiter.declare(&actor, &request, now()).await }).await?;
        Ok(Response::new(DeclareRefusalResponse { refusal: Some(refusal), dispute: Some(dispute) }))
    }

    async fn withdraw_refusal(
        &self,
        request: Request<WithdrawRefusalRequest>,
    ) -> Result<Response<WithdrawRefusalResponse>, Status> {
        let (actor, WithdrawRefusalRequest { name, reason }) = self.actor(Rpc::WithdrawRefusal, request)?;
        let refusal = self
            .step(move |arbiter| async move { arbiter.withdraw(&actor, &name, &reason, now()).await })
            .await?;
        Ok(Response::new(WithdrawRefusalResponse { refusal: Some(refusal) }))
    }

    async fn get_refusal(
        &self,
        request: Request<GetRefusalRequest>,
    ) -> Result<Response<GetRefusalResponse>, Status> {
        let (actor, GetRefusalRequest { name }) = self.actor(Rpc::GetRefusal, request)?;
        let found = self.arbiter.refusals(&actor).await.into_iter().find(|one| one.name == name);
        let refusal = found.ok_or_else(|| super::not_found("refusal", &name, "refusals/00000012"))?;
        Ok(Response::new(GetRefusalResponse { refusal: Some(refusal) }))
    }

    async fn list_refusals(
        &self,
        request: Request<ListRefusalsRequest>,
    ) -> Result<Response<ListRefusalsResponse>, Status> {
        let (actor, request) = self.actor(Rpc::ListRefusals, request)?;
        let page = Page::read(request.page_size, &request.page_token)?;
        let mut all = self.arbiter.refusals(&actor).await;
        all.retain(|one| {
            (request.state() == RefusalState::Unspecified || one.state() == request.state())
                && (request.provider.is_empty() || one.provider == request.provider)
        });
        let (refusals, next_page_token) = page.cut(&all, |one: &Refusal| &one.name);
        Ok(Response::new(ListRefusalsResponse { refusals: refusals.to_vec(), next_page_token }))
    }

    async fn get_dispute(
        &self,
        request: Request<GetDisputeRequest>,
    ) -> Result<Response<GetDisputeResponse>, Status> {
        let (actor, GetDisputeRequest { name }) = self.actor(Rpc::GetDispute, request)?;
        let found = self.arbiter.disputes(&actor).await.into_iter().find(|one| one.name == name);
        let dispute = found.ok_or_else(|| super::not_found("dispute", &name, "disputes/00000012"))?;
        Ok(Response::new(GetDisputeResponse { dispute: Some(dispute) }))
    }

    async fn list_disputes(
        &self,
        request: Request<ListDisputesRequest>,
    ) -> Result<Response<ListDisputesResponse>, Status> {
        let (actor, request) = self.actor(Rpc::ListDisputes, request)?;
        let page = Page::read(request.page_size, &request.page_token)?;
        let mut all = self.arbiter.disputes(&actor).await;
        all.retain(|one| !request.open_only || one.outcome() == DisputeOutcome::Unspecified);
        let (disputes, next_page_token) = page.cut(&all, |one: &Dispute| &one.name);
        Ok(Response::new(ListDisputesResponse { disputes: disputes.to_vec(), next_page_token }))
    }

    async fn answer_dispute(
        &self,
        request: Request<AnswerDisputeRequest>,
    ) -> Result<Response<AnswerDisputeResponse>, Status> {
        let (actor, AnswerDisputeRequest { name, text }) = self.actor(Rpc::AnswerDispute, request)?;
        let dispute = self
            .step(move |arbiter| async move { arbiter.answer(&actor, &name, &text, now()).await })
            .await?;
        Ok(Response::new(AnswerDisputeResponse { dispute: Some(dispute) }))
    }

    async fn decide_dispute(
        &self,
        request: Request<DecideDisputeRequest>,
    ) -> Result<Response<DecideDisputeResponse>, Status> {
        let (actor, request) = self.actor(Rpc::DecideDispute, request)?;
        let dispute =
            self.step(move |arbiter| async move { arbiter.decide(&actor, &request, now()).await }).await?;
        Ok(Response::new(DecideDisputeResponse { dispute: Some(dispute) }))
    }

    async fn announce_outage(
        &self,
        request: Request<AnnounceOutageRequest>,
    ) -> Result<Response<AnnounceOutageResponse>, Status> {
        let (actor, request) = self.actor(Rpc::AnnounceOutage, request)?;
        let outage =
            self.step(move |arbiter| async move { arbiter.announce(&actor, &request, now()).await }).await?;
        Ok(Response::new(AnnounceOutageResponse { outage: Some(outage) }))
    }

    async fn list_outages(
        &self,
        request: Request<ListOutagesRequest>,
    ) -> Result<Response<ListOutagesResponse>, Status> {
        let (_, request) = self.actor(Rpc::ListOutages, request)?;
        let page = Page::read(request.page_size, &request.page_token)?;
        let mut all = self.arbiter.outages().await;
        all.retain(|one| request.provider.is_empty() || one.provider == request.provider);
        let (outages, next_page_token) = page.cut(&all, |one: &Outage| &one.name);
        Ok(Response::new(ListOutagesResponse { outages: outages.to_vec(), next_page_token }))
    }

    async fn create_connection_request(
        &self,
        request: Request<CreateConnectionRequestRequest>,
    ) -> Result<Response<CreateConnectionRequestResponse>, Status> {
        let (actor, request) = self.actor(Rpc::CreateConnectionRequest, request)?;
        let made =
            self.step(move |arbiter| async move { arbiter.ask(&actor, &request, now()).await }).await?;
        Ok(Response::new(CreateConnectionRequestResponse { connection_request: Some(made) }))
    }

    async fn answer_connection_request(
        &self,
        request: Request<AnswerConnectionRequestRequest>,
    ) -> Result<Response<AnswerConnectionRequestResponse>, Status> {
        let (actor, request) = self.actor(Rpc::AnswerConnectionRequest, request)?;
        let answered =
            self.step(move |arbiter| async move { arbiter.reply(&actor, &request, now()).await }).await?;
        Ok(Response::new(AnswerConnectionRequestResponse { connection_request: Some(answered) }))
    }

    async fn list_connection_requests(
        &self,
        request: Request<ListConnectionRequestsRequest>,
    ) -> Result<Response<ListConnectionRequestsResponse>, Status> {
        let (actor, request) = self.actor(Rpc::ListConnectionRequests, request)?;
        let page = Page::read(request.page_size, &request.page_token)?;
        let mut all = self.arbiter.requests(&actor).await;
        let wanted = request.state();
        all.retain(|one| wanted == ConnectionRequestState::Unspecified || one.state() == wanted);
        let (shown, next_page_token) = page.cut(&all, |one: &ConnectionRequest| &one.name);
        let connection_requests = shown.to_vec();
        Ok(Response::new(ListConnectionRequestsResponse { connection_requests, next_page_token }))
    }
}

impl Duty {
    /// Who acts, and what it asks.
    fn actor<T>(&self, rpc: Rpc, request: Request<T>) -> Result<(Actor, T), Status> {
        let guest = self.door.admit(rpc, &request)?;
        let actor = Actor::of(&guest.caller);
        let actor = actor.ok_or_else(|| Status::permission_denied("this certificate stands for nobody"))?;
        Ok((actor, request.into_inner()))
    }

    /// Takes a step; it goes on when the caller hangs up.
    async fn step<T, F>(&self, step: impl FnOnce(Arc<Arbiter>) -> F + Send) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ArbiterError>> + Send + 'static,
    {
        let work = tokio::spawn(step(Arc::clone(&self.arbiter)));
        let done = work.await.map_err(|_| Status::internal("the step ended unexpectedly"))?;
        done.map_err(|error| status(&error))
    }
}

fn status(error: &ArbiterError) -> Status {
    let message = error.to_string();
    match error {
        ArbiterError::NotFound(_) => Status::not_found(message),
        ArbiterError::Etag => Status::aborted(message),
        ArbiterError::NotTaken(lienthong_duty::NotTaken::Ended)
        | ArbiterError::NoRight { .. }
        | ArbiterError::Refused(_) => Status::failed_precondition(message),
        ArbiterError::TooMany => Status::resource_exhausted(message),
        ArbiterError::NotTaken(_)
        | ArbiterError::RequestId
        | ArbiterError::System(_)
        | ArbiterError::Dataset { .. } => Status::invalid_argument(message),
        ArbiterError::Broker(error) => {
            tracing::error!(%error, "act not taken");
            Status::unavailable("the broker could not record or store the act; it is not taken, try again")
        }
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
