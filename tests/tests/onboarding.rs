//! A new agency comes in: from nothing to its first answered call by commands alone, four eyes on it; each misuse of a
//! token; renewal under load; and the way out.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use lienthong::{
    client::{self, Client, Stated},
    commands::call,
    demo::{
        ports::Ports,
        process::{ReadyAt, Role},
    },
    out,
};
use lienthong_certs::{
    Branch, Credentials, Judge, PeerCertificate, Profile, RevocationLists, TrustAnchors, files, pki::DevPki,
};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_tests::{
    GET_CITIZEN, PERSON, TestMesh, eventually, handling, program,
    records::{closings, records},
};
use lienthong_transport::{Channel, ChannelOptions, Connections, Endpoint, SharedMaterial, TlsMaterial};
use serde_json::Value;
use tokio::process::Command;

const AGENCY: &str = "H29";
const NAME: &str = "Ủy ban nhân dân Thành phố Hồ Chí Minh";
const SERVER_NAME: &str = "n1.h29.demo.invalid";

/// What a scripted onboarding may take at most, approvals included. On an idle machine it takes some seconds.
const ONBOARDING_MS_MAX: u128 = 60_000;

#[tokio::test]
async fn a_new_agency_gets_from_nothing_to_an_answered_call() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let agency = NewAgency::prepare(&mesh).await?;

    let begun = Instant::now();
    let first = agency.onboard(&[]).await?;
    ensure!(first.code == Some(10), "without a token it says what is missing: {first:?}");
    ensure!(first.text.contains("--issuer") && first.text.contains("--subject"), "{first:?}");
    let (node, system) = agency.tokens(&mesh).await?;
    let call = ["--call", GET_CITIZEN, "--data", PERSON, "--purpose", "ADMIN_PROCEDURE"];
    let dossier = ["--dossier", "H29-261121-0001", "--start", "--once"];
    let with_tokens = ["--token-file", text(&node), "--system-token-file", text(&system)];
    let arguments: Vec<&str> = with_tokens.into_iter().chain(call).chain(dossier).collect();
    let (done, approved) = tokio::join!(agency.onboard(&arguments), agency.approve_all(&mesh, 2));
    let (done, _) = (done?, approved?);
    let took = begun.elapsed();
    ensure!(done.code == Some(0), "{done:?}");
    let steps: Vec<String> =
        done.steps().filter_map(|step| step["step"].as_str().map(str::to_owned)).collect();
    let expected = [
        "card",
        "certificate",
        "certificate",
        "config",
        "enroll",
        "enroll",
        "approved",
        "approved",
        "node",
        "profile",
        "call",
    ];
    assert_eq!(steps, expected);
    let call = done.steps().find(|step| step["step"] == "call").context("no call")?;
    assert_eq!(call["facts"]["messages"][0]["citizen"]["hoTen"], "Nguyễn Văn Mẫu");
    // Seen by whoever runs the tests with their output.
    let end = done.steps().last().context("no end")?;
    out::note(&format!("onboarding took {} ms in all; the last command said {end}", took.as_millis()));
    ensure!(took.as_millis() < ONBOARDING_MS_MAX, "{took:?}");

    // The same once more finds everything done; only the node was stopped.
    let again = agency.onboard(&[]).await?;
    ensure!(again.code == Some(10) && again.text.contains("systemd"), "{again:?}");

    let acts = acts(&mesh)?;
    for action in ["enrollment.offer", "enrollment.enroll", "enrollment.approve"] {
        let found = acts.iter().filter(|act| act.starts_with(action)).count();
        assert_eq!(found, 2, "{action} in {acts:?}");
    }
    mesh.stop().await
}

