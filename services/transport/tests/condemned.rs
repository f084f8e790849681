//! Every certificate that must not come in, by real handshakes of `openssl s_client` and of our own client: each hears
//! the right alert (RFC 8446 §6.2), is counted by its fault, and is one line a minute in the report.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::condemned::{Condemned, below_a_revoked_intermediate, condemned};
use common::{Body, Mesh, Server, get, text};
use lienthong_certs::{Credentials, Judge, Profile, RevocationLists};
use lienthong_transport::{
    ConnectError, Connections, Limits, RefusalReason, SharedMaterial, TlsMaterial, VerifyPeer, connect,
};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt;

/// The table of the documentation, row by row.
const PAGE: &str = "../../docs/refused-handshakes.md";

#[tokio::test]
async fn every_refusal_has_its_alert_its_count_and_one_line_in_the_report() {
    let mesh = Mesh::new();
    let all = condemned(&mesh);
    let server = mesh.server(Limits::default());
    let other = Mesh::new();
    let below = below_a_revoked_intermediate(&other);
    let others_server = other.server(Limits::default());
    let pairs = all.iter().map(|one| (&mesh, &server, one)).chain([(&other, &others_server, &below)]);

    let mut table = String::new();
    for (mesh, server, one) in pairs {
        let mut reports = server.connections.handshakes().subscribe();
        drop(reports.try_recv());
        let before = server.connections.handshakes().faults().get(one.fault).copied().unwrap_or_default();
        let told = told_by_openssl(server, one).await;
        assert_eq!(told, one.alert.1, "openssl, {}", one.what);
        let mut knocks = 1;
        let own = Credentials::load(&one.certificate, &one.key).ok();
        if let Some(client) = own.and_then(|own| TlsMaterial::new(&own, lenient(mesh)).ok()) {
            match knock(server, &SharedMaterial::new(client)).await {
                ConnectError::RefusedByServer { alert } => assert_eq!(alert, one.alert.0, "{}", one.what),
                other => panic!("{}: {other}", one.what),
            }
            knocks += 1;
        } else {
            // What our client refuses to be, a stranger with the same TLS is.
            assert!(!one.loads, "{}: our client cannot load it", one.what);
            if let Some(told) = told_by_a_stranger(server, one).await {
                assert!(told.contains(one.alert.0), "{}: {told}", one.what);
                knocks += 1;
            } else {
                assert_eq!(one.what, RSA_1024, "no library of ours signs with it");
            }
        }
        let after = server.connections.handshakes().faults()[one.fault];
        assert_eq!(after - before, knocks, "{}", one.what);
        writeln!(
            table,
            "| {} | `{}` ({}) | `HANDSHAKE_CERTIFICATE_{}` |",
            one.what,
            snake(one.alert.0),
            one.alert.1,
            one.fault
        )
        .unwrap();
    }
    in_the_page(&table);

    assert_eq!(server.connections.count(), 0);
    assert_eq!(text(server.channel(&mesh.client()).send(get("/slow/0")).await.unwrap()).await, "/slow/0");
    // However many knocked: one line for each network and fault.
    let mut reports = server.connections.handshakes().subscribe();
    let (faults, counts) =
        (server.connections.handshakes().faults(), server.connections.handshakes().counts());
    server.stop(Duration::from_secs(5)).await;
    let mut reported = 0;
    while let Ok(report) = reports.try_recv() {
        assert_eq!(
            (report.reason, report.source.to_string().as_str()),
            (RefusalReason::Certificate, "127.0.0.0/24")
        );
        assert_eq!(report.count, faults[report.fault.unwrap()]);
        assert!(report.word().starts_with("HANDSHAKE_CERTIFICATE_"), "{}", report.word());
        reported += 1;
    }
    assert_eq!(reported, faults.len());
    assert_eq!(faults.values().sum::<u64>(), counts.refused_for(RefusalReason::Certificate));
}

