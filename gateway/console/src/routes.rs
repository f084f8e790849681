//! Which address is which page, and the headers of each answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lienthong_transport::Channel;
use tonic::body::Body;

use crate::belief::Belief;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::pages::{
    agencies, catalog, certificates, changes, compliance, duty, exchange, findings, health, nodes, overview,
    reading, records, rules,
};
use crate::sign_in::{self, Trial};
use crate::visit::Visit;
use crate::{live, shell};

/// A page loads its own style sheet and script, talks to its own site, sends forms to it, and is framed by nobody.
pub const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Browsers ask again for each page: what it shows is of the moment and of the person.
const PAGE_CACHING: &str = "no-store";

const ASSET_CACHING: &str = "public, max-age=3600";

/// What every page stands on. Cheap to clone.
#[derive(Clone)]
pub struct House {
    /// Id of the mesh.
    pub mesh: Arc<str>,
    /// Whether it lives on development certificates.
    pub development: bool,
    /// The way to the broker.
    pub broker: Channel<Body>,
    /// Whom the console believes.
    pub belief: Belief,
    /// The door for trials, where there is one, and only on its own listener.
    pub trial: Option<Arc<Trial>>,
    /// Proves that a form was made here for whoever sends it.
    pub seal: Arc<crate::pages::form::Seal>,
    /// Streams of findings that are open.
    pub watches: live::Watches,
}

/// Every address of the console.
pub fn router(house: House) -> Router {
    let pages = Router::new()
        .route("/", get(overview::page))
        .route("/records", get(records::page))
        .route("/records.csv", get(records::csv))
        .route("/exchanges/{id}", get(exchange::page))
        .route("/exchanges/{id}/evidence.json", get(exchange::evidence))
        .route("/findings", get(findings::page))
        .route("/findings/close", post(findings::close))
        .route("/findings/note", post(findings::note))
        .route("/rules", get(rules::page))
        .route("/findings/live", get(live::stream))
        .route("/readings", get(reading::page))
        .route("/catalog", get(catalog::page))
        .route("/catalog/{entry}", get(catalog::entry))
        .route("/compliance", get(compliance::page))
        .route("/compliance/{code}", get(compliance::one))
        .route("/agencies", get(agencies::page))
        .route("/agencies/{code}", get(agencies::one))
        .route("/changes", get(changes::page))
        .route("/changes/{id}", get(changes::one))
        .route("/requests", get(duty::requests))
        .route("/refusals", get(duty::refusals))
        .route("/disputes", get(duty::disputes))
        .route("/disputes/{id}", get(duty::dispute))
        .route("/outages", get(duty::outages))
        .route("/nodes", get(nodes::page))
        .route("/certificates", get(certificates::page))
        .route("/health", get(health::page))
        .route("/sign-in", get(sign_in::page).post(sign_in::choose));
    let of = |lang: Lang| pages.clone().route("/{*rest}", get(nothing)).layer(axum::Extension(lang));
    Router::new()
        .nest("/vi", of(Lang::Vi))
        .nest("/en", of(Lang::En))
        .route("/vi/", get(overview::page))
        .route("/en/", get(overview::page))
        .route("/", get(home))
        .route("/assets/console.css", get(style))
        .route("/assets/live.js", get(script))
        .fallback(nowhere)
        .with_state(house)
        .layer(map_response(guard))
}

async fn home() -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, "/vi/")]).into_response()
}

async fn nothing(visit: Visit) -> Response {
    visit.failed(&Failure::NoSuchPage)
}

async fn nowhere(State(house): State<House>) -> Response {
    let failure = Failure::NoSuchPage;
    (failure.code(), shell::stranger(&house, Lang::Vi, &failure)).into_response()
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", shell::STYLE)
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", shell::SCRIPT)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, ASSET_CACHING)], text).into_response()
}

/// Headers that every answer carries.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 3] = [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(PAGE_CACHING));
    response
}