#[tokio::test]
async fn a_token_is_good_once_in_time_for_one_certificate_and_two_operators() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let agency = NewAgency::prepare(&mesh).await?;
    ensure!(agency.onboard(&[]).await?.code == Some(10));
    let unknown = agency
        .enroll(
            &mesh,
            "operator-1",
            &["token", "--agency", "X99", "--node", "n1", "--issuer", "CN=x", "--subject", "CN=y"],
        )
        .await?;
    ensure!(unknown.code == Some(1) && unknown.errors.contains("danh mục"), "both languages: {unknown:?}");

    // Another agency's certificate, another subject's, and one of an authority that nobody knows.
    let (node, _) = agency.tokens(&mesh).await?;
    for (code, id, words) in [("H26", "n1", "names agency H26"), ("H29", "n9", "another subject")] {
        let other =
            NewAgency { code, node: id, dir: agency.home.join(format!("{code}-{id}")), ..agency.clone() };
        let refused = other.onboard(&["--token-file", text(&node)]).await?;
        ensure!(refused.code == Some(1) && refused.errors.contains(words), "{refused:?}");
    }
    let foreign = agency.home.join("foreign");
    DevPki::create(&foreign, "demo")?;
    let stranger = NewAgency { pki: foreign, dir: agency.home.join("stranger"), ..agency.clone() };
    let unheard = stranger.onboard(&["--token-file", text(&node)]).await?;
    ensure!(
        unheard.code == Some(1) && !unheard.errors.contains("token"),
        "no handshake, no word: {unheard:?}"
    );

    // Used, killed, used again.
    let waits = ["--wait-minutes", "0"];
    let enrolled = agency.onboard(&[&["--token-file", text(&node)], &waits[..]].concat()).await?;
    ensure!(enrolled.code == Some(10), "the system has no token yet: {enrolled:?}");
    let mut mesh = mesh;
    mesh.mesh.kill_broker().await?;
    mesh.mesh.start_broker().await?;
    fs::remove_file(agency.dir.join("node.enrollment"))?;
    let again = agency.onboard(&[&["--token-file", text(&node)], &waits[..]].concat()).await?;
    ensure!(again.code == Some(10), "the same certificate gets the same answer after the kill: {again:?}");
    let thief = NewAgency { dir: agency.home.join("thief"), ..agency.clone() };
    let spent = thief.onboard(&["--token-file", text(&node)]).await?;
    ensure!(spent.code == Some(1) && spent.errors.contains("used already"), "{spent:?}");

    // Whoever made the token may look, and not approve.
    let waiting = agency.waiting(&mesh).await?;
    let (name, fingerprint) = waiting.first().context("nothing waits")?;
    let alone = agency.enroll(&mesh, "operator-1", &["approve", name, "--fingerprint", fingerprint]).await?;
    ensure!(alone.code == Some(1) && alone.errors.contains("bốn mắt"), "{alone:?}");
    let unseen = agency.enroll(&mesh, "operator-2", &["approve", name]).await?;
    ensure!(unseen.code == Some(1) && unseen.text.contains(fingerprint.as_str()), "{unseen:?}");
    let wrong =
        agency.enroll(&mesh, "operator-2", &["approve", name, "--fingerprint", &"00".repeat(32)]).await?;
    ensure!(wrong.code == Some(1) && wrong.errors.contains("fingerprint"), "{wrong:?}");
    let rejected =
        agency.enroll(&mesh, "operator-2", &["reject", name, "--reason", "telephone said no"]).await?;
    ensure!(rejected.code == Some(0), "{rejected:?}");
    let told = agency.onboard(&["--token-file", text(&node)]).await?;
    ensure!(told.code == Some(1) && told.errors.contains("telephone said no"), "{told:?}");
    mesh.stop().await
}

#[tokio::test]
async fn a_certificate_is_renewed_under_load_and_unbound_at_once() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let agency = NewAgency::prepare(&mesh).await?;
    ensure!(agency.onboard(&[]).await?.code == Some(10));
    let (node, system) = agency.tokens(&mesh).await?;
    let tokens = ["--token-file", text(&node), "--system-token-file", text(&system)];
    let (enrolled, approved) = tokio::join!(agency.onboard(&tokens), agency.approve_all(&mesh, 2));
    ensure!(enrolled?.code == Some(10), "it was not told to start the node");
    let names = approved?;
    let mut role = agency.run_node().await?;
    ensure!(agency.onboard(&tokens).await?.code == Some(0), "the node runs");
    let client = Client::new(&client::profile(&agency.dir.join("mot-cua.profile.toml"))?)?;
    eventually("the new agency gets an answer", async || answered(&client).await).await?;

    let enrollment =
        names.iter().find(|(holder, _)| holder.contains("/nodes/")).context("no node")?.1.clone();
    renewed_under_load(&agency, &role, &client, &enrollment).await?;
    let client = system_renewed(&agency, &names).await?;
    // The journal ships under the new certificate: a record made now reaches the log.
    let outcome = call::call(&client, GET_CITIZEN, PERSON, &stated()).await?;
    let exchange = outcome.exchange_id.context("no exchange")?;
    eventually("both records of the exchange are in the log", async || {
        Ok(closings(&records(&mesh.mesh.layout.log)?, &exchange)?.len() == 2)
    })
    .await?;
    ensure!(acts(&mesh)?.iter().any(|act| act.starts_with("enrollment.renew")));

    let out =
        agency.enroll(&mesh, "operator-1", &["unbind", &enrollment, "--reason", "key device lost"]).await?;
    ensure!(out.code == Some(0), "{out:?}");
    eventually("no call of the unbound node is answered", async || Ok(!answered(&client).await?)).await?;
    eventually("its watch has ended", async || {
        Ok(fs::read_to_string(agency.dir.join("node.log"))?.contains("the broker is not heard"))
    })
    .await?;
    eventually("the provider cut its connection", async || {
        Ok(mesh.log_of("node-G01")?.contains("the registry no longer binds its certificate as it did"))
    })
    .await?;
    role.kill().await?;
    mesh.stop().await
}