/// The one key that only `openssl` signs with.
const RSA_1024: &str = "with a key that is too weak (RSA-1024)";

/// What is heard by whoever shows a chain without looking at it; `None` where the key is none for the library.
async fn told_by_a_stranger(server: &Server, one: &Condemned) -> Option<String> {
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(&one.certificate).unwrap().map(|one| one.unwrap()).collect();
    let key = PrivateKeyDer::from_pem_file(&one.key).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).ok()?;
    let mut config = (*common::raw::raw_config(None, &[b"h2"])).clone();
    config.client_auth_cert_resolver = Arc::new(Stolen(Arc::new(CertifiedKey::new(chain, key))));
    let mut tls = common::raw::raw_tls(server, Arc::new(config)).await.unwrap();
    Some(tls.read(&mut [0; 64]).await.unwrap_err().to_string())
}

/// The condemned do not care whose certificate is revoked.
fn lenient(mesh: &Mesh) -> Judge {
    Judge::new(mesh.pki.anchors().unwrap(), RevocationLists::empty(), Profile::development()).unwrap()
}

/// A good certificate in the hands of somebody who has not its key.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let (good, thief) = (
        mesh.node("H26", "bi-trom").credentials().unwrap(),
        mesh.node("H26", "ke-trom").credentials().unwrap(),
    );
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(thief.key_der().unwrap()).unwrap();
    let stolen = Arc::new(Stolen(Arc::new(CertifiedKey::new(good.chain().to_vec(), key))));
    let mut config = (*common::raw::raw_config(None, &[b"h2"])).clone();
    config.client_auth_cert_resolver = stolen;
    let mut tls = common::raw::raw_tls(&server, Arc::new(config)).await.unwrap();
    let told = tls.read(&mut [0; 64]).await.unwrap_err();
    assert!(told.to_string().contains("DecryptError"), "{told}");
    assert_eq!(server.connections.handshakes().faults()["NO_PROOF_OF_KEY"], 1);
    assert_eq!(server.connections.count(), 0);
}

#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesClientCert for Stolen {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The number of the alert that `openssl s_client` hears.
async fn told_by_openssl(server: &Server, one: &Condemned) -> u8 {
    let client = tokio::process::Command::new("openssl")
        .args(["s_client", "-tls1_3", "-alpn", "h2", "-quiet", "-cipher", "DEFAULT@SECLEVEL=0", "-connect"])
        .arg(server.address.to_string())
        .arg("-cert")
        .arg(&one.certificate)
        .arg("-cert_chain")
        .arg(&one.certificate)
        .arg("-key")
        .arg(&one.key)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let said =
        tokio::time::timeout(Duration::from_secs(20), client.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let number =
        said.split("SSL alert number ").nth(1).unwrap_or_else(|| panic!("{}: no alert in {said}", one.what));
    number.lines().next().unwrap().trim().parse().unwrap()
}

async fn knock(server: &Server, client: &SharedMaterial) -> ConnectError {
    let limits = Limits { connect_timeout: Duration::from_secs(5), ..Limits::default() };
    let anybody: VerifyPeer = Arc::new(|_| Ok(()));
    connect::<Body>(&server.endpoint(client), &limits, &Connections::new(), Some(&anybody)).await.unwrap_err()
}

/// The rows stand in the page as they were seen; `LIENTHONG_GOLDEN=write` writes them anew.
fn in_the_page(table: &str) {
    const FIRST: &str = "|---|---|---|\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let start = page.find(FIRST).unwrap() + FIRST.len();
    let end = start + page[start..].find("\n\n").unwrap() + 1;
    if std::env::var_os("LIENTHONG_GOLDEN").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &page[..start], &page[end..])).unwrap();
        return;
    }
    assert_eq!(&page[start..end], table, "{PAGE} is out of date; LIENTHONG_GOLDEN=write writes it anew");
}

/// RFC 8446's name of an alert.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for (place, letter) in name.replace("CA", "Ca").char_indices() {
        if letter.is_uppercase() && place > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
