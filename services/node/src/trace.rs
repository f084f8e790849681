//! A call as a span of a trace: from its arrival here to the last word of its answer. Begun and ended at the door, so that
//! no step of a call knows of it; what is said of the call, its answer says (decision
//! 0027).

use http::{HeaderMap, Request};
use lienthong_catalog::Resolution;
use lienthong_proto::lienthong::audit::v1::Side;
use lienthong_telemetry::{RpcSpan, Traced};

use crate::{
    call::{
        answer::{Answer, AnswerBody},
        metadata::EXCHANGE_ID,
        words,
    },
    front,
    node::Node,
    services::view,
};

/// The span of a call that has arrived at this node; `None` where no traces are exported. The call's headers name it from
/// here on.
pub fn arrived<B>(node: &Node, side: Side, request: &mut Request<B>) -> Option<RpcSpan> {
    let mut span = RpcSpan::arrived(request, |path| is_known(node, path))?;
    span.say("lienthong.node", node.name.as_str());
    span.say("lienthong.side", if side == Side::Provider { "provider" } else { "consumer" });
    Some(span)
}

/// The answer, which ends the span with its own end.
pub fn answered(span: Option<RpcSpan>, answer: Answer) -> Answer {
    let Some(mut span) = span else { return answer };
    if let Some(id) = answer.headers().get(EXCHANGE_ID).and_then(|id| id.to_str().ok()) {
        span.say("lienthong.exchange_id", id);
    }
    Traced::answer(answer, Some(span), reason).map(|body| AnswerBody::Traced(Box::new(body)))
}

/// A path that stands in a contract. What a stranger made up may be anything, a citizen's number too.
fn is_known(node: &Node, path: &str) -> bool {
    let rights = node.rights.load_full();
    let served = rights.is_some_and(|rights| !matches!(rights.method(path, None), Resolution::Unknown));
    served || front::declared(view::own_contracts(), path).is_some()
}

fn reason(words: &HeaderMap) -> Option<&'static str> {
    words::of_the_mesh(words).map(|read| read.reason.name())
}