#[tokio::test]
async fn a_provider_comes_in_with_its_contract_while_the_broker_is_killed() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    // A second node for the code lists, before the backend of the first.
    let prepared = NewAgency::prepare(&mesh).await?;
    let agency = NewAgency { code: "G09", node: "n2", dir: prepared.home.join("g09-n2"), ..prepared };
    let layout = &mesh.mesh.layout;
    let backend =
        layout.backends.iter().find(|backend| backend.name == "danhmuc").context("no code lists")?;
    let (contract, address) = (layout.dir.join("contracts/danhmuc.binpb"), backend.address.to_string());
    let publish = [
        "--publish",
        text(&contract),
        "--backend",
        &address,
        "--backend-name",
        "danhmuc.backend.demo.invalid",
    ];
    let asked = agency.onboard_node(&publish).await?;
    ensure!(asked.code == Some(10), "{asked:?}");
    let token = agency.token(&mesh, "node", &["--node", "n2"]).await?;
    let arguments = [&publish[..], &["--token-file", text(&token), "--start", "--once"]].concat();
    let killed_and_approved = async {
        eventually("it waits", async || Ok(agency.waiting(&mesh).await?.len() == 1)).await?;
        mesh.mesh.kill_broker().await?;
        mesh.mesh.start_broker().await?;
        agency.approve_all(&mesh, 1).await
    };
    let (done, approved) = tokio::join!(agency.onboard_node(&arguments), killed_and_approved);
    let (done, _) = (done?, approved?);
    ensure!(done.code == Some(0), "{done:?}");
    let published = done.steps().find(|step| step["step"] == "publish").context("nothing is published")?;
    assert_eq!(published["facts"]["datasets"][0], "danhmuc.dvhc");
    let config = fs::read_to_string(agency.dir.join("node.toml"))?;
    assert_eq!(config.matches("[[backends]]").count(), 1, "once, however often it is run: {config}");
    mesh.stop().await
}

/// The node's certificate is renewed and taken over while calls go on, none of which fails.
async fn renewed_under_load(
    agency: &NewAgency,
    role: &Role,
    client: &Client,
    enrollment: &str,
) -> Result<()> {
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (client, stop, calls) = (client.clone(), Arc::clone(&stop), Arc::clone(&calls));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let outcome = call::call(&client, GET_CITIZEN, PERSON, &stated()).await?;
                ensure!(outcome.error.is_none(), "a call failed: {:?}", outcome.error);
                calls.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    });
    let before = fs::read(agency.dir.join("node.crt"))?;
    let next_key = agency.dir.join("next.key");
    let config = agency.dir.join("node.toml");
    let renewed = agency
        .command(&[
            "enroll",
            "renew",
            "--config",
            text(&config),
            "--enrollment",
            enrollment,
            "--key",
            text(&next_key),
            "--development-ca",
            text(&agency.pki),
        ])
        .await?;
    ensure!(renewed.code == Some(0), "{renewed:?}");
    ensure!(fs::read(agency.dir.join("node.crt"))? != before, "the file was replaced");
    hang_up(role).await?;
    let fingerprint = fingerprint_of(&agency.dir.join("node.crt"))?;
    eventually("the node shows its new certificate", async || Ok(presented(agency).await? == fingerprint))
        .await?;
    let at_change = calls.load(Ordering::Relaxed);
    eventually("calls go on", async || Ok(calls.load(Ordering::Relaxed) > at_change + 20)).await?;
    stop.store(true, Ordering::Relaxed);
    load.await??;
    Ok(())
}

