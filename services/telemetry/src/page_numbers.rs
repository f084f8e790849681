//! Numbers of a role that answers people: how many pages, how they ended, how long they took.

use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::metrics::Metrics;

/// Which door, and how it answered. Addresses are no label: they name agencies and exchanges.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    door: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Door {
    door: &'static str,
}

/// The numbers of all doors of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct PageNumbers {
    answered: Family<Answered, Counter>,
    took: Family<Door, Histogram>,
}

impl Default for PageNumbers {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            // From a millisecond to half a minute.
            took: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15))),
        }
    }
}

impl PageNumbers {
    /// Counts whatever `router` answers as answered at `door`.
    pub fn count(&self, door: &'static str, router: Router) -> Router {
        router.layer(from_fn_with_state((self.clone(), door), counted))
    }

    /// Gives the numbers their names.
    pub fn register(&self, register: &Metrics) {
        register.register(
            "gateway_pages",
            "Answers to browsers, by door and HTTP status",
            self.answered.clone(),
        );
        register.register(
            "gateway_page_duration_seconds",
            "From a browser's question to the head of its answer, by door",
            self.took.clone(),
        );
    }
}

async fn counted(
    State((numbers, door)): State<(PageNumbers, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    numbers.answered.get_or_create(&Answered { door, status: response.status().as_u16() }).inc();
    numbers.took.get_or_create(&Door { door }).observe(begun.elapsed().as_secs_f64());
    response
}
