//! Requests and answers over every kind of hop.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;

use common::{Body, Mesh, get, post, text};
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use lienthong_proto::vn::danhmuc::v1 as danhmuc;
use lienthong_transport::{
    Channel, ChannelOptions, Connections, Direction, Drain, Endpoint, Limits, LocalListener, Peer, Server,
    bind, bind_loopback, bind_unix,
};

#[tokio::test]
async fn each_side_knows_the_other_by_its_certificate() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let node = mesh.node("H26.90", "khach");
    let channel = server.channel(&mesh.shared(&node));

    let echoed = channel.send(post("/echo", "Nguyễn Thị Mẫu".as_bytes())).await.unwrap();
    assert_eq!(text(echoed).await, "Nguyễn Thị Mẫu");

    let seen = text(channel.send(get("/peer")).await.unwrap()).await;
    assert!(seen.contains(&node.binding.to_string()), "{seen}");

    let peer = channel.peer().unwrap();
    assert_eq!(peer.certificate().unwrap().agency_urn.as_deref(), Some("G01"));
    assert_eq!(peer.direction(), Direction::Outbound);
    assert_eq!(peer.remote_address(), Some(server.address));
    assert_eq!(server.connections.count(), 1);
    assert_eq!(server.connections.handshakes().counts().accepted, 1);
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let channel = server.channel(&mesh.client());
    let calls = (0..200).map(|number| {
        let channel = channel.clone();
        tokio::spawn(async move {
            let body = vec![u8::try_from(number % 251).unwrap(); number * 331];
            let answer = channel.send(post("/echo", &body)).await.unwrap();
            assert_eq!(text_bytes(answer).await, body);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(server.connections.count(), 1);
}

#[tokio::test]
async fn a_unix_socket_tells_the_uid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    let listener = LocalListener::Unix(bind_unix(&path, 0o600).unwrap());
    let drain = Drain::new();
    let make = |peer: &Peer| answer_with(format!("uid {}", peer.unix().unwrap().uid));
    let server = Server::local(listener, Limits::default(), Connections::new(), drain.clone());
    let serving = tokio::spawn(server.serve(make));

    let channel: Channel<Body> =
        Channel::new(Endpoint::Unix(path.clone()), ChannelOptions::new(Connections::new()));
    let own_uid = std::fs::metadata(&path).unwrap().uid();
    assert_eq!(text(channel.send(get("/")).await.unwrap()).await, format!("uid {own_uid}"));
    assert_eq!(channel.peer().unwrap().unix().unwrap().uid, own_uid);

    drop(channel);
    drain.start(std::time::Duration::from_secs(5));
    assert_eq!(serving.await.unwrap().cut, 0);
}

#[tokio::test]
async fn plaintext_loopback_proves_nothing_and_goes_nowhere_else() {
    let listener = bind_loopback("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = listener.local_addr().unwrap();
    let make = |peer: &Peer| answer_with(format!("{:?}", peer.identity()));
    let listener = LocalListener::Loopback(listener);
    let server = Server::local(listener, Limits::default(), Connections::new(), Drain::new());
    tokio::spawn(server.serve(make));
    let options = ChannelOptions::new(Connections::new());
    let channel: Channel<Body> = Channel::new(Endpoint::Loopback(address), options.clone());
    assert_eq!(text(channel.send(get("/")).await.unwrap()).await, "Loopback");

    let elsewhere: Channel<Body> = Channel::new(Endpoint::Loopback("192.0.2.1:80".parse().unwrap()), options);
    let refused = elsewhere.send(get("/")).await.unwrap_err();
    assert!(refused.is_not_sent());
    assert!(refused.to_string().contains("only loopback addresses may"), "{refused}");
}

/// A service as tonic generates it, and the client that goes with it.
#[tokio::test]
async fn grpc_over_a_channel_and_a_tower_listener() {
    let mesh = Mesh::new();
    let listener = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = listener.local_addr().unwrap();
    let units = danhmuc::administrative_unit_service_server::AdministrativeUnitServiceServer::new(Units);
    let routes = tonic::service::Routes::new(units).prepare();
    let material = mesh.shared(&mesh.node("G09", "nut-1"));
    let server = Server::mesh(listener, material, Limits::default(), Connections::new(), Drain::new());
    tokio::spawn(server.serve_tower(routes));
    let endpoint = Endpoint::Mesh {
        address: address.to_string(),
        server_name: Some("localhost".to_owned()),
        material: mesh.client(),
    };
    let channel = Channel::new(endpoint, ChannelOptions::new(Connections::new()));
    let mut client =
        danhmuc::administrative_unit_service_client::AdministrativeUnitServiceClient::new(channel);

    let request = danhmuc::GetAdministrativeUnitRequest { ma_dvhc: "01".to_owned() };
    let unit = client.get_administrative_unit(request).await.unwrap().into_inner().unit.unwrap();
    assert_eq!(unit.ma_dvhc, "01");
    assert_eq!(unit.ten_dvhc, "seen by H26.90");

    let unserved = client.list_administrative_units(danhmuc::ListAdministrativeUnitsRequest::default()).await;
    assert_eq!(unserved.unwrap_err().code(), tonic::Code::Unimplemented);
}

struct Units;

#[tonic::async_trait]
impl danhmuc::administrative_unit_service_server::AdministrativeUnitService for Units {
    async fn get_administrative_unit(
        &self,
        request: tonic::Request<danhmuc::GetAdministrativeUnitRequest>,
    ) -> Result<tonic::Response<danhmuc::GetAdministrativeUnitResponse>, tonic::Status> {
        let peer = request.extensions().get::<Peer>().unwrap();
        let agency = peer.certificate().unwrap().agency_urn.clone().unwrap();
        let unit = danhmuc::AdministrativeUnit {
            ma_dvhc: request.get_ref().ma_dvhc.clone(),
            ten_dvhc: format!("seen by {agency}"),
            ..Default::default()
        };
        Ok(tonic::Response::new(danhmuc::GetAdministrativeUnitResponse { unit: Some(unit) }))
    }

    async fn list_administrative_units(
        &self,
        _: tonic::Request<danhmuc::ListAdministrativeUnitsRequest>,
    ) -> Result<tonic::Response<danhmuc::ListAdministrativeUnitsResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented("not in this test"))
    }
}

fn answer_with(
    text: String,
) -> impl hyper::service::Service<
    http::Request<hyper::body::Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future: Send,
> + Send {
    service_fn(move |_| std::future::ready(Ok(Response::new(Full::from(text.clone())))))
}

async fn text_bytes(response: Response<hyper::body::Incoming>) -> Vec<u8> {
    use http_body_util::BodyExt;
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}