/// The system's certificate is renewed too; a client of it, under the new one.
async fn system_renewed(agency: &NewAgency, names: &[(String, String)]) -> Result<Client> {
    let enrollment = &names.iter().find(|(holder, _)| holder.contains("/systems/")).context("no system")?.1;
    let profile = agency.dir.join("mot-cua.profile.toml");
    let next_key = agency.dir.join("next-mot-cua.key");
    let renewed = agency
        .command(&[
            "enroll",
            "renew",
            "--profile",
            text(&profile),
            "--card",
            text(&agency.card),
            "--enrollment",
            enrollment,
            "--key",
            text(&next_key),
            "--development-ca",
            text(&agency.pki),
        ])
        .await?;
    ensure!(renewed.code == Some(0), "{renewed:?}");
    let client = Client::new(&client::profile(&profile)?)?;
    eventually("the system calls under its new certificate", async || answered(&client).await).await?;
    Ok(client)
}

/// A new agency's administrator, with a folder of his own.
#[derive(Clone)]
struct NewAgency {
    code: &'static str,
    node: &'static str,
    home: PathBuf,
    dir: PathBuf,
    card: PathBuf,
    pki: PathBuf,
    mesh_address: SocketAddr,
    local_address: SocketAddr,
    admin_address: SocketAddr,
    /// Nobody else's while this lives.
    _ports: Arc<Ports>,
}

/// What a command came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    text: String,
    errors: String,
}

impl Ran {
    fn steps(&self) -> impl Iterator<Item = Value> + use<'_> {
        self.text.lines().filter_map(|line| serde_json::from_str(line).ok())
    }
}

impl NewAgency {
    async fn prepare(mesh: &TestMesh) -> Result<Self> {
        let home = mesh.folder.path().join("new");
        fs::create_dir(&home)?;
        let mut ports = Ports::reserve(3)?;
        let agency = Self {
            code: AGENCY,
            node: "n1",
            dir: home.join("node"),
            card: home.join("card.toml"),
            pki: mesh.mesh.layout.dir.join("pki"),
            home,
            mesh_address: ports.take()?,
            local_address: ports.take()?,
            admin_address: ports.take()?,
            _ports: Arc::new(ports),
        };
        let operator = client::profile(&mesh.mesh.layout.profiles["operator-1"])?;
        let config = mesh.mesh.layout.dir.join("config/broker.toml");
        let card = agency
            .command(&[
                "enroll",
                "card",
                "--config",
                text(&config),
                "--address",
                &operator.node,
                "--server-name",
                &operator.server_name,
                "--out",
                text(&agency.card),
            ])
            .await?;
        ensure!(card.code == Some(0), "{card:?}");
        Ok(agency)
    }

    /// Node and system.
    async fn onboard(&self, more: &[&str]) -> Result<Ran> {
        self.onboard_node(&[&["--system", "mot-cua"], more].concat()).await
    }

    /// The node alone.
    async fn onboard_node(&self, more: &[&str]) -> Result<Ran> {
        let (mesh, local, admin) =
            (self.mesh_address.to_string(), self.local_address.to_string(), self.admin_address.to_string());
        let mut arguments = vec![
            "onboard",
            "--json",
            "--dir",
            text(&self.dir),
            "--card",
            text(&self.card),
            "--agency",
            self.code,
            "--agency-name",
            NAME,
            "--node",
            self.node,
            "--address",
            &mesh,
            "--server-name",
            SERVER_NAME,
            "--local-listen",
            &local,
            "--admin-listen",
            &admin,
            "--development-ca",
            text(&self.pki),
        ];
        arguments.extend(more);
        self.command(&arguments).await
    }

    async fn enroll(&self, mesh: &TestMesh, operator: &str, arguments: &[&str]) -> Result<Ran> {
        let profile = &mesh.mesh.layout.profiles[operator];
        let all = [&["enroll"], arguments, &["--profile", text(profile), "--json"]].concat();
        self.command(&all).await
    }

    /// Tokens for the node and the system, each in a file.
    async fn tokens(&self, mesh: &TestMesh) -> Result<(PathBuf, PathBuf)> {
        let node = self.token(mesh, "node", &["--node", self.node]).await?;
        Ok((node, self.token(mesh, "mot-cua", &["--system", "mot-cua"]).await?))
    }

    /// A token for one whose files begin with `stem`, in a file.
    async fn token(&self, mesh: &TestMesh, stem: &str, holder: &[&str]) -> Result<PathBuf> {
        let certificate = self.dir.join(format!("{stem}.crt"));
        let arguments =
            [&["token", "--agency", self.code], holder, &["--certificate", text(&certificate)]].concat();
        let ran = self.enroll(mesh, "operator-1", &arguments).await?;
        let made = ran.steps().next().with_context(|| format!("{ran:?}"))?;
        let file = self.home.join(format!("{stem}.token"));
        fs::write(&file, made["token"].as_str().with_context(|| format!("{ran:?}"))?)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(file)
    }

