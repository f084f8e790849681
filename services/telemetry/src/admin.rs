//! The admin server: `/metrics`, `/health`, `/ready`, on a listener of its own, so that neither traffic nor strangers
//! reach it.

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::health::{Health, HealthReport};
use crate::metrics::Metrics;
use crate::plain_http;

/// Media type of `/metrics` (OpenMetrics 1.0).
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An admin server that listens but does not serve yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    router: Router,
}

impl AdminServer {
    /// Listens on `address`. Must be called on a tokio runtime.
    pub async fn bind(address: SocketAddr, health: Health, metrics: Metrics) -> Result<Self, AdminError> {
        let failed = |source| AdminError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self { listener, router: router(health, metrics) })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` ends.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        plain_http::serve(self.listener, self.router, shutdown).await;
    }
}

/// The admin server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "the admin server cannot listen on {address}: {source}; is the port taken or the address not of this machine?"
)]
pub struct AdminError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// All three pages.
fn router(health: Health, metrics: Metrics) -> Router {
    health_router(health).route("/metrics", get(numbers).with_state(metrics))
}

/// `/health` and `/ready` alone, for a role that also answers them to the public.
pub fn health_router(health: Health) -> Router {
    Router::new()
        .route("/health", get(alive).with_state(health.clone()))
        .route("/ready", get(ready).with_state(health))
}

async fn numbers(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a metric cannot be encoded\n").into_response(),
    }
}

/// 200 as long as the process answers; what is wrong stands inside.
async fn alive(State(health): State<Health>) -> Response {
    answer(StatusCode::OK, health.report())
}

/// 200 where every check is as it should be, 503 otherwise.
async fn ready(State(health): State<Health>) -> Response {
    let report = health.report();
    answer(if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, report)
}

fn answer(status: StatusCode, report: HealthReport) -> Response {
    (status, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(report)).into_response()
}
