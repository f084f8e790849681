//! Which address answers what (C2SP tlog-witness): `POST /add-checkpoint`, `GET /<origin hash>/checkpoint`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::rejection::StringRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lienthong_audit::witness::{REQUEST_BYTES_MAX, Refusal, SIZE_MEDIA_TYPE};
use lienthong_telemetry::Health;
use lienthong_telemetry::admin::health_router;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::memory::{Memory, NotGiven};
use crate::metrics::WitnessMetrics;

/// What the handlers know.
#[derive(Clone, Debug)]
pub struct Desk {
    /// What was cosigned.
    pub memory: Arc<Memory>,
    /// Counts.
    pub metrics: WitnessMetrics,
    /// Requests that may be judged at one time.
    pub seats: Arc<Semaphore>,
}

/// Every address.
pub fn router(desk: Desk, health: Health) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{hash}/checkpoint", get(checkpoint))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(desk)
        .merge(health_router(health))
}

async fn add_checkpoint(State(desk): State<Desk>, body: Result<String, StringRejection>) -> Response {
    let response = match body {
        Err(rejection) => rejection.into_response(),
        Ok(body) => judged(&desk, body).await,
    };
    desk.metrics.answered(response.status().as_u16());
    response
}

async fn judged(desk: &Desk, body: String) -> Response {
    let Ok(_seat) = desk.seats.try_acquire() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; ask again\n".to_owned());
    };
    let memory = Arc::clone(&desk.memory);
    // The clock is read before the lock and the disk; a cosignature may say that it is a moment old, never young.
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match spawn_blocking(move || memory.add(&body, now_s)).await {
        Ok(Ok(given)) => {
            tracing::debug!(origin = given.origin, size = given.size, "cosigned");
            text(StatusCode::OK, given.line)
        }
        Ok(Err(NotGiven::Refused(refusal))) => refused(desk, &refusal),
        Ok(Err(NotGiven::Failed(reason))) => text(StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be judged\n".to_owned()),
    }
}

fn refused(desk: &Desk, refusal: &Refusal) -> Response {
    if refusal.is_alarm() {
        desk.metrics.contradicted();
        tracing::error!(%refusal, "a log contradicts what it signed before");
    }
    let status = StatusCode::from_u16(refusal.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal {
        Refusal::Stale { latest } => {
            let kind = (CONTENT_TYPE, HeaderValue::from_static(SIZE_MEDIA_TYPE));
            (status, [kind], format!("{latest}\n")).into_response()
        }
        _ => text(status, format!("{refusal}\n")),
    }
}

async fn checkpoint(State(desk): State<Desk>, Path(hash): Path<String>) -> Response {
    match desk.memory.checkpoint(&hash) {
        Some(note) => text(StatusCode::OK, note),
        None => text(StatusCode::NOT_FOUND, "no checkpoint of such a log was cosigned here\n".to_owned()),
    }
}

fn text(status: StatusCode, said: String) -> Response {
    (status, PLAIN, said).into_response()
}

const PLAIN: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];
