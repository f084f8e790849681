//! Certificate, key and revocation lists change on disk while calls run: not one fails, what cannot be used changes nothing,
//! and lists that are overdue close what they must.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use lienthong::{client::Stated, commands::call};
use lienthong_certs::{
    Branch, Credentials, DevPki, PeerCertificate, files,
    judge::RevocationReason,
    pki::{DevAuthority, Holder, Request},
    request,
};
use lienthong_proto::reason::Reason;
use lienthong_tests::{
    GET_CITIZEN, OFFICE, PERSON, TestMesh, eventually, handling, load::Load, reason, softhsm::SoftHsm,
};
use serde_json::Value;

const LIST_UNITS: &str = "/vn.danhmuc.v1.AdministrativeUnitService/ListAdministrativeUnits";

/// One role's certificate and key.
struct Pair {
    certificate: std::path::PathBuf,
    key: std::path::PathBuf,
}

impl Pair {
    fn of(config: &Path) -> Result<Self> {
        let config: toml::Table = toml::from_str(&fs::read_to_string(config)?)?;
        let path = |key: &str| config.get(key).and_then(toml::Value::as_str).map(Into::into);
        Ok(Self { certificate: path("certificate").context("none")?, key: path("key").context("none")? })
    }

    /// A new key, and a certificate like the present one for it, beside the present files.
    fn next(&self, pki: &DevPki, round: usize) -> Result<Self> {
        let present = Credentials::load(&self.certificate, &self.key)?;
        let certificate = present.certificate();
        let holder = Holder::Node {
            agency_code: certificate.agency_urn.clone().context("no agency")?,
            agency_name: certificate.subject.organization.clone().context("no name")?,
            node_id: certificate.subject.common_name.clone().context("no id")?,
        };
        let names: Vec<&str> = certificate.dns_names.iter().map(String::as_str).collect();
        let beside = |path: &Path| path.with_extension(format!("next{round}"));
        let next = Self {
            certificate: beside(&self.certificate),
            key: self.key.with_extension(format!("key{round}")),
        };
        let prepared = request::prepare(holder.clone(), &names, &next.key)?;
        let request = Request::new(holder).with_dns_names(&names);
        fs::write(&next.certificate, pki.certify(&request, &prepared.spki_der)?)?;
        Ok(next)
    }

    /// Puts another pair in this one's place, key first.
    fn become_(&self, next: &Self) -> Result<()> {
        fs::rename(&next.key, &self.key)?;
        Ok(fs::rename(&next.certificate, &self.certificate)?)
    }
}

/// Binds one more certificate to a node, in the registry file.
fn bind(mesh: &TestMesh, agency: &str, certificate: &Path) -> Result<()> {
    let path = mesh.mesh.layout.dir.join("registry.yaml");
    let mut registry: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let nodes = registry["nodes"].as_array_mut().context("no nodes")?;
    let node = nodes.iter_mut().find(|node| node["agency"] == agency).context("no such node")?;
    // The present file is about to be replaced: what it holds now stays bound under another name.
    let leaf = PeerCertificate::read(&files::certificates(certificate)?)?;
    let kept = certificate.with_extension(format!("bound-{}", leaf.binding().serial_hex()));
    fs::copy(certificate, &kept)?;
    let bound = node["certificates"].as_array_mut().context("no certificates")?;
    bound.push(serde_json::json!({ "file": kept }));
    Ok(fs::write(path, serde_json::to_string_pretty(&registry)?)?)
}

/// The check `certificate` of a role's `/health`, and a number of its `/metrics`.
fn admin(mesh: &TestMesh, role: &str) -> Result<std::net::SocketAddr> {
    let layout = &mesh.mesh.layout;
    if role == "broker" {
        return Ok(layout.broker.1);
    }
    let node = layout.nodes.iter().find(|(code, ..)| code == role).context("no such node")?;
    Ok(node.2)
}

async fn page(mesh: &TestMesh, role: &str, path: &str) -> Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(admin(mesh, role)?).await?;
    socket
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await?;
    Ok(text)
}

