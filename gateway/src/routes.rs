//! Which address answers what, with which headers. Everything here is public.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use lienthong_console::PublicLine;
use lienthong_console::format::one_direction;
use lienthong_telemetry::Health;
use lienthong_telemetry::admin::health_router;
use tokio::sync::watch;

use crate::head::Seen;
use crate::log_folder::{LogFolder, LogFolderError};
use crate::page;
use crate::statistics::{self, Told};

/// A page of ours loads its own style sheet and nothing else, runs nothing, and is framed by nobody.
pub const CONTENT_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A tile never changes under its name (C2SP tlog-tiles): whoever has it may keep it, here for a year.
pub const TILE_CACHING: &str = "public, max-age=31536000, immutable";

/// Whoever has a checkpoint must ask whether there is a newer one.
pub const CHECKPOINT_CACHING: &str = "no-cache";

const STYLE_CACHING: &str = "public, max-age=3600";

/// What the handlers know.
#[derive(Clone, Debug)]
pub struct Public {
    /// The log's public files.
    pub folder: LogFolder,
    /// The log's head, from memory.
    pub head: watch::Receiver<Seen>,
    /// Who we are and how we feel.
    pub health: Health,
    /// What everybody may know, where a console has a line to the broker.
    pub numbers: Option<Numbers>,
}

/// Numbers from the broker, and the line by which they come.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// As they were told last.
    pub told: watch::Receiver<Told>,
    /// Knows the witnesses.
    pub line: PublicLine,
}

/// All public addresses.
pub fn router(public: Public) -> Router {
    let health = health_router(public.health.clone());
    Router::new()
        .route("/", get(front))
        .route("/statistics", get(numbers))
        .route("/style.css", get(style))
        .route("/log/checkpoint", get(checkpoint))
        .route("/log/tile/{*rest}", get(tile))
        .fallback(nothing)
        .with_state(public)
        .merge(health)
        .layer(map_response(guard))
}

async fn front(State(public): State<Public>) -> Response {
    let seen = public.head.borrow().clone();
    let page = page::front(public.health.identity(), &seen, public.numbers.is_some());
    (caching("no-cache"), Html(one_direction(page.into_string()))).into_response()
}

async fn numbers(State(public): State<Public>) -> Result<Response, LogFolderError> {
    let Some(numbers) = &public.numbers else { return Ok(nothing().await) };
    let witnesses = match public.folder.checkpoint().await {
        Ok((text, _)) => numbers.line.witnesses(&text),
        Err(LogFolderError::NotThere) => numbers.line.witnesses(""),
        Err(error) => return Err(error),
    };
    let page = statistics::page(public.health.identity(), &numbers.told.borrow(), &witnesses);
    Ok((caching("no-cache"), Html(one_direction(page.into_string()))).into_response())
}

async fn style() -> Response {
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    ([kind, (CACHE_CONTROL, HeaderValue::from_static(STYLE_CACHING))], page::STYLE).into_response()
}

async fn checkpoint(State(public): State<Public>) -> Result<Response, LogFolderError> {
    let (text, _) = public.folder.checkpoint().await?;
    Ok((open_to_all(), caching(CHECKPOINT_CACHING), text).into_response())
}

async fn tile(State(public): State<Public>, Path(rest): Path<String>) -> Result<Response, LogFolderError> {
    let bytes = public.folder.tile(&format!("tile/{rest}")).await?;
    Ok((open_to_all(), caching(TILE_CACHING), bytes).into_response())
}

async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, caching("no-store"), "there is nothing here; start at /\n").into_response()
}

impl IntoResponse for LogFolderError {
    fn into_response(self) -> Response {
        let (status, said) = match &self {
            Self::NotATile | Self::NotThere => (StatusCode::NOT_FOUND, self.to_string()),
            Self::EntriesAreNotPublic => (StatusCode::FORBIDDEN, self.to_string()),
            Self::Damaged { .. } | Self::Unreadable { .. } => {
                // What is wrong inside is the operator's to know.
                tracing::error!(error = %self, "a file of the log cannot be served");
                (StatusCode::INTERNAL_SERVER_ERROR, "this file of the log cannot be served now".to_owned())
            }
        };
        (status, open_to_all(), caching("no-store"), said + "\n").into_response()
    }
}

/// Headers that every answer carries.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn caching(rule: &'static str) -> [(HeaderName, HeaderValue); 1] {
    [(CACHE_CONTROL, HeaderValue::from_static(rule))]
}

/// Monitors may run in a browser, from any site.
fn open_to_all() -> [(HeaderName, HeaderValue); 1] {
    [(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))]
}
