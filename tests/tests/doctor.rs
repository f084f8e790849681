//! `lienthong doctor` against a running mesh in which one thing at a time is broken: the check that names it fails,
//! with a fix in both languages, and so does the program.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use lienthong::client::{self, ClientProfile};
use lienthong_certs::{
    judge::RevocationReason,
    pki::{DevPki, Holder, Request},
};
use lienthong_proto::descriptors;
use lienthong_tests::{GET_CITIZEN, OFFICE, TestMesh, eventually, program};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

/// The clerk's call, as the doctor takes it.
const CALL: [&str; 6] =
    ["--method", GET_CITIZEN, "--purpose", "ADMIN_PROCEDURE", "--dossier", "H26.90-261121-0001"];

#[tokio::test]
async fn an_integrator_learns_what_is_wrong_and_what_to_do() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    let bench = Bench::new(&mesh)?;
    let good = bench.office.clone();

    let well = bench.examine(&good, &CALL)?;
    for check in [
        "key",
        "certificate",
        "validity",
        "chain",
        "tls",
        "clock",
        "registry",
        "bundle",
        "right",
        "deadline",
        "health",
    ] {
        assert_eq!(well.status(check)?, "ok", "{check}: {}", well.0);
    }
    assert!(well.is_well() && well.seen("right")?.contains("noi_thuong_tru"), "{}", well.0);

    // The way to the node.
    let foreign = DevPki::create(&bench.folder.join("foreign"), "demo")?;
    let trust = foreign.trust_files().into_iter().map(|(_, path)| path).take(1).collect();
    bench.examine(&ClientProfile { trust, ..good.clone() }, &CALL)?.fails("tls", "trust")?;
    let other_name = ClientProfile { server_name: "n2.demo.invalid".to_owned(), ..good.clone() };
    bench.examine(&other_name, &CALL)?.fails("tls", "server_name")?;
    let nowhere = ClientProfile { node: unused_port()?, ..good.clone() };
    let report = bench.examine(&nowhere, &CALL)?;
    report.fails("tcp", "firewall")?;
    assert_eq!((report.status("tls")?, report.status("right")?), ("skip", "skip"), "{}", report.0);
    let no_name = ClientProfile { node: "no.such.host.invalid:7080".to_owned(), ..good.clone() };
    bench.examine(&no_name, &CALL)?.fails("name", "resolver")?;

    // The own certificate.
    let loose = bench.folder.join("loose.key");
    fs::copy(good.key.file().context("no file")?, &loose)?;
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o644))?;
    bench.examine(&ClientProfile { key: loose.into(), ..good.clone() }, &CALL)?.fails("key", "chmod 600")?;
    let now = OffsetDateTime::now_utc();
    let expired = bench.issue("het-han", now - Duration::days(9), now - Duration::days(1))?;
    let report = bench.examine(&expired, &CALL)?;
    report.fails("validity", "renew")?;
    report.fails("tls", "renew")?;
    let unbound = bench.issue("la", now - Duration::days(1), now + Duration::days(10))?;
    let report = bench.examine(&unbound, &CALL)?;
    report.fails("registry", "DENY_CERTIFICATE")?;
    assert_eq!(report.status("validity")?, "warn", "10 days are left: {}", report.0);
    assert_eq!(report.status("right")?, "skip", "{}", report.0);

    // The call.
    let curious = ["--method", GET_CITIZEN, "--purpose", "STATISTICS"];
    bench.examine(&good, &curious)?.fails("right", "docs/errors/DENY_PURPOSE.md")?;
    let unknown = ["--method", "/vn.dancu.v1.CitizenService/DropEverything", "--purpose", "STATISTICS"];
    bench.examine(&good, &unknown)?.fails("right", "DENY_UNKNOWN_METHOD")?;
    bench.compares_contracts(&good)?;

    // The provider's backend: the node keeps what it heard of it for a moment.
    mesh.mesh.stop_backend("dancu").await?;
    eventually("the node has heard that the backend is away", async || {
        Ok(bench.examine(&good, &CALL)?.fails("health", "backend").is_ok())
    })
    .await?;

    a_revoked_certificate_is_told(&mut mesh, &bench).await?;
    mesh.stop().await
}

