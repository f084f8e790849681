//! The question behind a health check: the consumer's node asks one of the provider's nodes, the provider's node asks
//! its backend. Answers are kept for [`HEALTH_FRESH_MS`], and one question at a time is under way to each, so that
//! health cannot be used to wear a provider out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::HeaderMap;
use lienthong_catalog::RightsIndex;
use lienthong_transport::Channel;
use tokio::sync;
use tonic::{Code, Request, metadata::MetadataMap};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    call::{identify::Caller, metadata},
    core::Core,
    limits::{
        HEALTH_ANSWER_BYTES_MAX, HEALTH_FRESH_MS, HEALTH_KNOWN_MAX, HEALTH_PROBE_MS, PROVIDER_NODES_TRIED_MAX,
    },
    services::onward,
};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Calls are served.
    Serving,
    /// They are not.
    NotServing,
    /// The other side does not know.
    Unknown,
    /// There is no such service for this caller.
    Nothing,
}

impl Found {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Serving, Self::NotServing, Self::Unknown, Self::Nothing];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::NotServing => "not_serving",
            Self::Unknown => "unknown",
            Self::Nothing => "nothing",
        }
    }

    fn read(status: i32) -> Self {
        match ServingStatus::try_from(status) {
            Ok(ServingStatus::Serving) => Self::Serving,
            Ok(ServingStatus::NotServing) => Self::NotServing,
            Ok(ServingStatus::Unknown | ServingStatus::ServiceUnknown) | Err(_) => Self::Unknown,
        }
    }
}

/// Whom a question goes to, about what, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    /// Code of the provider; empty: the agency's own backend.
    provider: String,
    service: String,
    /// Resource name of the asking system: the provider's node answers it alone.
    system: String,
}

/// What was last found, and when. Locked by whoever asks.
type Slot = Arc<sync::Mutex<Option<(Instant, Found)>>>;

/// The answers of this node, at most [`HEALTH_KNOWN_MAX`] of them.
#[derive(Debug, Default)]
pub struct Probes(Mutex<HashMap<Question, Slot>>);

/// The health of a service at one of its provider's nodes; two are tried.
pub async fn provider(
    core: &Arc<Core>,
    rights: &Arc<RightsIndex>,
    caller: &Caller,
    provider: &str,
    service: &str,
) -> Found {
    let question = Question {
        provider: provider.to_owned(),
        service: service.to_owned(),
        system: caller.system.clone(),
    };
    let (asking, rights, caller) = (Arc::clone(core), Arc::clone(rights), caller.clone());
    once(core, question, async move |question| {
        for node in rights.nodes_of(&question.provider).iter().take(PROVIDER_NODES_TRIED_MAX) {
            let peer = asking.upstreams.peer(&asking.node, node);
            let mut headers = HeaderMap::new();
            headers.insert(metadata::CALL, metadata::call_header(&onward::context(&caller)));
            match ask(&peer.upstream.questions, &question.service, headers).await {
                Ok(found) => return found,
                // The provider's decision counts.
                Err(Code::NotFound | Code::PermissionDenied) => return Found::Nothing,
                Err(Code::Unimplemented) => return Found::Unknown,
                Err(_) => {}
            }
        }
        Found::NotServing
    })
    .await
}

/// The health of a service at the agency's own backend. A backend without a health service is served as long as it
/// can be reached; one that does not know the service by name answers for itself as a whole.
pub async fn backend(core: &Arc<Core>, service: &str) -> Found {
    let question = Question { provider: String::new(), service: service.to_owned(), system: String::new() };
    let asking = Arc::clone(core);
    once(core, question, async move |question| {
        let Some(backend) = asking.upstreams.backend(&format!("/{}/", question.service)) else {
            return Found::NotServing;
        };
        let mut answer = ask(&backend.questions, &question.service, HeaderMap::new()).await;
        if answer == Err(Code::NotFound) {
            answer = ask(&backend.questions, "", HeaderMap::new()).await;
        }
        match answer {
            Ok(found) => found,
            Err(Code::Unimplemented) => Found::Serving,
            Err(_) => Found::NotServing,
        }
    })
    .await
}

/// The answer that is known, if it is fresh; else asks, once for all who wait.
async fn once<F>(
    core: &Arc<Core>,
    question: Question,
    probe: impl FnOnce(Question) -> F + Send + 'static,
) -> Found
where
    F: Future<Output = Found> + Send + 'static,
{
    let Some(slot) = core.node.services.probes.slot(&question) else {
        return Found::Unknown;
    };
    let node = Arc::clone(&core.node);
    // A task of its own: whoever hangs up early does not make the next one ask again.
    let asked = tokio::spawn(async move {
        let mut known = slot.lock().await;
        if let Some((at, found)) = *known
            && at.elapsed() < Duration::from_millis(HEALTH_FRESH_MS)
        {
            return found;
        }
        let found = probe(question).await;
        node.metrics.probed(found);
        *known = Some((Instant::now(), found));
        found
    });
    asked.await.unwrap_or(Found::Unknown)
}

impl Probes {
    /// Where the answer to a question is kept; `None` where too many are.
    fn slot(&self, question: &Question) -> Option<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = slots.get(question) {
            return Some(Arc::clone(known));
        }
        if slots.len() >= HEALTH_KNOWN_MAX {
            // Those that nobody waits for and that are not fresh any more.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.try_lock().is_err() || is_fresh(slot));
        }
        (slots.len() < HEALTH_KNOWN_MAX).then(|| Arc::clone(slots.entry(question.clone()).or_default()))
    }
}

fn is_fresh(slot: &Slot) -> bool {
    let known = slot.try_lock();
    known
        .is_ok_and(|known| known.is_some_and(|(at, _)| at.elapsed() < Duration::from_millis(HEALTH_FRESH_MS)))
}

/// One question, within [`HEALTH_PROBE_MS`].
async fn ask(channel: &Channel<tonic::body::Body>, service: &str, headers: HeaderMap) -> Result<Found, Code> {
    let mut client = HealthClient::new(channel.clone()).max_decoding_message_size(HEALTH_ANSWER_BYTES_MAX);
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let timeout = Duration::from_millis(HEALTH_PROBE_MS);
    *request.metadata_mut() = MetadataMap::from_headers(headers);
    request.set_timeout(timeout);
    match tokio::time::timeout(timeout, client.check(request)).await {
        Err(_) => Err(Code::DeadlineExceeded),
        Ok(Err(status)) => Err(status.code()),
        Ok(Ok(answer)) => Ok(Found::read(answer.into_inner().status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(number: usize) -> Question {
        Question { provider: "G01".to_owned(), service: number.to_string(), system: String::new() }
    }

    #[test]
    fn what_is_known_is_bounded_and_what_is_stale_makes_room() {
        let probes = Probes::default();
        let held: Vec<Slot> =
            (0..HEALTH_KNOWN_MAX).map(|number| probes.slot(&question(number)).unwrap()).collect();
        assert!(probes.slot(&question(HEALTH_KNOWN_MAX)).is_none(), "somebody waits for each");
        assert!(Arc::ptr_eq(&held[3], &probes.slot(&question(3)).unwrap()));
        drop(held);
        assert!(probes.slot(&question(HEALTH_KNOWN_MAX)).is_some());
        assert_eq!(probes.0.lock().unwrap().len(), 1);
    }
}
