//! Contestant g, one of its two proxies: bare forwarding on hyper, one current-thread runtime per core, through the
//! acceptor and connector that our nodes use too. No policy, no record: the least that any node must cost.

use std::net::SocketAddr;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use lienthong_transport::{
    Channel, ChannelOptions, Connections, Drain, Endpoint, Limits, Peer, Server, SharedMaterial, Turn,
};
use tokio::net::TcpListener;

use crate::pki::{Pki, Role, SERVER_NAME};
use crate::threads::Servers;

/// Starts a proxy that plays `role` before `upstream`.
pub fn start(pki: &Pki, role: Role, upstream: SocketAddr) -> anyhow::Result<Servers> {
    let material = pki.material(role)?;
    Servers::start("bare", move |listener, turn| forward(listener, turn, material.clone(), upstream))
}

async fn forward(
    listener: TcpListener,
    turn: Turn,
    material: SharedMaterial,
    upstream: SocketAddr,
) -> anyhow::Result<()> {
    let endpoint = Endpoint::Mesh {
        address: upstream.to_string(),
        server_name: Some(SERVER_NAME.to_owned()),
        material: material.clone(),
    };
    let connections = Connections::new();
    let channel: Channel<Incoming> = Channel::new(endpoint, ChannelOptions::new(connections.clone()));
    let make = move |_: &Peer| {
        let channel = channel.clone();
        service_fn(move |request: Request<Incoming>| {
            let channel = channel.clone();
            async move { channel.send(request).await }
        })
    };
    let server = Server::mesh(listener, material, Limits::default(), connections, Drain::new());
    server.in_turn(turn).serve(make).await;
    Ok(())
}
