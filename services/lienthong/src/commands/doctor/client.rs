//! Gathers an integrator's facts: from the profile's files, and from the node.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use lienthong_certs::{Branch, TrustAnchors, files};
use lienthong_proto::{
    descriptors::DESCRIPTOR_SET_BYTES_MAX,
    lienthong::{
        catalog::v1::{GetContractRequest, ListDatasetsRequest},
        node::v1::{
            GetDiagnosisRequest, GetDiagnosisResponse, diagnosis_service_client::DiagnosisServiceClient,
        },
    },
    status,
};
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use time::OffsetDateTime;
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use crate::{
    client::{Client, ClientProfile, Stated},
    commands::doctor::{
        MeantCall,
        facts::{Asked, ClientFacts, ContractAtHand, Handshake, Health, Trip},
        own::{Files, identity},
        reach::{self, STEP_TIMEOUT_MS},
    },
};

/// Gathers.
pub async fn gather(profile: &ClientProfile, call: &MeantCall) -> ClientFacts {
    let trust: Vec<_> = profile.trust.iter().map(|path| (Branch::State, path.clone())).collect();
    let identity = identity(&Files {
        certificate: &profile.certificate,
        key: &profile.key,
        anchors: TrustAnchors::load(&trust).map_err(|error| error.to_string()),
        lists: &call.crl,
        development: profile.development,
    });
    let material = identity.material.as_ref();
    let node = reach::reach("node", &profile.node, &profile.server_name, material).await;
    let mut facts = ClientFacts {
        now: OffsetDateTime::now_utc(),
        own: identity.own,
        node,
        asked: None,
        method: call.method.clone(),
        contract: ContractAtHand::NotGiven,
        trip: None,
        timeout: Duration::from_secs(call.timeout),
        health: None,
    };
    let is_connected = matches!(facts.node.tls, Some(Handshake::Accepted { .. }));
    let Some(client) = Client::new(profile).ok().filter(|_| is_connected) else {
        return facts;
    };
    let asked = ask(&client, call).await;
    if let (Asked::Answered { diagnosis, .. }, Some(method)) = (&asked, &call.method) {
        beyond(&client, call, method, diagnosis, &mut facts).await;
    }
    facts.asked = Some(asked);
    facts
}

/// What lies beyond the node: contract, provider, backend.
async fn beyond(
    client: &Client,
    call: &MeantCall,
    method: &str,
    diagnosis: &GetDiagnosisResponse,
    facts: &mut ClientFacts,
) {
    if let Some(path) = &call.contract {
        let published = diagnosis.call.as_ref().map(|outlook| outlook.contract_hash.as_slice());
        facts.contract = compare(client, call, method, path, published.unwrap_or_default()).await;
    }
    let Some(outlook) = diagnosis.call.as_ref().filter(|outlook| !outlook.provider.is_empty()) else {
        return;
    };
    facts.trip = Some(travel(client, &outlook.provider, facts.timeout).await);
    let service = method.trim_start_matches('/').split('/').next().unwrap_or_default();
    facts.health = Some(health(client, service, &outlook.provider).await);
}

async fn ask(client: &Client, call: &MeantCall) -> Asked {
    let stated = Stated {
        purpose: call.purpose.clone(),
        dossier: call.dossier.clone(),
        user: call.user.clone(),
        provider: call.provider.clone(),
        fields: call.fields.clone(),
        timeout: Some(Duration::from_millis(STEP_TIMEOUT_MS)),
    };
    let mut request = Request::new(GetDiagnosisRequest { method: call.method.clone().unwrap_or_default() });
    if let Err(status) = stated.write(&mut request) {
        return Asked::Failed(status.message().to_owned());
    }
    let (sent, begun) = (unix_ms(), Instant::now());
    let mut doctor = DiagnosisServiceClient::new(client.channel());
    let answer = timeout(Duration::from_millis(STEP_TIMEOUT_MS), doctor.get_diagnosis(request)).await;
    let half_ms = i64::try_from(begun.elapsed().as_millis() / 2).unwrap_or(i64::MAX);
    match answer {
        Err(_) => Asked::Failed(format!("{STEP_TIMEOUT_MS} ms")),
        Ok(Ok(answer)) => Asked::Answered {
            diagnosis: Box::new(answer.into_inner()),
            here_unix_ms: sent.saturating_add(half_ms),
            // What is less than a millisecond was cut off.
            uncertain_ms: half_ms.saturating_add(1),
        },
        Ok(Err(status)) if status.code() == Code::Unimplemented => Asked::NotOffered,
        Ok(Err(status)) => Asked::Failed(status.message().to_owned()),
    }
}