async fn metric(mesh: &TestMesh, role: &str, name: &str) -> Result<u64> {
    let text = page(mesh, role, "/metrics").await?;
    let line = text.lines().find(|line| line.starts_with(name));
    Ok(line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_key_and_lists_change_under_load_and_no_call_fails() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let pki = DevPki::open(&mesh.mesh.layout.dir.join("pki"))?;
    let mut load = Load::of_office(&mesh)?;
    load.goes_on().await?;

    for (round, code) in ["G01", "H26.90", "G01"].into_iter().enumerate() {
        let (_, config, _) =
            mesh.mesh.layout.nodes.iter().find(|(node, ..)| node == code).context("no such node")?;
        let present = Pair::of(config)?;
        let next = present.next(&pki, round)?;
        bind(&mesh, code, &present.certificate)?;
        bind(&mesh, code, &next.certificate)?;
        mesh.mesh.reload_broker().await?;
        let applied = metric(&mesh, code, "lienthong_node_reloads_total{outcome=\"applied\"}").await?;
        present.become_(&next)?;
        eventually("the node shows the new certificate", async || {
            let now = metric(&mesh, code, "lienthong_node_reloads_total{outcome=\"applied\"}").await?;
            Ok(now > applied)
        })
        .await?;
        load.goes_on().await?;
    }

    half_a_certificate(&mesh, &mut load).await?;

    // Lists and the broker's own pair: nobody tells the broker, it sees them.
    let (broker, _) = mesh.mesh.layout.broker.clone();
    let retired = pki.issue_node("G01", "DEMO – Cơ quan thử", "cu", &["cu.g01.example"])?;
    let epoch = metric(&mesh, "broker", "lienthong_broker_epoch ").await?;
    pki.revoke(&retired.binding, RevocationReason::Superseded)?;
    eventually("both nodes decide by the new list", async || {
        let mut least = u64::MAX;
        for code in ["G01", "H26.90"] {
            least = least.min(metric(&mesh, code, "lienthong_node_epoch ").await?);
        }
        Ok(least > epoch)
    })
    .await?;
    load.goes_on().await?;
    let crl = mesh.mesh.layout.dir.join("pki/crl/state.crl");
    let good = fs::read(&crl)?;
    fs::write(&crl, "no list")?;
    eventually("the bad list is named", async || {
        Ok(page(&mesh, "broker", "/health").await?.contains("NOT in use"))
    })
    .await?;
    load.goes_on().await?;
    fs::write(&crl, good)?;
    eventually("all is well again", async || {
        Ok(!page(&mesh, "broker", "/health").await?.contains("NOT in use"))
    })
    .await?;
    let present = Pair::of(&broker)?;
    let next = present.next(&pki, 9)?;
    let before = metric(&mesh, "broker", "lienthong_broker_certificate_expiry_seconds ").await?;
    present.become_(&next)?;
    eventually("the broker shows its new certificate", async || {
        Ok(metric(&mesh, "broker", "lienthong_broker_certificate_expiry_seconds ").await? > before)
    })
    .await?;
    load.goes_on().await?;

    let answered = load.end().await?;
    ensure!(answered > 50, "{answered} answers are no load");
    mesh.stop().await
}

/// A half-written certificate is said, and has no effect.
async fn half_a_certificate(mesh: &TestMesh, load: &mut Load) -> Result<()> {
    let (_, config, _) = mesh.mesh.layout.nodes.iter().find(|(node, ..)| node == "G01").context("no G01")?;
    let present = Pair::of(config)?;
    let good = fs::read(&present.certificate)?;
    fs::write(&present.certificate, &good[..good.len() / 3])?;
    eventually("the half certificate is named", async || {
        let health = page(mesh, "G01", "/health").await?;
        Ok(health.contains("NOT in use") && health.contains("200 OK"))
    })
    .await?;
    load.goes_on().await?;
    fs::write(&present.certificate, &good)?;
    eventually("all is well again", async || Ok(!page(mesh, "G01", "/health").await?.contains("NOT in use")))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overdue_lists_close_personal_data_and_open_data_goes_on_counted() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let pki = DevPki::open(&mesh.mesh.layout.dir.join("pki"))?;
    let statistics = Stated { purpose: Some("STATISTICS".to_owned()), ..Stated::default() };
    let units = async || mesh.office(LIST_UNITS, "{}", &statistics).await;
    eventually("the units are shared, too", async || Ok(units().await?.error.is_none())).await?;

    pki.crl_due(DevAuthority::State, time::Duration::hours(-1))?;
    eventually("personal data is closed", async || {
        let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
        Ok(reason(&outcome) == Some(Reason::DenyRightsStale))
    })
    .await?;
    let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    let error = outcome.error.context("it was answered")?;
    ensure!(error.message().contains("R-37") && error.message().contains("overdue"), "{error}");
    ensure!(units().await?.error.is_none(), "open data goes on");
    let counted = metric(&mesh, "H26.90", "lienthong_node_revocation_soft_fails_total ").await?;
    ensure!(counted > 0, "the soft failure is not counted");
    ensure!(mesh.log_of("node-H26.90")?.contains("open data goes on"), "it is not in the log");

    pki.crl(DevAuthority::State)?;
    mesh.until_served().await?;
    mesh.stop().await
}

/// The list above the *provider's* certificate is overdue, those above the caller's are fresh: the consumer's node asks for
/// no personal data there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overdue_list_above_the_providers_certificate_closes_at_the_consumer() -> Result<()> {
    // The population register's node is certified by the authority of the Party branch; everybody else by the State's.
    let mesh = TestMesh::start_changed(|layout| {
        let (_, config, _) = layout.nodes.iter().find(|(code, ..)| code == "G01").context("no G01")?;
        let pair = Pair::of(config)?;
        let pki = DevPki::open(&layout.dir.join("pki"))?;
        let leaf = files::certificates(&pair.certificate)?.into_iter().next().context("no certificate")?;
        let asked = request::next(&leaf, &pair.key)?;
        Ok(files::replace(&pair.certificate, pki.answer(&asked.pem, Branch::Party, 365)?.as_bytes())?)
    })
    .await?;
    let pki = DevPki::open(&mesh.mesh.layout.dir.join("pki"))?;
    pki.crl_due(DevAuthority::Party, time::Duration::hours(-1))?;
    eventually("personal data is closed", async || {
        let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
        Ok(reason(&outcome) == Some(Reason::DenyRightsStale))
    })
    .await?;
    let error = mesh.office(GET_CITIZEN, PERSON, &handling()).await?.error.context("it was answered")?;
    ensure!(error.message().contains("provider's certificate"), "{error}");
    pki.crl(DevAuthority::Party)?;
    mesh.until_served().await?;
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_key_is_in_a_token_serves_calls_and_ships() -> Result<()> {
    let Some(hsm) = SoftHsm::within("a_node_whose_key_is_in_a_token_serves_calls_and_ships") else {
        return Ok(());
    };
    let mesh = TestMesh::start_changed(|layout| {
        let (_, config, _) =
            layout.nodes.iter().find(|(code, ..)| code == "H26.90").context("no such node")?;
        let key = Pair::of(config)?.key;
        let token = lienthong_certs::KeySource::from(hsm.token("H26.90", &key));
        fs::remove_file(key)?;
        let mut table: toml::Table = toml::from_str(&fs::read_to_string(config)?)?;
        table.insert("key".to_owned(), toml::Value::try_from(&token)?);
        Ok(fs::write(config, toml::to_string(&table)?)?)
    })
    .await?;
    // Its journal is signed in the token: what it shipped has a receipt.
    let backlog = async || metric(&mesh, "H26.90", "lienthong_node_journal_backlog ").await;
    eventually("its records are on the broker", async || Ok(backlog().await? == 0)).await?;

    hsm.take_away();
    let fresh = async || call::call(&mesh.mesh.client(OFFICE)?, GET_CITIZEN, PERSON, &handling()).await;
    eventually("no handshake without the token", async || {
        Ok(fresh().await.map_or(true, |outcome| outcome.error.is_some()))
    })
    .await?;
    hsm.put_back();
    mesh.until_served().await?;
    eventually("it ships again", async || Ok(backlog().await? == 0)).await?;
    tokio::time::timeout(Duration::from_secs(60), mesh.stop()).await?
}
