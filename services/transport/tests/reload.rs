//! Trust and certificates change while requests run: nothing fails, and nobody stays who may not.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Body, Mesh, Server, eventually, get, post, text};
use http_body_util::BodyExt;
use lienthong_certs::CertificateRefusal;
use lienthong_certs::judge::RevocationReason;
use lienthong_transport::{Channel, ChannelOptions, Connections, Limits, Peer, SharedMaterial};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_everything_under_load_fails_no_request() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let client = mesh.client();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));

    let lasting = server.channel(&client);
    let workers: Vec<_> = (0..4)
        .map(|number| {
            let (lasting, stop, answered) = (lasting.clone(), Arc::clone(&stop), Arc::clone(&answered));
            let (endpoint, fresh_each_time) = (server.endpoint(&client), number % 2 == 0);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let channel = if fresh_each_time {
                        Channel::new(endpoint.clone(), ChannelOptions::new(Connections::new()))
                    } else {
                        lasting.clone()
                    };
                    let answer = channel.send(post("/echo", b"con so")).await.unwrap();
                    assert_eq!(text(answer).await, "con so");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    // New keys and certificates, the list of revoked ones growing, on both sides.
    for round in 0..20 {
        let retired = mesh.node("G01", &format!("cu-{round}"));
        mesh.pki.revoke(&retired.binding, RevocationReason::Superseded).unwrap();
        server.material.replace(mesh.material(&mesh.node("G01", &format!("chu-{round}"))));
        client.replace(mesh.material(&mesh.node("H26", &format!("khach-{round}"))));
        assert!(server.connections.close_refused(&server.material).is_empty());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(server.material.edition(), 20);
    assert!(answered.load(Ordering::Relaxed) > 100, "{answered:?} answers are no load");
}

/// After our certificate was replaced, nothing that we began goes on under the one before: calls under way are answered, and
/// the next ones go over new connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_the_certificate_before_finish_their_calls_and_go() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let register = Connections::new();
    let channel = Channel::new(server.endpoint(&mesh.client()), ChannelOptions::new(register.clone()));
    let caller = || {
        let channel = channel.clone();
        tokio::spawn(async move { text(channel.send(get("/slow/300")).await.unwrap()).await })
    };
    assert_eq!(text(channel.send(get("/slow/0")).await.unwrap()).await, "/slow/0");
    let before: Vec<_> = register.peers().iter().map(Peer::connection_id).collect();
    assert_eq!(before.len(), 1);
    let under_way = caller();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(register.finish_outbound(), 1);
    assert_eq!(register.finish_outbound(), 0, "once");
    assert_eq!(server.connections.finish_outbound(), 0, "what others began, they end");
    let after = caller();
    for answer in [under_way, after] {
        assert_eq!(answer.await.unwrap(), "/slow/300");
    }
    tokio::time::timeout(Duration::from_secs(10), register.gone(before)).await.unwrap();
    assert_eq!(register.count(), 1, "one connection, made anew");
}

#[tokio::test]
async fn a_revocation_closes_live_connections_and_their_streams() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let condemned = mesh.node("H26", "bi-ket-an");
    let bad = server.channel(&mesh.shared(&condemned));
    let good = server.channel(&mesh.client());

    let mut bad_stream = bad.send(get("/stream")).await.unwrap().into_body();
    let mut good_stream = good.send(get("/stream")).await.unwrap().into_body();
    bad_stream.frame().await.unwrap().unwrap();
    good_stream.frame().await.unwrap().unwrap();
    let hanging = tokio::spawn(async move { bad.send(get("/hang")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;

    mesh.pki.revoke(&condemned.binding, RevocationReason::KeyCompromise).unwrap();
    server.material.replace(mesh.material(&mesh.node("G01", "moi")));
    let begun = Instant::now();
    let closed = server.connections.close_refused(&server.material);
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].0.certificate().unwrap().binding(), &condemned.binding);
    assert!(matches!(closed[0].1, CertificateRefusal::Revoked { .. }));

    while let Some(Ok(_)) = bad_stream.frame().await {}
    let unanswered = hanging.await.unwrap().unwrap_err();
    assert!(!unanswered.is_not_sent(), "{unanswered}");
    assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
    // The cancellation reached what the service was doing.
    eventually("the hanging call was dropped", || server.cancelled.load(Ordering::Relaxed) == 1).await;

    good_stream.frame().await.unwrap().unwrap();
    eventually("one is left", || server.connections.count() == 1).await;
}

#[tokio::test]
async fn close_where_cuts_open_streams_within_a_second() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let channel = server.channel(&mesh.client());
    let mut stream = channel.send(get("/stream")).await.unwrap().into_body();
    stream.frame().await.unwrap().unwrap();

    assert_eq!(server.connections.close_where(|peer| peer.unix().is_some(), "nobody of that kind"), 0);
    let begun = Instant::now();
    let of_h26 = |peer: &Peer| {
        peer.certificate().is_some_and(|certificate| certificate.agency_urn.as_deref() == Some("H26.90"))
    };
    assert_eq!(server.connections.close_where(of_h26, "the agency was suspended"), 1);
    while let Some(Ok(_)) = stream.frame().await {}
    assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
    eventually("it is deregistered", || server.connections.count() == 0).await;
}

