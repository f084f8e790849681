//! A sandbox: the same node on synthetic data, for integrators without access to the mesh (design §6, Development
//! things). It is known by its mesh id, which no production mesh may have; every answer says so, and a caller may
//! demand any reason of the closed list to see how its system takes it.

use http::{HeaderMap, HeaderName, HeaderValue};
use lienthong_proto::{reason::Reason, status::MeshError};

use crate::{call::answer::Answer, config::NodeConfig, node::Node};

/// Id of every sandbox's mesh.
pub const MESH: &str = "sandbox";

/// In a call: the reason that the caller wants to hear, for example `DENY_QUOTA`.
pub const REASON: HeaderName = HeaderName::from_static("mesh-sandbox-reason");

/// In every answer of a sandbox.
pub const MARK: HeaderName = HeaderName::from_static("mesh-sandbox");

/// What [`MARK`] says.
pub const MARK_VALUE: HeaderValue = HeaderValue::from_static("synthetic-data");

/// What `RetryInfo` says with a demanded `DENY_QUOTA`, milliseconds.
pub const RETRY_AFTER_MS: u64 = 1_000;

/// True for a node of a sandbox.
pub fn is_sandbox(node: &Node) -> bool {
    node.mesh == MESH
}

/// True where a configuration claims a sandbox's mesh without being one: it would not judge certificates as a
/// sandbox does.
pub fn is_misconfigured(config: &NodeConfig) -> bool {
    config.mesh == MESH && !config.development
}

/// The error that a caller demands, in a sandbox; elsewhere the demand is without effect.
pub fn demanded(node: &Node, headers: &HeaderMap) -> Result<(), MeshError> {
    if !is_sandbox(node) {
        return Ok(());
    }
    headers.get(REASON).map_or(Ok(()), |name| Err(error_named(name.as_bytes())))
}

/// Marks an answer of a sandbox.
pub fn marked(node: &Node, mut answer: Answer) -> Answer {
    if is_sandbox(node) {
        answer.headers_mut().insert(MARK, MARK_VALUE);
    }
    answer
}

fn error_named(name: &[u8]) -> MeshError {
    let Some(reason) = std::str::from_utf8(name).ok().and_then(Reason::from_name) else {
        let detail = "mesh-sandbox-reason names no reason of the closed list, for example DENY_QUOTA";
        return MeshError::new(Reason::DenyContext, detail);
    };
    let retry_after_ms = (reason == Reason::DenyQuota).then_some(RETRY_AFTER_MS);
    MeshError { retry_after_ms, ..MeshError::new(reason, "demanded by mesh-sandbox-reason") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_can_be_demanded_by_its_name() {
        for info in Reason::all() {
            assert_eq!(error_named(info.name.as_bytes()).reason, info.reason);
        }
        for name in [&b""[..], b"DENY_", b"\xff\xfe", b"deny_quota"] {
            assert_eq!(error_named(name).reason, Reason::DenyContext);
        }
    }

    #[test]
    fn a_sandbox_is_development() {
        let sandbox = NodeConfig { mesh: MESH.to_owned(), ..NodeConfig::sample() };
        assert!(is_misconfigured(&sandbox));
        assert!(!is_misconfigured(&NodeConfig { development: true, ..sandbox }));
        assert!(!is_misconfigured(&NodeConfig::sample()));
    }
}