    /// Names and fingerprints of what waits.
    async fn waiting(&self, mesh: &TestMesh) -> Result<Vec<(String, String)>> {
        let ran = self.enroll(mesh, "operator-2", &["list", "--state", "waiting"]).await?;
        let listed = ran.steps().next().with_context(|| format!("{ran:?}"))?;
        let all = listed["enrollments"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(all.iter().map(|one| (text(&one["name"]), text(&one["certificate"]["fingerprint"]))).collect())
    }

    /// Approves as the second operator until so many are approved; answers holder and name of each.
    async fn approve_all(&self, mesh: &TestMesh, count: usize) -> Result<Vec<(String, String)>> {
        let mut approved = Vec::new();
        eventually("all are approved", async || {
            for (name, fingerprint) in self.waiting(mesh).await? {
                let arguments = ["approve", &name, "--fingerprint", &fingerprint];
                let ran = self.enroll(mesh, "operator-2", &arguments).await?;
                ensure!(ran.code == Some(0), "{ran:?}");
                let one = ran.steps().next().context("no answer")?;
                approved.push((one["holder"].as_str().unwrap_or_default().to_owned(), name));
            }
            Ok(approved.len() == count)
        })
        .await?;
        Ok(approved)
    }

    async fn run_node(&self) -> Result<Role> {
        let config = self.dir.join("node.toml");
        let arguments = ["node", "run", "--config", text(&config)];
        let mut role =
            Role::start(&program()?, "node", &arguments, &self.dir, ReadyAt::Admin(self.admin_address))?;
        role.ready().await?;
        Ok(role)
    }

    async fn command(&self, arguments: &[&str]) -> Result<Ran> {
        let output = Command::new(program()?).args(arguments).kill_on_drop(true).output().await?;
        Ok(Ran {
            code: output.status.code(),
            text: String::from_utf8(output.stdout)?,
            errors: String::from_utf8(output.stderr)?,
        })
    }
}

/// What the new agency's clerk states.
fn stated() -> Stated {
    Stated { dossier: Some("H29-261121-0001".to_owned()), ..handling() }
}

async fn answered(client: &Client) -> Result<bool> {
    Ok(call::call(client, GET_CITIZEN, PERSON, &stated()).await?.error.is_none())
}

/// Sends SIGHUP.
async fn hang_up(role: &Role) -> Result<()> {
    let pid = role.pid().context("the node has ended")?.to_string();
    let sent = Command::new("kill").args(["-HUP", &pid]).status().await?;
    ensure!(sent.success(), "kill -HUP {pid}");
    Ok(())
}

fn fingerprint_of(certificate: &Path) -> Result<[u8; 32]> {
    Ok(PeerCertificate::read(&files::certificates(certificate)?)?.fingerprint())
}

/// Fingerprint of the certificate that the node shows to one of its systems.
async fn presented(agency: &NewAgency) -> Result<[u8; 32]> {
    let profile = client::profile(&agency.dir.join("mot-cua.profile.toml"))?;
    let credentials = Credentials::open(&profile.certificate, &profile.key)?;
    let anchors: Vec<_> = profile.trust.iter().map(|path| (Branch::State, path.clone())).collect();
    let anchors = TrustAnchors::load(&anchors)?;
    let judge = Judge::new(anchors, RevocationLists::empty(), Profile::development())?;
    let endpoint = Endpoint::Mesh {
        address: profile.node,
        server_name: Some(profile.server_name),
        material: SharedMaterial::new(TlsMaterial::new(&credentials, judge)?),
    };
    let channel: Channel<tonic::body::Body> = Channel::new(endpoint, ChannelOptions::new(Connections::new()));
    let peer = channel.connected().await?;
    Ok(peer.certificate().context("no certificate was shown")?.fingerprint())
}

/// The acts of enrollment in the log: action and resource.
fn acts(mesh: &TestMesh) -> Result<Vec<String>> {
    let acts = records(&mesh.mesh.layout.log)?.into_iter().filter_map(|record| match record.body {
        Some(Body::Administration(act)) => Some(format!("{} {}", act.action, act.resource)),
        _ => None,
    });
    Ok(acts.collect())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