#[tokio::test]
async fn outgoing_connections_are_cut_too() {
    let mesh = Mesh::new();
    let condemned = mesh.node("G01", "se-bi-thu-hoi");
    let server = Server::start("127.0.0.1:0".parse().unwrap(), mesh.shared(&condemned), Limits::default());
    let client = mesh.node("H26", "khach");
    let material = mesh.shared(&client);
    let register = Connections::new();
    let channel: Channel<Body> =
        Channel::new(server.endpoint(&material), ChannelOptions::new(register.clone()));
    let mut stream = channel.send(get("/stream")).await.unwrap().into_body();
    stream.frame().await.unwrap().unwrap();
    assert_eq!(register.count(), 1);

    mesh.pki.revoke(&condemned.binding, RevocationReason::KeyCompromise).unwrap();
    material.replace(mesh.material(&client));
    let begun = Instant::now();
    assert_eq!(register.close_refused(&material).len(), 1);
    let end = loop {
        match stream.frame().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert!(end.unwrap().is_err(), "a cut stream must not look complete");
    assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
    assert!(!channel.is_connected());
    let refused = channel.send(get("/echo")).await.unwrap_err();
    assert!(refused.to_string().contains("revoked"), "{refused}");
}

/// The race that registering before confirming closes: trust changes between the judgement and the
/// registration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_slips_through_a_revocation() {
    let mesh = Mesh::new();
    for round in 0..25 {
        let server = mesh.server(Limits::default());
        let condemned = mesh.node("H26", &format!("dua-{round}"));
        let material = mesh.shared(&condemned);
        let knocking: Vec<_> = (0..12)
            .map(|_| {
                let channel = server.channel(&material);
                tokio::spawn(async move {
                    let _ = channel.send(get("/echo")).await;
                    channel
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(120 * round)).await;
        mesh.pki.revoke(&condemned.binding, RevocationReason::KeyCompromise).unwrap();
        server.material.replace(mesh.material(&mesh.node("G01", &format!("moi-{round}"))));
        server.connections.close_refused(&server.material);
        // The channels are held: whoever came in would stay.
        let mut held = Vec::new();
        for knocking in knocking {
            held.push(knocking.await.unwrap());
        }
        eventually("nobody condemned is inside", || server.connections.count() == 0).await;
    }
}

#[tokio::test]
async fn a_material_handle_is_shared_by_its_clones() {
    let mesh = Mesh::new();
    let handle = SharedMaterial::new(mesh.material(&mesh.node("G01", "a")));
    let clone = handle.clone();
    handle.replace(mesh.material(&mesh.node("G01", "b")));
    assert_eq!((handle.edition(), clone.edition()), (1, 1));
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let holder = lienthong_certs::pki::Holder::Node {
        agency_code: "H26.90".to_owned(),
        agency_name: "DEMO – Cơ quan thử nghiệm".to_owned(),
        node_id: "sap-het".to_owned(),
    };
    let mut request = lienthong_certs::pki::Request::new(holder).with_dns_names(&["localhost"]);
    request.not_after = Some(time::OffsetDateTime::now_utc() + time::Duration::seconds(4));
    let channel = server.channel(&mesh.shared(&mesh.pki.issue(&request).unwrap()));
    let lasting = server.channel(&mesh.client());
    lasting.send(get("/peer")).await.unwrap();
    let mut stream = channel.send(get("/stream")).await.unwrap().into_body();
    let ended = async { while let Some(Ok(_)) = stream.frame().await {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    eventually("it is gone", || server.connections.peers().len() == 1).await;
    assert!(channel.send(get("/peer")).await.is_err(), "and it does not come back");
    lasting.send(get("/peer")).await.unwrap();
}
