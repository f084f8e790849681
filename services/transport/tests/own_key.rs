//! Our own key in a token: a handshake waits for it, the thread that serves does not, and what goes wrong is named.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;
#[path = "../../../certs/tests/common/softhsm.rs"]
mod softhsm;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::{Mesh, Server, eventually, get, post, text};
use lienthong_certs::{
    Credentials, Errand, KeySource, SignError, SignatureAlgorithm, Signer, TokenError,
    pki::{Holder, Issued, KeyKind, Request},
};
use softhsm::SoftHsm;

use lienthong_transport::limits::SIGNING_HANDSHAKES_MAX;
use lienthong_transport::{
    Channel, ChannelOptions, ConnectError, Connections, Limits, RefusalReason, SendError, SharedMaterial,
};

/// What a token does for now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Signs,
    Hangs,
    Away,
}

/// A key that signs when it is let, as one in a token.
#[derive(Clone)]
struct Token {
    key: Arc<dyn Signer>,
    mood: Arc<(Mutex<Mood>, Condvar)>,
    waiting: Arc<Mutex<usize>>,
    /// Signatures for strangers that somebody waited for when they were made, and all of them.
    for_strangers: Arc<Mutex<(usize, usize)>>,
}

impl Token {
    fn new(issued: &Issued, mood: Mood) -> Token {
        let key = issued.credentials().unwrap().signer();
        Token {
            key,
            mood: Arc::new((Mutex::new(mood), Condvar::new())),
            waiting: Arc::default(),
            for_strangers: Arc::default(),
        }
    }

    fn credentials(&self, issued: &Issued) -> Credentials {
        let chain = issued.credentials().unwrap().chain().to_vec();
        Credentials::with_signer(chain, Arc::new(self.clone())).unwrap()
    }

    fn is(&self, mood: Mood) {
        *self.mood.0.lock().unwrap() = mood;
        self.mood.1.notify_all();
    }

    fn waiting(&self) -> usize {
        *self.waiting.lock().unwrap()
    }
}

impl Signer for Token {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        *self.waiting.lock().unwrap() += 1;
        let mood = self.mood.0.lock().unwrap();
        let mood = self.mood.1.wait_while(mood, |mood| *mood == Mood::Hangs).unwrap();
        *self.waiting.lock().unwrap() -= 1;
        if *mood == Mood::Away {
            return Err(TokenError::Absent { token: "H26".to_owned() }.into());
        }
        self.key.sign(message)
    }

    /// Where it hangs, strangers are kept waiting, and we are not.
    fn sign_for(&self, message: &[u8], errand: &Errand) -> Result<Vec<u8>, SignError> {
        if !errand.is_for_stranger() {
            let hangs = *self.mood.0.lock().unwrap() == Mood::Hangs;
            return if hangs { self.key.sign(message) } else { self.sign(message) };
        }
        let signed = self.sign(message);
        let mut counted = self.for_strangers.lock().unwrap();
        *counted = (counted.0 + usize::from(!errand.is_abandoned()), counted.1 + 1);
        signed
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }

    fn spki_der(&self) -> &[u8] {
        self.key.spki_der()
    }

    fn may_wait(&self) -> bool {
        true
    }
}

fn issue(mesh: &Mesh, node: &str, key: KeyKind) -> Issued {
    let holder = Holder::Node {
        agency_code: "G01".to_owned(),
        agency_name: "DEMO – Cơ quan thử nghiệm".to_owned(),
        node_id: node.to_owned(),
    };
    mesh.pki.issue(&Request::new(holder).with_dns_names(&["localhost"]).with_key(key)).unwrap()
}

#[tokio::test]
async fn every_kind_of_key_shakes_hands_from_a_token_on_both_sides() {
    let mesh = Mesh::new();
    for (number, kind) in
        [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048, KeyKind::Rsa3072]
            .into_iter()
            .enumerate()
    {
        let (server, client) =
            (issue(&mesh, &format!("s{number}"), kind), issue(&mesh, &format!("c{number}"), kind));
        let material = |issued: &Issued| {
            let token = Token::new(issued, Mood::Signs);
            SharedMaterial::new(mesh.material_of(&token.credentials(issued)))
        };
        let running = Server::start("127.0.0.1:0".parse().unwrap(), material(&server), Limits::default());
        let channel = running.channel(&material(&client));
        assert_eq!(text(channel.send(post("/echo", b"xin")).await.unwrap()).await, "xin", "{kind:?}");
    }
}

