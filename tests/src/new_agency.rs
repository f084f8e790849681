//! An agency that comes in: its administrator's folder and commands, and its node.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use lienthong::{
    client::{self, Client, Stated},
    commands::call,
    demo::{
        ports::Ports,
        process::{ReadyAt, Role},
    },
};
use lienthong_certs::{
    Branch, Credentials, Judge, PeerCertificate, Profile, RevocationLists, TrustAnchors, files,
};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_transport::{Channel, ChannelOptions, Connections, Endpoint, SharedMaterial, TlsMaterial};
use serde_json::Value;
use tokio::process::Command;

use crate::{GET_CITIZEN, PERSON, TestMesh, eventually, handling, program, records::records};

/// The agency that comes in.
pub const AGENCY: &str = "H29";
const NAME: &str = "Ủy ban nhân dân Thành phố Hồ Chí Minh";
const SERVER_NAME: &str = "n1.h29.demo.invalid";

/// A new agency's administrator, with a folder of his own.
#[derive(Clone)]
pub struct NewAgency {
    /// Code of the agency.
    pub code: &'static str,
    /// Id of its node.
    pub node: &'static str,
    /// Folder of everything.
    pub home: PathBuf,
    /// Folder of the node.
    pub dir: PathBuf,
    /// The mesh's card.
    pub card: PathBuf,
    /// Who certifies.
    pub pki: PathBuf,
    /// For other nodes.
    pub mesh_address: SocketAddr,
    /// For own systems.
    pub local_address: SocketAddr,
    /// For the administrator.
    pub admin_address: SocketAddr,
    /// Nobody else's while this lives.
    pub ports: Arc<Ports>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub text: String,
    /// What it said beside it.
    pub errors: String,
}

impl Ran {
    /// The objects that it printed, one a step.
    pub fn steps(&self) -> impl Iterator<Item = Value> + use<'_> {
        self.text.lines().filter_map(|line| serde_json::from_str(line).ok())
    }
}

impl NewAgency {
    /// An agency with the mesh's card, and nothing else yet.
    pub async fn prepare(mesh: &TestMesh) -> Result<Self> {
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
            ports: Arc::new(ports),
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
    pub async fn onboard(&self, more: &[&str]) -> Result<Ran> {
        self.onboard_node(&[&["--system", "mot-cua"], more].concat()).await
    }

    /// The node alone.
    pub async fn onboard_node(&self, more: &[&str]) -> Result<Ran> {
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

    /// `lienthong enroll` as an operator.
    pub async fn enroll(&self, mesh: &TestMesh, operator: &str, arguments: &[&str]) -> Result<Ran> {
        let profile = &mesh.mesh.layout.profiles[operator];
        let all = [&["enroll"], arguments, &["--profile", text(profile), "--json"]].concat();
        self.command(&all).await
    }

    /// Tokens for the node and the system, each in a file.
    pub async fn tokens(&self, mesh: &TestMesh) -> Result<(PathBuf, PathBuf)> {
        let node = self.token(mesh, "node", &["--node", self.node]).await?;
        Ok((node, self.token(mesh, "mot-cua", &["--system", "mot-cua"]).await?))
    }

    /// A token for one whose files begin with `stem`, in a file.
    pub async fn token(&self, mesh: &TestMesh, stem: &str, holder: &[&str]) -> Result<PathBuf> {
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
    pub async fn waiting(&self, mesh: &TestMesh) -> Result<Vec<(String, String)>> {
        let ran = self.enroll(mesh, "operator-2", &["list", "--state", "waiting"]).await?;
        let listed = ran.steps().next().with_context(|| format!("{ran:?}"))?;
        let all = listed["enrollments"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(all.iter().map(|one| (text(&one["name"]), text(&one["certificate"]["fingerprint"]))).collect())
    }

    /// Approves as the second operator until so many are approved; answers holder and name of each.
    pub async fn approve_all(&self, mesh: &TestMesh, count: usize) -> Result<Vec<(String, String)>> {
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

    /// Starts the node.
    pub async fn run_node(&self) -> Result<Role> {
        let config = self.dir.join("node.toml");
        let arguments = ["node", "run", "--config", text(&config)];
        let mut role =
            Role::start(&program()?, "node", &arguments, &self.dir, ReadyAt::Admin(self.admin_address))?;
        role.ready().await?;
        Ok(role)
    }

    /// Runs the program to its end.
    pub async fn command(&self, arguments: &[&str]) -> Result<Ran> {
        let output = Command::new(program()?).args(arguments).kill_on_drop(true).output().await?;
        Ok(Ran {
            code: output.status.code(),
            text: String::from_utf8(output.stdout)?,
            errors: String::from_utf8(output.stderr)?,
        })
    }
}

/// What the new agency's clerk states.
pub fn stated() -> Stated {
    Stated { dossier: Some("H29-261121-0001".to_owned()), ..handling() }
}

/// Whether a call of the agency is answered.
pub async fn answered(client: &Client) -> Result<bool> {
    Ok(call::call(client, GET_CITIZEN, PERSON, &stated()).await?.error.is_none())
}

/// Sends SIGHUP.
pub async fn hang_up(role: &Role) -> Result<()> {
    let pid = role.pid().context("the node has ended")?.to_string();
    let sent = Command::new("kill").args(["-HUP", &pid]).status().await?;
    ensure!(sent.success(), "kill -HUP {pid}");
    Ok(())
}

/// Fingerprint of the first certificate in a file.
pub fn fingerprint_of(certificate: &Path) -> Result<[u8; 32]> {
    Ok(PeerCertificate::read(&files::certificates(certificate)?)?.fingerprint())
}

/// Fingerprint of the certificate that the node shows to one of its systems.
pub async fn presented(agency: &NewAgency) -> Result<[u8; 32]> {
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
pub fn acts(mesh: &TestMesh) -> Result<Vec<String>> {
    let acts = records(&mesh.mesh.layout.log)?.into_iter().filter_map(|record| match record.body {
        Some(Body::Administration(act)) => Some(format!("{} {}", act.action, act.resource)),
        _ => None,
    });
    Ok(acts.collect())
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
