//! Leaving: what is in flight ends, nothing new begins, and there is a last moment.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Mesh, eventually, get, text};
use http_body_util::BodyExt;
use lienthong_transport::{DrainOutcome, Limits};
use tokio::net::TcpStream;

#[tokio::test]
async fn what_is_in_flight_ends_and_nothing_new_begins() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let (client, address) = (mesh.client(), server.address);
    let channel = server.channel(&client);
    let late = server.channel(&client);
    channel.connected().await.unwrap();
    let in_flight = tokio::spawn(async move { text(channel.send(get("/slow/600")).await.unwrap()).await });
    // A peer in the middle of its handshake does not hold us up.
    let _half_open = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;

    let begun = Instant::now();
    server.drain.start(Duration::from_secs(30));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let refused = late.send(get("/echo")).await.unwrap_err();
    assert!(refused.is_not_sent(), "{refused}");

    assert_eq!(in_flight.await.unwrap(), "/slow/600");
    let outcome = server.stop(Duration::from_secs(30)).await;
    assert_eq!(outcome, DrainOutcome { finished: 1, cut: 0 });
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_that_does_not_end_is_cut_at_the_deadline() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let channel = server.channel(&mesh.client());
    let mut stream = channel.send(get("/stream")).await.unwrap().into_body();
    let idle = server.channel(&mesh.client());
    idle.connected().await.unwrap();
    let cancelled = std::sync::Arc::clone(&server.cancelled);
    let hanging = {
        let channel = channel.clone();
        tokio::spawn(async move { channel.send(get("/hang")).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;

    let begun = Instant::now();
    let outcome = server.stop(Duration::from_millis(500)).await;
    assert!(begun.elapsed() >= Duration::from_millis(500), "took {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    assert_eq!(outcome, DrainOutcome { finished: 1, cut: 1 });
    while let Some(Ok(_)) = stream.frame().await {}
    hanging.await.unwrap().unwrap_err();
    eventually("the hanging call was dropped", || cancelled.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_later_deadline_does_not_lengthen_an_earlier_one() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let channel = server.channel(&mesh.client());
    let _stream = channel.send(get("/stream")).await.unwrap();
    server.drain.start(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    // A second signal, less patient.
    server.drain.start(Duration::from_millis(200));
    server.drain.start(Duration::from_secs(60));
    assert_eq!(server.stop(Duration::from_secs(60)).await.cut, 1);
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_old_connection_is_replaced_without_a_failed_request() {
    let mesh = Mesh::new();
    let limits = Limits {
        connection_age_max: Some(Duration::from_millis(500)),
        connection_age_grace: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = mesh.server(limits);
    let channel = server.channel(&mesh.client());
    let first = channel.connected().await.unwrap().connection_id();
    let mut endless = channel.send(get("/stream")).await.unwrap().into_body();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3_500) {
        let answer = channel.send(get("/slow/1")).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(text(answer).await, "/slow/1");
    }
    assert_ne!(channel.connected().await.unwrap().connection_id(), first);
    // The stream that would not end had its grace, and was cut.
    let end = tokio::time::timeout(Duration::from_secs(5), async {
        while let Some(Ok(_)) = endless.frame().await {}
    });
    end.await.unwrap();
}
