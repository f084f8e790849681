//! What a generic client learns from its own node: reflection and health, told per asker.
#![allow(clippy::unwrap_used)] // test code

use anyhow::{Context, Result};
use lienthong::client::Client;
use lienthong_tests::{OFFICE, TestMesh, eventually};
use prost::Message;
use prost_reflect::DescriptorPool;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

const TAX: &str = "G12.90-thue";
const CITIZENS: &str = "vn.dancu.v1.CitizenService";

#[tokio::test]
async fn reflection_shows_each_caller_what_it_may_call() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let (office, tax) = (mesh.mesh.client(OFFICE)?, mesh.mesh.client(TAX)?);
    eventually("the tax system learns what it may call", async || {
        Ok(services(&tax).await?.iter().any(|name| name == "vn.dkdn.v1.EnterpriseService"))
    })
    .await?;
    let of_office = services(&office).await?;
    for service in [CITIZENS, "grpc.health.v1.Health", "lienthong.catalog.v1.NodeCatalogService"] {
        assert!(of_office.iter().any(|name| name == service), "{service} is not in {of_office:?}");
    }

    let pool = files_of(&office, CITIZENS).await?.context("the office does not find the service")?;
    let service = pool.get_service_by_name(CITIZENS).context("no service")?;
    let methods: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
    assert!(methods.contains(&"GetCitizen".to_owned()), "{methods:?}");
    assert!(!methods.contains(&"SyncCitizens".to_owned()), "that is for the National General Database");
    let get = service.methods().find(|method| method.name() == "GetCitizen").unwrap();
    assert_eq!(lienthong_proto::options::exchange(&get).unwrap().dataset, "dancu.cong_dan");
    for hidden in ["vn.dancu.v1.CitizenService.SyncCitizens", "vn.dancu.v1.SyncCitizensRequest"] {
        assert!(files_of(&office, hidden).await?.is_none(), "{hidden} is shown");
    }
    let own = services(&tax).await?;
    for service in &own {
        assert!(files_of(&tax, service).await?.is_some(), "{service} is listed, but not described");
    }

    // The older name of the same service.
    let mut alpha = v1alpha::server_reflection_client::ServerReflectionClient::new(office.channel());
    let question = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let answer =
        alpha.server_reflection_info(tokio_stream::once(question)).await?.into_inner().message().await?;
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed)) =
        answer.and_then(|answer| answer.message_response)
    else {
        anyhow::bail!("v1alpha lists nothing");
    };
    let listed: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    assert_eq!(listed, of_office);
    mesh.stop().await
}

#[tokio::test]
async fn health_is_the_providers_own() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    let office = mesh.mesh.client(OFFICE)?;
    assert_eq!(check(&office, "").await?, Ok(ServingStatus::Serving));
    assert_eq!(check(&office, CITIZENS).await?, Ok(ServingStatus::Serving));
    assert_eq!(check(&office, "vn.nobody.v1.Service").await?, Err(Code::NotFound));

    let request = HealthCheckRequest { service: CITIZENS.to_owned() };
    let mut watch = HealthClient::new(office.channel()).watch(request).await?.into_inner();
    let mut seen = async || anyhow::Ok(watch.message().await?.context("the watch ended")?.status());
    assert_eq!(seen().await?, ServingStatus::Serving);
    mesh.mesh.stop_backend("dancu").await?;
    assert_eq!(seen().await?, ServingStatus::NotServing);
    assert_eq!(check(&office, "").await?, Ok(ServingStatus::Serving), "the node itself is well");
    mesh.mesh.start_backend("dancu").await?;
    assert_eq!(seen().await?, ServingStatus::Serving);
    mesh.mesh.stop_node("G01").await?;
    assert_eq!(seen().await?, ServingStatus::NotServing);
    mesh.mesh.start_node("G01").await?;
    assert_eq!(seen().await?, ServingStatus::Serving);

    let unknown = HealthCheckRequest { service: "vn.nobody.v1.Service".to_owned() };
    let mut unknown = HealthClient::new(office.channel()).watch(unknown).await?.into_inner();
    let first = unknown.message().await?.context("nothing")?;
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    // Two watches are under way; a node that stops does not wait for them.
    mesh.stop().await
}

async fn check(client: &Client, service: &str) -> Result<Result<ServingStatus, Code>> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(client.channel()).check(request).await;
    Ok(answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code()))
}

async fn services(client: &Client) -> Result<Vec<String>> {
    match reflect(client, MessageRequest::ListServices(String::new())).await? {
        MessageResponse::ListServicesResponse(list) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        other => anyhow::bail!("{other:?}"),
    }
}

/// The files behind a name; `None` where it is not found.
async fn files_of(client: &Client, symbol: &str) -> Result<Option<DescriptorPool>> {
    match reflect(client, MessageRequest::FileContainingSymbol(symbol.to_owned())).await? {
        MessageResponse::FileDescriptorResponse(files) => {
            let mut set = Vec::new();
            for file in files.file_descriptor_proto {
                prost::encoding::bytes::encode(1, &file, &mut set);
            }
            prost_types::FileDescriptorSet::decode(set.as_slice())?;
            Ok(Some(DescriptorPool::decode(set.as_slice())?))
        }
        MessageResponse::ErrorResponse(error) if error.error_code == 5 => Ok(None),
        other => anyhow::bail!("{other:?}"),
    }
}

async fn reflect(client: &Client, question: MessageRequest) -> Result<MessageResponse> {
    let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut answers = ServerReflectionClient::new(client.channel())
        .server_reflection_info(tokio_stream::once(question))
        .await?
        .into_inner();
    answers.message().await?.and_then(|answer| answer.message_response).context("no answer")
}
