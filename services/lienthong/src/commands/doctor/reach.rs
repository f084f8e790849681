//! Goes to somebody, step by step, and notes how far it came.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lienthong_transport::{
    Channel, ChannelOptions, ConnectError, Connections, Endpoint, Limits, SharedMaterial, connect,
};
use tokio::{net::TcpStream, time::timeout};
use tonic::{Code, Request, metadata::MetadataValue};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::commands::doctor::facts::{Handshake, Health, Reached};

/// How long each step may take, milliseconds.
pub const STEP_TIMEOUT_MS: u64 = 5_000;

/// Name, TCP and TLS of an address.
pub async fn reach(
    subject: &str,
    address: &str,
    server_name: &str,
    material: Option<&SharedMaterial>,
) -> Reached {
    let lookup = lookup(address).await;
    let tcp = match lookup.as_deref() {
        Ok([]) | Err(_) => None,
        Ok(found) => Some(dial(found).await),
    };
    let tls = match (&tcp, material) {
        (Some(Ok(_)), Some(material)) => Some(shake_hands(address, server_name, material).await),
        _ => None,
    };
    Reached { subject: subject.to_owned(), address: address.to_owned(), lookup, tcp, tls }
}

/// The health of a service, by `grpc.health.v1`; through a node, of the provider that is named.
pub async fn health(channel: Channel<tonic::body::Body>, service: &str, provider: Option<&str>) -> Health {
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    if let Some(Ok(provider)) = provider.map(MetadataValue::try_from) {
        request.metadata_mut().insert("mesh-provider", provider);
    }
    request.set_timeout(step());
    let mut client = HealthClient::new(channel);
    match timeout(step(), client.check(request)).await {
        Err(_) => Health::Failed(format!("{STEP_TIMEOUT_MS} ms")),
        Ok(Ok(answer)) => match answer.into_inner().status() {
            ServingStatus::Serving => Health::Serving,
            other => Health::NotServing(other.as_str_name().to_owned()),
        },
        Ok(Err(status)) => match status.code() {
            Code::Unimplemented => Health::NotOffered,
            Code::NotFound => Health::NotServing("NOT_FOUND".to_owned()),
            _ => Health::Failed(status.message().to_owned()),
        },
    }
}

/// A channel that connects when first used.
pub fn channel(endpoint: Endpoint) -> Channel<tonic::body::Body> {
    Channel::new(endpoint, ChannelOptions::new(Connections::new()))
}

async fn lookup(address: &str) -> Result<Vec<SocketAddr>, String> {
    match timeout(step(), tokio::net::lookup_host(address)).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{STEP_TIMEOUT_MS} ms")),
    }
}

async fn dial(addresses: &[SocketAddr]) -> Result<Duration, String> {
    let begun = Instant::now();
    match timeout(step(), TcpStream::connect(addresses)).await {
        Ok(Ok(_)) => Ok(begun.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{STEP_TIMEOUT_MS} ms")),
    }
}

async fn shake_hands(address: &str, server_name: &str, material: &SharedMaterial) -> Handshake {
    let endpoint = Endpoint::Mesh {
        address: address.to_owned(),
        server_name: Some(server_name.to_owned()),
        material: material.clone(),
    };
    let connections = Connections::new();
    match connect::<tonic::body::Body>(&endpoint, &Limits::default(), &connections, None).await {
        Ok(connection) => match connection.peer.certificate() {
            Some(certificate) => {
                Handshake::Accepted { names: certificate.dns_names.clone(), not_after: certificate.not_after }
            }
            None => Handshake::Failed("the server showed no certificate".to_owned()),
        },
        Err(ConnectError::ServerCertificate { refusal }) => Handshake::ServerRefused(refusal),
        Err(ConnectError::RefusedByServer { alert }) => Handshake::RefusedUs(alert),
        Err(ConnectError::NoHttp2) => Handshake::NoHttp2,
        Err(error) => Handshake::Failed(error.to_string()),
    }
}

fn step() -> Duration {
    Duration::from_millis(STEP_TIMEOUT_MS)
}
