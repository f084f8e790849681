//! What the node tells its agency's systems about themselves, about itself, and about a call that they mean to make:
//! `lienthong.node.v1.DiagnosisService`. It carries no data, so it is no exchange and leaves no record.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderMap, Request};
use lienthong_catalog::RightsIndex;
use lienthong_proto::{
    lienthong::node::v1::{
        CallOutlook, Caller as CallerFound, GetDiagnosisRequest, GetDiagnosisResponse, NodeState, Problem,
        diagnosis_service_server::{DiagnosisService, DiagnosisServiceServer, SERVICE_NAME},
    },
    reason::Reason,
    status::MeshError,
};
use lienthong_transport::Peer;
use tonic::{Response, Status};
use tower::ServiceExt;

use crate::{
    call::{
        answer::{Answer, AnswerBody},
        authorize::still_authorized,
        caller_body::CallerBody,
        identify::{self, Caller},
        metadata::CallMetadata,
        resolve::resolve,
    },
    clock,
    core::Core,
    node::Node,
    sandbox,
};

/// Largest question, bytes: it holds one path.
const QUESTION_BYTES_MAX: usize = 1024;

/// True for a path that is answered here.
pub fn is_asked(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
    service.is_some_and(|rest| rest.starts_with('/'))
}

/// Answers one of the agency's own systems; also while the node holds no rights yet.
pub async fn answer(core: Arc<Core>, peer: Peer, request: Request<CallerBody>) -> Answer {
    let doctor =
        DiagnosisServiceServer::new(Doctor { core, peer }).max_decoding_message_size(QUESTION_BYTES_MAX);
    let answered: Result<_, Infallible> = doctor.oneshot(request).await;
    match answered {
        Ok(response) => response.map(AnswerBody::Service),
        Err(never) => match never {},
    }
}

/// One caller's doctor.
struct Doctor {
    core: Arc<Core>,
    peer: Peer,
}

#[tonic::async_trait]
impl DiagnosisService for Doctor {
    async fn get_diagnosis(
        &self,
        request: tonic::Request<GetDiagnosisRequest>,
    ) -> Result<Response<GetDiagnosisResponse>, Status> {
        let node = &*self.core.node;
        let (metadata, _, question) = request.into_parts();
        let mut diagnosis = GetDiagnosisResponse {
            node: node.name.clone(),
            time: Some(clock::timestamp()),
            ..GetDiagnosisResponse::default()
        };
        let Some(rights) = node.rights.load_full() else {
            let unknown = MeshError::new(Reason::DenyRightsStale, "this node holds no rights yet");
            diagnosis.caller =
                Some(CallerFound { problem: Some(problem(&unknown)), ..CallerFound::default() });
            return Ok(Response::new(diagnosis));
        };
        let (caller, identified) = identify::own_system(node, &rights, &self.peer);
        if identified.is_ok() {
            diagnosis.state = Some(state(node, &rights));
            if !question.method.is_empty() {
                diagnosis.call =
                    Some(outlook(node, &rights, &caller, &question.method, &metadata.into_headers()));
            }
        }
        diagnosis.caller = Some(CallerFound {
            agency: caller.party,
            system: caller.system,
            problem: identified.as_ref().err().map(problem),
        });
        Ok(Response::new(diagnosis))
    }
}

fn state(node: &Node, rights: &RightsIndex) -> NodeState {
    let age = node.freshness.age();
    NodeState {
        mesh: node.mesh.clone(),
        development: node.development,
        sandbox: sandbox::is_sandbox(node),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: rights.epoch(),
        rights_age: (age != Duration::MAX).then(|| duration(age)),
        clock_behind: node.freshness.clock_is_behind(clock::unix_ms()),
    }
}

/// The steps of a real call up to the point where it would leave this node.
fn outlook(
    node: &Node,
    rights: &RightsIndex,
    caller: &Caller,
    path: &str,
    headers: &HeaderMap,
) -> CallOutlook {
    let mut outlook = CallOutlook::default();
    let (stated, stated_well) = CallMetadata::read(headers);
    let judged = stated_well.and_then(|()| {
        let method = resolve(rights, path, stated.provider.as_deref())?;
        method.provider().clone_into(&mut outlook.provider);
        method.dataset_id().clone_into(&mut outlook.dataset);
        if let Some(contract) = rights.contract(method.provider()) {
            outlook.contract_hash = contract.hash.to_vec();
        }
        still_authorized(node, rights, &method, caller, &stated)
    });
    match judged {
        Ok(permitted) => {
            outlook.grant = permitted.grant();
            outlook.fields = permitted.fields().map(str::to_owned).collect();
            outlook.calls_per_minute_max = permitted.calls_per_minute_max();
            outlook.rights_age_max = Some(duration(permitted.bundle_age_max()));
        }
        Err(error) => outlook.problem = Some(problem(&error)),
    }
    outlook
}

fn problem(error: &MeshError) -> Problem {
    let info = error.reason.info();
    Problem {
        reason: info.name.to_owned(),
        rule: if error.rule.is_empty() { info.rule.to_owned() } else { error.rule.clone() },
        detail: error.detail.clone(),
    }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_paths_are_answered_here() {
        assert!(is_asked("/lienthong.node.v1.DiagnosisService/GetDiagnosis"));
        assert!(!is_asked("/lienthong.node.v1.DiagnosisServiceX/GetDiagnosis"));
        assert!(!is_asked("/vn.dancu.v1.CitizenService/GetCitizen"));
    }
}