/// The contract at hand against the served one.
async fn compare(
    client: &Client,
    call: &MeantCall,
    method: &str,
    path: &Path,
    published: &[u8],
) -> ContractAtHand {
    let have = match files::read(path, DESCRIPTOR_SET_BYTES_MAX as u64) {
        Ok(bytes) => bytes,
        Err(error) => return ContractAtHand::Unreadable(error.to_string()),
    };
    let request = GetContractRequest {
        symbol: method.to_owned(),
        provider: call.provider.clone().unwrap_or_default(),
        ..Default::default()
    };
    let mut catalog = client.catalog();
    let served = match timeout(Duration::from_millis(STEP_TIMEOUT_MS), catalog.get_contract(request)).await {
        Ok(Ok(served)) => served.into_inner(),
        Ok(Err(status)) => return ContractAtHand::NotServed(status.message().to_owned()),
        Err(_) => return ContractAtHand::NotServed(format!("{STEP_TIMEOUT_MS} ms")),
    };
    let hash = digest(&SHA256, &have);
    // At hand may be all that the provider publishes, or what this caller was shown of it.
    if hash.as_ref() == published || have == served.descriptor_set {
        return ContractAtHand::Same;
    }
    match (without_comments(&have), without_comments(&served.descriptor_set)) {
        (Some(files), Some(served)) if files == served => ContractAtHand::SameButComments,
        (None, _) => ContractAtHand::Unreadable("it is no FileDescriptorSet".to_owned()),
        _ => ContractAtHand::Differs { have: hex::encode(hash.as_ref()), served: hex::encode(served.hash) },
    }
}

/// The files of a descriptor set by name, without what a compiler may leave out. Options stay.
fn without_comments(set: &[u8]) -> Option<Vec<(String, DynamicMessage)>> {
    let descriptor = DescriptorPool::global().get_message_by_name("google.protobuf.FileDescriptorSet")?;
    let set = DynamicMessage::decode(descriptor, set).ok()?;
    let mut files = Vec::new();
    for file in set.get_field_by_name("file")?.as_list()? {
        let mut file = file.as_message()?.clone();
        file.clear_field_by_name("source_code_info");
        let Some(Value::String(name)) = file.get_field_by_name("name").map(std::borrow::Cow::into_owned)
        else {
            return None;
        };
        files.push((name, file));
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    Some(files)
}

/// A small question to the provider's own node, within the deadline that is meant.
async fn travel(client: &Client, provider: &str, limit: Duration) -> Trip {
    let stated = Stated { provider: Some(provider.to_owned()), timeout: Some(limit), ..Stated::default() };
    let mut request = Request::new(ListDatasetsRequest { page_size: 1, ..Default::default() });
    let failed = |status: &Status| Trip::Failed {
        reason: status::read(status).map(|read| read.reason),
        words: status.message().to_owned(),
    };
    if let Err(status) = stated.write(&mut request) {
        return failed(&status);
    }
    let begun = Instant::now();
    match timeout(limit, client.catalog().list_datasets(request)).await {
        Ok(Ok(_)) => Trip::Returned(begun.elapsed()),
        Ok(Err(status)) => failed(&status),
        Err(_) => failed(&Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs()))),
    }
}

async fn health(client: &Client, service: &str, provider: &str) -> Health {
    reach::health(client.channel(), service, Some(provider)).await
}

fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
