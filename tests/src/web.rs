//! A system that speaks plain HTTP: real curl and real `buf curl` at the one-stop shop's node.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, ensure};
use lienthong::client::ClientProfile;
use lienthong_certs::KeySource;
use lienthong_node::{NodeConfig, config::LocalListenerConfig};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{OFFICE, TestMesh};

/// Where a system of a profile calls in plain HTTP, and as whom.
#[derive(Debug, Clone)]
pub struct Web {
    /// Where.
    pub address: SocketAddr,
    server_name: String,
    certificate: PathBuf,
    key: PathBuf,
    trust: PathBuf,
}

/// What curl was answered.
#[derive(Debug)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answered {
    /// The first header of that name; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {self:?}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Web {
    /// The one-stop shop, at its own node.
    pub fn office(mesh: &TestMesh) -> Result<Self> {
        Self::of(mesh, OFFICE)
    }

    /// Whoever has this profile, at the node of the one-stop shop.
    pub fn of(mesh: &TestMesh, profile: &str) -> Result<Self> {
        let layout = &mesh.mesh.layout;
        let read = |name: &str| -> Result<ClientProfile> {
            let path = layout.profiles.get(name).with_context(|| format!("no profile {name}"))?;
            Ok(lienthong_telemetry::load(path)?)
        };
        let (office, who) = (read(OFFICE)?, read(profile)?);
        let node = layout.nodes.iter().find(|(name, ..)| name == "H26.90").context("no node H26.90")?;
        let node: NodeConfig = lienthong_telemetry::load(&node.1)?;
        let Some(LocalListenerConfig::Tls(address)) = node.http_listener else {
            anyhow::bail!("the node of H26.90 serves no plain HTTP over TLS");
        };
        let KeySource::File(key) = who.key else { anyhow::bail!("the key of {profile} is in no file") };
        let trust = who.trust.into_iter().next().context("no authority")?;
        Ok(Self { address, server_name: office.server_name, certificate: who.certificate, key, trust })
    }

    /// Address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.server_name, self.address.port())
    }

    /// Puts certificate, key and authority where the pages' commands look for them.
    pub fn put_files(&self, folder: &std::path::Path) -> Result<()> {
        for (from, name) in
            [(&self.certificate, "system.crt"), (&self.key, "system.key"), (&self.trust, "authority.crt")]
        {
            std::fs::copy(from, folder.join(name))?;
        }
        Ok(())
    }

    /// A curl that is this system; what else it does, the caller adds.
    pub fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--max-time", "60", "--cert"]);
        curl.arg(&self.certificate).arg("--key").arg(&self.key).arg("--cacert").arg(&self.trust);
        curl.args(["--connect-to", &format!("::{}", self.address)]).kill_on_drop(true);
        curl
    }

    /// Posts `body` as `content_type`, with the headers of the trial's purpose and more.
    pub async fn post(&self, path: &str, content_type: &str, more: &[&str], body: &[u8]) -> Result<Answered> {
        let mut curl = self.curl();
        curl.args(["-H", "mesh-purpose: STATE_MANAGEMENT", "-H", &format!("content-type: {content_type}")]);
        for header in more {
            curl.args(["-H", header]);
        }
        curl.args(["--data-binary", "@-"]).arg(self.url(path));
        let done = fed(curl, body).await?;
        answered(&done)
            .with_context(|| format!("{path} with {more:?}: {}", String::from_utf8_lossy(&done.stdout)))
    }

    /// Posts JSON.
    pub async fn json(&self, path: &str, more: &[&str], body: &str) -> Result<Answered> {
        self.post(path, "application/json", more, body.as_bytes()).await
    }

    /// Gets a page.
    pub async fn get(&self, path: &str, more: &[&str]) -> Result<Answered> {
        let mut curl = self.curl();
        for header in more {
            curl.args(["-H", header]);
        }
        curl.arg(self.url(path));
        answered(&fed(curl, b"").await?)
    }

    /// `buf curl`, which learns the method by reflection of this node.
    pub async fn buf(
        &self,
        protocol: &str,
        path: &str,
        more: &[&str],
        messages: &str,
    ) -> Result<(bool, String, String)> {
        let buf = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/buf/node_modules/.bin/buf");
        ensure!(PathBuf::from(buf).exists(), "{buf} is missing; tests/run fetches it");
        let mut command = Command::new(buf);
        command.args([
            "curl",
            "--protocol",
            protocol,
            "--servername",
            &self.server_name,
            "--verbose",
            "--cert",
        ]);
        command.arg(&self.certificate).arg("--key").arg(&self.key).arg("--cacert").arg(&self.trust);
        command.args(["--reflect-header", "mesh-purpose: STATE_MANAGEMENT"]);
        for header in more {
            command.args(["-H", header]);
        }
        command.args(["-H", "mesh-purpose: STATE_MANAGEMENT", "--data", "@-"]);
        command.arg(format!("https://{}{path}", self.address));
        let done = fed(command, messages.as_bytes()).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((done.status.success(), text(&done.stdout), text(&done.stderr)))
    }
}

/// Runs a command on these bytes.
pub async fn fed(mut command: Command, bytes: &[u8]) -> Result<std::process::Output> {
    use std::process::Stdio;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    // Whoever needs no more may stop reading.
    let feeding = async {
        let _ = stdin.write_all(bytes).await;
        drop(stdin);
    };
    let (done, ()) = tokio::join!(child.wait_with_output(), feeding);
    Ok(done?)
}

/// Takes apart what `curl --include` wrote.
pub fn answered(done: &std::process::Output) -> Result<Answered> {
    ensure!(done.status.success(), "curl: {}", String::from_utf8_lossy(&done.stderr));
    let mut rest = &done.stdout[..];
    loop {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status: u16 =
            lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
        if status == 100 {
            continue;
        }
        let pair = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        return Ok(Answered { status, headers: lines.filter_map(pair).collect(), body: rest.to_vec() });
    }
}
