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
    let Ok(seat) = Arc::clone(&desk.seats).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; ask again\n".to_owned());
    };
    let memory = Arc::clone(&desk.memory);
    // The clock is read before the lock and the disk; a cosignature may say that it is a moment old, never young.
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // The seat belongs to the work, not to who waits for it: a client that hangs up frees none early.
    let work = spawn_blocking(move || {
        let _seat = seat;
        memory.add(&body, now_s)
    });
    match work.await {
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

#[cfg(test)]
mod tests {
    use lienthong_audit::checkpoint::Checkpoint;
    use lienthong_audit::hash::leaf_hash;
    use lienthong_audit::note::{KeyKind, SigningKey};

    use super::*;

    #[tokio::test]
    async fn a_client_that_hangs_up_frees_no_seat_while_its_request_is_judged() {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::generate("w", KeyKind::CosignatureV1).unwrap();
        let log = SigningKey::generate("log", KeyKind::Ed25519).unwrap();
        let memory = Arc::new(Memory::open(dir.path(), key, vec![log.verifier().clone()]).unwrap());
        let checkpoint = Checkpoint::new("log", 1, leaf_hash(b"x"));
        let request = format!("old 0\n\n{}", checkpoint.sign(&log).unwrap());
        let desk = Desk {
            memory: Arc::clone(&memory),
            metrics: WitnessMetrics::default(),
            seats: Arc::new(Semaphore::new(1)),
        };
        let held = memory.hold();
        let waiting = tokio::spawn({
            let (desk, request) = (desk.clone(), request.clone());
            async move { judged(&desk, request).await }
        });
        while desk.seats.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(judged(&desk, request.clone()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(held);
        // Once it is judged, there is room again.
        while desk.seats.available_permits() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(judged(&desk, request).await.status(), StatusCode::CONFLICT);
    }
}