#[tokio::test]
async fn an_operator_learns_what_is_wrong_and_what_to_do() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    let configs = mesh.mesh.layout.dir.join("config");
    let config = configs.join("node-G01.toml");
    let well = doctor(&["--config", text(&config)?])?;
    for check in [
        "configuration",
        "key",
        "chain",
        "revocation",
        "tls",
        "process",
        "clock",
        "registry",
        "bundle",
        "health",
        "journal",
        "disk",
    ] {
        assert_eq!(well.status(check)?, "ok", "{check}: {}", well.0);
    }

    // A backend that is away.
    let changed = configs.join("changed.toml");
    let written = fs::read_to_string(&config)?;
    let backend = address_of(&written, "[backends.endpoint.tls]")?;
    fs::write(&changed, written.replace(&backend, &unused_port()?))?;
    let report = doctor(&["--config", text(&changed)?])?;
    report.fails("tcp", "other side runs")?;
    report.fails("health", "backend")?;

    // A configuration that names what is not there, and one of a node that does not run.
    fs::write(&changed, written.replace("dancu.binpb", "nowhere.binpb"))?;
    doctor(&["--config", text(&changed)?])?.fails("configuration", "nowhere.binpb")?;
    mesh.mesh.stop_node("G01").await?;
    doctor(&["--config", text(&config)?])?.fails("process", "start the node")?;

    // The broker's clock was a minute ahead of this one's.
    let freshness = mesh.mesh.layout.dir.join("nodes/H26.90/freshness.toml");
    mesh.mesh.stop_node("H26.90").await?;
    let kept = fs::read_to_string(&freshness)?;
    change_number(&freshness, "broker_time_max_ms", |time| time + 60_000)?;
    let config = configs.join("node-H26.90.toml");
    doctor(&["--config", text(&config)?])?.fails("clock", "NTP")?;
    mesh.mesh.start_node("H26.90").await?;
    let profile = mesh.mesh.layout.profiles[OFFICE].clone();
    let arguments = [&["--profile", text(&profile)?][..], &CALL].concat();
    let report = doctor(&arguments)?;
    report.fails("clock", "DENY_CLOCK")?;
    report.fails("right", "DENY_CLOCK")?;

    // 25 hours without the broker.
    mesh.mesh.stop_broker().await?;
    mesh.mesh.stop_node("H26.90").await?;
    fs::write(&freshness, kept)?;
    change_number(&freshness, "age_ms", |_| 90_000_000)?;
    let report = doctor(&["--config", text(&config)?])?;
    report.fails("bundle", "DENY_RIGHTS_STALE")?;
    report.fails("tcp", "other side runs")?;
    mesh.mesh.start_node("H26.90").await?;
    let report = doctor(&arguments)?;
    report.fails("bundle", "broker")?;
    report.fails("right", "DENY_RIGHTS_STALE")?;
    mesh.stop().await
}

#[test]
fn a_report_is_in_the_language_of_its_reader() -> Result<()> {
    let profile = ClientProfile {
        node: unused_port()?,
        server_name: "n.invalid".to_owned(),
        certificate: "none.crt".into(),
        key: "none.key".into(),
        trust: Vec::new(),
        development: false,
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("profile.toml");
    fs::write(&file, toml_of(&profile)?)?;
    let say = |environment: &str, arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(program()?);
        command.args(["doctor", "--profile", text(&file)?]).args(arguments).env("LC_ALL", environment);
        Ok(String::from_utf8(command.output()?.stdout)?)
    };
    let (vi, en, both) = (say("vi_VN.UTF-8", &[])?, say("en_US.UTF-8", &[])?, say("C", &[])?);
    assert!(vi.contains("Khóa riêng") && !vi.contains("Private key"), "{vi}");
    assert!(en.contains("Private key") && !en.contains("Khóa riêng"), "{en}");
    assert!(both.contains("Khóa riêng / Private key"), "{both}");
    assert_eq!(say("vi_VN.UTF-8", &["--lang", "en"])?, en);
    assert!(!both.contains('\u{1b}'), "colour is for terminals");
    Ok(())
}

/// Last of all: the list stays.
async fn a_revoked_certificate_is_told(mesh: &mut TestMesh, bench: &Bench) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    let revoked = bench.issue("thu-hoi", now - Duration::days(1), now + Duration::days(100))?;
    let binding = lienthong_certs::Credentials::open(&revoked.certificate, &revoked.key)?;
    bench.pki.revoke(binding.certificate().binding(), RevocationReason::KeyCompromise)?;
    let mut lists = Vec::new();
    // The profile trusts state agencies; the Party's list would be a stranger's.
    for list in
        bench.pki.crl_files().iter().filter(|list| list.ends_with("state.crl") || list.ends_with("root.crl"))
    {
        lists.extend(["--crl".to_owned(), list.display().to_string()]);
    }
    let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
    bench.examine(&revoked, &lists)?.fails("revocation", "new certificate")?;
    bench
        .examine(&bench.office, &["--crl", text(&bench.office.certificate)?])?
        .fails("chain", "revocation list given")?;
    mesh.mesh.stop_broker().await?;
    mesh.mesh.start_broker().await?;
    eventually("the node has heard of the revocation", async || {
        Ok(bench.examine(&revoked, &[])?.fails("tls", "CertificateRevoked").is_ok())
    })
    .await
}

/// What the tests of an integrator's doctor share.
struct Bench {
    folder: PathBuf,
    pki: DevPki,
    office: ClientProfile,
}

