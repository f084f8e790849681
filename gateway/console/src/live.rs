//! Findings as they come, as server-sent events: a line each, in the visitor's language, with the way to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream;
use lienthong_proto::lienthong::audit::v1::{FindingKind, WatchFindingsRequest, WatchFindingsResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::desk::Desk;
use crate::format::{NAMES_SHOWN_MAX, first, one_direction};
use crate::visit::Visit;
use crate::words;

/// Streams that are open at one time.
pub const WATCHES_MAX: usize = 200;

/// A sign of life, so that proxies keep the stream.
const ALIVE_S: u64 = 15;

/// Streams that are open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watches {
    places: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Default for Watches {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(WATCHES_MAX)), closing: CancellationToken::new() }
    }
}

impl Watches {
    /// Ends all streams.
    pub fn close(&self) {
        self.closing.cancel();
    }
}

struct Watching {
    visit: Visit,
    findings: Streaming<WatchFindingsResponse>,
    _place: OwnedSemaphorePermit,
}

/// The stream.
pub async fn stream(visit: Visit) -> Response {
    let Ok(place) = Arc::clone(&visit.house.watches.places).try_acquire_owned() else {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    };
    let desk = Desk::patient(visit.house.broker.clone(), &visit.chain);
    let findings = match desk.findings().watch_findings(WatchFindingsRequest::default()).await {
        Ok(findings) => findings.into_inner(),
        Err(status) => return visit.failed(&status.into()),
    };
    let closing = visit.house.watches.closing.clone();
    let watching = Watching { visit, findings, _place: place };
    let events = stream::unfold(watching, |mut watching| async move {
        loop {
            // The broker ends the stream when the person may not go on; the browser asks again, and is told why.
            let said = watching.findings.message().await.ok()??;
            if let Some(event) = event(&watching.visit, said) {
                return Some((Ok::<_, Infallible>(event), watching));
            }
        }
    });
    let events = events.take_until(closing.cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(ALIVE_S))).into_response()
}

fn event(visit: &Visit, said: WatchFindingsResponse) -> Option<Event> {
    let finding = said.finding?.finding?;
    let kind = words::finding(FindingKind::try_from(finding.kind).unwrap_or_default(), visit.lang);
    let text = one_direction(format!("{kind}: {}", first(&finding.nodes, NAMES_SHOWN_MAX, visit.lang)));
    let href = format!("{}#{}", visit.link("/findings"), finding.id);
    Event::default().event("finding").json_data(serde_json::json!({ "text": text, "href": href })).ok()
}