/// The kinds that official tokens hold, in a real one, through real handshakes: ours on both sides, and of `openssl`, which
/// checks our signature by its own hand.
#[tokio::test]
async fn a_key_in_softhsm_proves_us_on_both_sides() {
    let Some(hsm) = SoftHsm::within("a_key_in_softhsm_proves_us_on_both_sides") else { return };
    let mesh = Mesh::new();
    let kinds = [("rsa2048", KeyKind::Rsa2048), ("p256", KeyKind::EcdsaP256)];
    // The library looks for tokens when it begins: all of them are there before the first is opened.
    let sides = kinds.map(|(label, kind)| {
        [format!("{label}-s"), format!("{label}-c")].map(|name| {
            let issued = issue(&mesh, &name, kind);
            let key = KeySource::from(hsm.token(&name, &issued.key));
            (issued.certificate, key)
        })
    });
    for [server, client] in &sides {
        let material = |(certificate, key): &(PathBuf, KeySource)| {
            SharedMaterial::new(mesh.material_of(&Credentials::open(certificate, key).unwrap()))
        };
        let running = Server::start("127.0.0.1:0".parse().unwrap(), material(server), Limits::default());
        let channel = running.channel(&material(client));
        assert_eq!(text(channel.send(post("/echo", b"xin")).await.unwrap()).await, "xin", "{server:?}");

        let (address, trust) = (running.address.to_string(), mesh.folder.path().join("pki/trust/state.pem"));
        let stranger = mesh.node("H26", &format!("la-{}", address.rsplit(':').next().unwrap()));
        let said = tokio::process::Command::new("openssl")
            .args([
                "s_client",
                "-tls1_3",
                "-alpn",
                "h2",
                "-verify_return_error",
                "-connect",
                &address,
                "-CAfile",
            ])
            .arg(trust)
            .arg("-cert")
            .arg(&stranger.certificate)
            .arg("-key")
            .arg(&stranger.key)
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
}

/// One thread serves, as a traffic thread does.
#[tokio::test(flavor = "current_thread")]
async fn a_token_that_hangs_stops_its_handshake_and_nobody_else() {
    let mesh = Mesh::new();
    let issued = issue(&mesh, "n1", KeyKind::EcdsaP256);
    let token = Token::new(&issued, Mood::Signs);
    let material = SharedMaterial::new(mesh.material_of(&token.credentials(&issued)));
    let server = Server::start("127.0.0.1:0".parse().unwrap(), material, Limits::default());
    let lasting = server.channel(&mesh.client());
    lasting.send(get("/peer")).await.unwrap();

    token.is(Mood::Hangs);
    let late = server.channel(&mesh.client());
    let late = tokio::spawn(async move { text(late.send(post("/echo", b"sau")).await.unwrap()).await });
    eventually("the handshake waits for the token", || token.waiting() == 1).await;
    for _ in 0..50 {
        assert_eq!(text(lasting.send(post("/echo", b"nay")).await.unwrap()).await, "nay");
    }
    assert_eq!(token.waiting(), 1, "it waits still");
    token.is(Mood::Signs);
    assert_eq!(late.await.unwrap(), "sau");
}

#[tokio::test(flavor = "current_thread")]
async fn strangers_who_knock_and_leave_take_neither_the_token_nor_the_threads() {
    let mesh = Mesh::new();
    let issued = issue(&mesh, "n1", KeyKind::EcdsaP256);
    let token = Token::new(&issued, Mood::Hangs);
    let material = SharedMaterial::new(mesh.material_of(&token.credentials(&issued)));
    // Nobody is shown out for being slow: whoever goes, goes by himself.
    let limits = Limits { handshake_timeout: Duration::from_secs(600), ..Limits::default() };
    let server = Server::start("127.0.0.1:0".parse().unwrap(), material.clone(), limits);
    // Four times as many as may wait for the token: all of them knock, and the token hangs.
    let stranger = mesh.client();
    let knock = || {
        let channel = server.channel(&stranger);
        tokio::spawn(async move { channel.send(get("/peer")).await.is_ok() })
    };
    let knocking: Vec<_> = (0..4 * SIGNING_HANDSHAKES_MAX).map(|_| knock()).collect();
    eventually("the token is asked", || token.waiting() == SIGNING_HANDSHAKES_MAX).await;
    // What we begin is signed meanwhile, and a blocking thread is free for anything else.
    let other = mesh.server(Limits::default());
    let channel = other.channel(&material);
    assert_eq!(text(channel.send(post("/echo", b"ra")).await.unwrap()).await, "ra");
    tokio::task::spawn_blocking(|| ()).await.unwrap();
    assert_eq!(token.waiting(), SIGNING_HANDSHAKES_MAX, "no more than that, however many knock");
    // They leave: what the token has not begun for them, it is not asked any more.
    knocking.iter().for_each(tokio::task::JoinHandle::abort);
    let gone = || server.connections.handshakes().counts().refused_for(RefusalReason::Closed);
    eventually("all have left", || gone() >= 4 * SIGNING_HANDSHAKES_MAX as u64).await;
    token.is(Mood::Signs);
    let channel = server.channel(&mesh.client());
    assert_eq!(text(channel.send(post("/echo", b"vao")).await.unwrap()).await, "vao");
    eventually("all that was begun is done", || token.waiting() == 0).await;
    let (wanted, made) = *token.for_strangers.lock().unwrap();
    assert_eq!((wanted, made), (1, SIGNING_HANDSHAKES_MAX + 1));
}

#[tokio::test]
async fn a_token_that_is_away_is_named_on_both_sides_and_missed_no_longer_than_it_is_away() {
    let mesh = Mesh::new();
    let issued = issue(&mesh, "n1", KeyKind::Rsa2048);
    let token = Token::new(&issued, Mood::Away);
    let material = SharedMaterial::new(mesh.material_of(&token.credentials(&issued)));
    let server = Server::start("127.0.0.1:0".parse().unwrap(), material.clone(), Limits::default());
    let fresh = |to: &Server, client: &SharedMaterial| {
        Channel::new(to.endpoint(client), ChannelOptions::new(Connections::new()))
    };
    let refused = fresh(&server, &mesh.client()).send(get("/peer")).await.unwrap_err();
    assert!(refused.is_not_sent(), "{refused}");
    let counts = server.connections.handshakes().counts();
    assert_eq!(counts.refused_for(RefusalReason::OwnKey), 1, "{counts:?}");

    let other = mesh.server(Limits::default());
    let failed = fresh(&other, &material).send(get("/peer")).await.unwrap_err();
    let SendError::NotConnected { cause, .. } = &failed else { panic!("{failed}") };
    let ConnectError::OwnKey(why) = &**cause else { panic!("{cause}") };
    assert!(why.to_string().contains("no token \"H26\""), "{why}");

    token.is(Mood::Signs);
    fresh(&server, &mesh.client()).send(get("/peer")).await.unwrap();
    fresh(&other, &material).send(get("/peer")).await.unwrap();
}