impl Bench {
    fn new(mesh: &TestMesh) -> Result<Self> {
        let folder = mesh.folder.path().join("bench");
        fs::create_dir(&folder)?;
        let pki = DevPki::open(&mesh.mesh.layout.dir.join("pki"))?;
        Ok(Self { folder, pki, office: client::profile(&mesh.mesh.layout.profiles[OFFICE])? })
    }

    fn examine(&self, profile: &ClientProfile, arguments: &[&str]) -> Result<Report> {
        let file = self.folder.join("profile.toml");
        fs::write(&file, toml_of(profile)?)?;
        doctor(&[&["--profile", text(&file)?][..], arguments].concat())
    }

    /// A profile with a certificate of its own, which no registry binds.
    fn issue(&self, system: &str, from: OffsetDateTime, to: OffsetDateTime) -> Result<ClientProfile> {
        let holder = Holder::System {
            agency_code: "H26.90".to_owned(),
            agency_name: "Trung tâm Phục vụ hành chính công".to_owned(),
            system_id: system.to_owned(),
        };
        let issued = self.pki.issue(&Request::new(holder).with_validity(from, to))?;
        Ok(ClientProfile { certificate: issued.certificate, key: issued.key.into(), ..self.office.clone() })
    }

    fn compares_contracts(&self, profile: &ClientProfile) -> Result<()> {
        let file = self.folder.join("contract.binpb");
        let with = |bytes: &[u8]| -> Result<Report> {
            fs::write(&file, bytes)?;
            self.examine(profile, &[&CALL[..], &["--contract", text(&file)?]].concat())
        };
        let same = with(descriptors::DANCU)?;
        assert_eq!(same.status("contract")?, "ok", "{}", same.0);
        let other = with(descriptors::DKDN)?;
        assert_eq!(other.status("contract")?, "warn", "{}", other.0);
        assert!(other.is_well(), "another version may do: {}", other.0);
        with(b"rubbish")?.fails("contract", "pull")
    }
}

/// What the doctor said.
struct Report(Value);

impl Report {
    fn is_well(&self) -> bool {
        self.0["ok"] == true
    }

    /// The worst finding of a check.
    fn worst(&self, check: &str) -> Result<&Value> {
        let of = self.0["checks"].as_array().context("no checks")?.iter().filter(|one| one["check"] == check);
        let order =
            |one: &&Value| ["skip", "ok", "warn", "fail"].iter().position(|status| one["status"] == *status);
        of.max_by_key(order).with_context(|| format!("no check {check}: {}", self.0))
    }

    fn status(&self, check: &str) -> Result<&str> {
        self.worst(check)?["status"].as_str().context("no status")
    }

    fn seen(&self, check: &str) -> Result<String> {
        Ok(self.worst(check)?["seen"].to_string())
    }

    /// Fails unless the check failed, in both languages, with a fix, and with these words.
    fn fails(&self, check: &str, words: &str) -> Result<()> {
        let finding = self.worst(check)?;
        ensure!(finding["status"] == "fail" && !self.is_well(), "{check} does not fail: {}", self.0);
        let fix = finding["fix"]["vi"].as_str().context("no fix in Vietnamese")?;
        ensure!(!fix.is_empty() && finding["seen"]["vi"] != finding["seen"]["en"], "{finding}");
        ensure!(finding.to_string().contains(words), "{check} does not say {words}: {finding}");
        Ok(())
    }
}

fn doctor(arguments: &[&str]) -> Result<Report> {
    let output = Command::new(program()?).args(["doctor", "--json"]).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&said)
        .with_context(|| format!("{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr)))?;
    let report = Report(report);
    ensure!(output.status.success() == report.is_well(), "the exit code is not the report's: {}", report.0);
    Ok(report)
}

/// An address where nobody listens.
fn unused_port() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// The `address` below a heading of a configuration.
fn address_of(config: &str, heading: &str) -> Result<String> {
    let (_, below) = config.split_once(heading).with_context(|| format!("no {heading}"))?;
    let (_, from) = below.split_once("address = \"").context("no address")?;
    Ok(from.split('"').next().unwrap_or_default().to_owned())
}

fn change_number(path: &Path, key: &str, change: impl Fn(u64) -> u64) -> Result<()> {
    let mut lines = Vec::new();
    for line in fs::read_to_string(path)?.lines() {
        lines.push(match line.split_once(" = ") {
            Some((name, number)) if name == key => format!("{key} = {}", change(number.parse()?)),
            _ => line.to_owned(),
        });
    }
    Ok(fs::write(path, lines.join("\n"))?)
}

fn toml_of(profile: &ClientProfile) -> Result<String> {
    let json = serde_json::to_value(profile)?;
    let lines = json.as_object().context("no profile")?.iter().map(|(key, value)| format!("{key} = {value}"));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
