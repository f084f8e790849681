//! `grpc.health.v1.Health`: of a service that the caller may call, its provider's live health; of the empty name, the
//! node as this caller may use it. A service that it may not call is unknown, as if it did not exist.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use lienthong_catalog::{Resolution, RightsIndex};
use lienthong_proto::{lienthong::catalog::v1::CallableMethod, reason::Reason, status::MeshError};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

use crate::{
    clock,
    core::Core,
    limits::{HEALTH_POLL_MS, HEALTH_WATCHES_MAX},
    node::Node,
    services::{
        asker::{Asker, service_of},
        probe::{self, Found},
    },
};

/// The health of what one caller may call.
pub struct OwnHealth(pub Asker);

#[tonic::async_trait]
impl Health for OwnHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = match look(&self.0, &service).await? {
            Found::Serving => ServingStatus::Serving,
            Found::NotServing => ServingStatus::NotServing,
            Found::Unknown => ServingStatus::Unknown,
            Found::Nothing => {
                return Err(Status::not_found("no service of this name that you may call"));
            }
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let place = Place::take(&self.0.core)?;
        let watch =
            Watch { asker: self.0.clone(), service: request.into_inner().service, last: None, _place: place };
        Ok(Response::new(Box::pin(stream::unfold(watch, Watch::next))))
    }
}

/// One watch: the status now, then each change of it.
struct Watch {
    asker: Asker,
    service: String,
    last: Option<ServingStatus>,
    _place: Place,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        let stopping = self.asker.core.node.stopping.clone();
        loop {
            if self.last.is_some() {
                tokio::select! {
                    () = stopping.cancelled() => return None,
                    () = tokio::time::sleep(Duration::from_millis(HEALTH_POLL_MS)) => {}
                }
            }
            let status = match look(&self.asker, &self.service).await {
                Ok(Found::Serving) => ServingStatus::Serving,
                Ok(Found::NotServing) => ServingStatus::NotServing,
                Ok(Found::Unknown) => ServingStatus::Unknown,
                // A watch waits for a service to appear (grpc.health.v1, `Watch`).
                Ok(Found::Nothing) => ServingStatus::ServiceUnknown,
                Err(status) => return Some((Err(status), self)).filter(|(_, watch)| watch.last.is_none()),
            };
            if self.last != Some(status) {
                self.last = Some(status);
                return Some((Ok(HealthCheckResponse { status: status.into() }), self));
            }
        }
    }
}

/// Counts a watch as under way until it is dropped.
struct Place(Arc<Node>);

impl Place {
    fn take(core: &Core) -> Result<Self, Status> {
        let watches: &AtomicUsize = &core.node.services.watches;
        let before = watches.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(&core.node));
        if before < HEALTH_WATCHES_MAX {
            return Ok(place);
        }
        let detail = format!("{HEALTH_WATCHES_MAX} health watches are under way; Check costs none");
        Err(MeshError::new(Reason::FailOverloaded, detail).to_status())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.services.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The health of a service for this caller, now.
async fn look(asker: &Asker, service: &str) -> Result<Found, Status> {
    let rights = asker.rights()?;
    let callable = asker.callable(&rights);
    if service.is_empty() {
        return Ok(own(&asker.core.node, &rights, &callable));
    }
    let providers: BTreeSet<&str> = callable
        .iter()
        .filter(|method| service_of(&method.path) == service)
        .map(|method| method.provider.as_str())
        .collect();
    let mut providers = providers.into_iter();
    match (providers.next(), providers.next()) {
        (None, _) => Ok(Found::Nothing),
        (Some(provider), None) if *provider == asker.core.node.agency => {
            Ok(probe::backend(&asker.core, service).await)
        }
        (Some(provider), None) => {
            Ok(probe::provider(&asker.core, &rights, &asker.caller, provider, service).await)
        }
        // As a call would be answered.
        (Some(first), Some(second)) => {
            let mut named = vec![first, second];
            named.extend(providers);
            let detail = format!("name the provider in mesh-provider: {}", named.join(", "));
            Err(MeshError::new(Reason::DenyContext, detail).to_status())
        }
    }
}

/// The node serves a caller if it can decide now about something that the caller may call: rights and backlog are
/// young enough for its class, and the clock can be believed (design §6, Freshness and clock). A caller that may call
/// nothing is told about the node alone.
fn own(node: &Node, rights: &RightsIndex, callable: &[CallableMethod]) -> Found {
    if node.stopping.is_cancelled() || node.freshness.clock_is_behind(clock::unix_ms()) {
        return Found::NotServing;
    }
    let backlog = Duration::from_millis(node.backlog_age_ms.load(Ordering::Relaxed));
    let age = node.freshness.age().max(backlog);
    let decides = |method: &CallableMethod| match rights.method(&method.path, Some(&method.provider)) {
        Resolution::One(method) => age <= rights.age_max(&method),
        _ => false,
    };
    if callable.is_empty() || callable.iter().any(decides) { Found::Serving } else { Found::NotServing }
}
