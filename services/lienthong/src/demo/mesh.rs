//! The demo's mesh: its processes, and clients of its nodes.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use lienthong_certs::KeySource;
use lienthong_node::{NodeConfig, config::LocalListenerConfig};

use crate::{
    client::{self, Client, ClientProfile},
    demo::{
        layout::Layout,
        process::{ReadyAt, Role},
    },
};

/// Profile and node of the one-stop shop.
const OFFICE: &str = "H26.90-mot-cua";
const OFFICE_NODE: &str = "H26.90";

/// A running mesh.
pub struct Mesh {
    /// What it was made from.
    pub layout: Layout,
    program: PathBuf,
    broker: Option<Role>,
    witnesses: Vec<Role>,
    nodes: Vec<Role>,
    backends: Vec<Role>,
    gateway: Option<Role>,
    took_ms: u128,
}

impl Mesh {
    /// Starts every role of `program` and waits until all are ready.
    pub async fn start(layout: Layout, program: PathBuf) -> Result<Self> {
        let begun = Instant::now();
        let mut mesh = Self {
            layout,
            program,
            broker: None,
            witnesses: Vec::new(),
            nodes: Vec::new(),
            backends: Vec::new(),
            gateway: None,
            took_ms: 0,
        };
        // First, for the broker asks them what they have seen before it opens its log.
        for place in 0..mesh.layout.witnesses.len() {
            let witness = mesh.spawn_witness(place)?;
            mesh.witnesses.push(witness);
        }
        for place in 0..mesh.layout.backends.len() {
            let backend = mesh.spawn_backend(place)?;
            mesh.backends.push(backend);
        }
        mesh.start_broker().await?;
        for place in 0..mesh.layout.nodes.len() {
            let node = mesh.spawn_node(place)?;
            mesh.nodes.push(node);
        }
        mesh.gateway = mesh.spawn_gateway()?;
        let roles = mesh.backends.iter_mut().chain(&mut mesh.nodes).chain(&mut mesh.witnesses);
        for role in roles.chain(&mut mesh.gateway) {
            role.ready().await?;
        }
        mesh.took_ms = begun.elapsed().as_millis();
        Ok(mesh)
    }

    /// Starts the broker and waits until it is ready.
    pub async fn start_broker(&mut self) -> Result<()> {
        self.layout.approve_catalog()?;
        let (config, admin) = &self.layout.broker;
        let arguments = ["broker", "run", "--config", text(config)?];
        let mut broker =
            Role::start(&self.program, "broker", &arguments, &self.layout.logs, ReadyAt::Admin(*admin))?;
        broker.ready().await?;
        self.broker = Some(broker);
        Ok(())
    }

    /// Stops the broker; the exchange goes on.
    pub async fn stop_broker(&mut self) -> Result<()> {
        match self.broker.take() {
            Some(mut broker) => broker.stop().await,
            None => Ok(()),
        }
    }

    /// Has the broker read again what its operator declares: catalog, registry, revocation lists.
    pub async fn reload_broker(&self) -> Result<()> {
        self.layout.approve_catalog()?;
        self.signal_broker("-HUP").await
    }

    /// Halts the broker's process where it stands, or lets it go on: its connections stay open and nothing answers.
    pub async fn halt_broker(&self, halt: bool) -> Result<()> {
        self.signal_broker(if halt { "-STOP" } else { "-CONT" }).await
    }

    async fn signal_broker(&self, signal: &str) -> Result<()> {
        let pid = self.broker.as_ref().and_then(Role::pid).context("the broker is not running")?;
        let told = tokio::process::Command::new("kill").args([signal, &pid.to_string()]).status().await?;
        anyhow::ensure!(told.success(), "the broker could not be signalled: {told}");
        Ok(())
    }

    /// Restarts one node: stopped in order, or killed.
    pub async fn restart_node(&mut self, code: &str, kill: bool) -> Result<()> {
        if kill {
            self.kill_node(code).await?;
        } else {
            self.stop_node(code).await?;
        }
        self.start_node(code).await
    }

    /// Kills one node, as a power cut would.
    pub async fn kill_node(&mut self, code: &str) -> Result<()> {
        let place = self.place_of(code)?;
        self.nodes.get_mut(place).context("the node is not running")?.kill().await
    }

    /// Process id of one node, while it runs.
    pub fn node_pid(&self, code: &str) -> Result<u32> {
        let node = self.nodes.get(self.place_of(code)?);
        node.and_then(Role::pid).with_context(|| format!("the node of {code} is not running"))
    }

    /// Stops one node in order.
    pub async fn stop_node(&mut self, code: &str) -> Result<()> {
        let place = self.place_of(code)?;
        self.nodes.get_mut(place).context("the node is not running")?.stop().await
    }

    /// Starts one node again.
    pub async fn start_node(&mut self, code: &str) -> Result<()> {
        let place = self.place_of(code)?;
        let mut started = self.spawn_node(place)?;
        started.ready().await?;
        self.nodes[place] = started;
        Ok(())
    }

    fn spawn_gateway(&self) -> Result<Option<Role>> {
        let Some(gateway) = &self.layout.gateway else { return Ok(None) };
        let arguments = ["gateway", "run", "--config", text(&gateway.config)?];
        let ready = ReadyAt::Admin(gateway.admin);
        Role::start(&self.program, "gateway", &arguments, &self.layout.logs, ready).map(Some)
    }

    /// Stops one witness in order.
    pub async fn stop_witness(&mut self, id: &str) -> Result<()> {
        let place = self.place_of_witness(id)?;
        self.witnesses.get_mut(place).context("the witness is not running")?.stop().await
    }

    /// Kills one witness, as a power cut would.
    pub async fn kill_witness(&mut self, id: &str) -> Result<()> {
        let place = self.place_of_witness(id)?;
        self.witnesses.get_mut(place).context("the witness is not running")?.kill().await
    }

    /// Starts one witness again.
    pub async fn start_witness(&mut self, id: &str) -> Result<()> {
        let place = self.place_of_witness(id)?;
        let mut started = self.spawn_witness(place)?;
        started.ready().await?;
        self.witnesses[place] = started;
        Ok(())
    }

    fn place_of_witness(&self, id: &str) -> Result<usize> {
        let place = self.layout.witnesses.iter().position(|witness| witness.id == id);
        place.with_context(|| format!("the mesh has no witness {id}"))
    }

    fn spawn_witness(&self, place: usize) -> Result<Role> {
        let witness = &self.layout.witnesses[place];
        let arguments = ["witness", "run", "--config", text(&witness.config)?];
        let name = format!("witness-{}", witness.id);
        Role::start(&self.program, &name, &arguments, &self.layout.logs, ReadyAt::Admin(witness.admin))
    }

    /// Stops one backend in order.
    pub async fn stop_backend(&mut self, name: &str) -> Result<()> {
        let place = self.place_of_backend(name)?;
        self.backends.get_mut(place).context("the backend is not running")?.stop().await
    }

    /// Starts one backend again.
    pub async fn start_backend(&mut self, name: &str) -> Result<()> {
        let place = self.place_of_backend(name)?;
        let mut started = self.spawn_backend(place)?;
        started.ready().await?;
        self.backends[place] = started;
        Ok(())
    }

    fn place_of_backend(&self, name: &str) -> Result<usize> {
        let place = self.layout.backends.iter().position(|backend| backend.name == name);
        place.with_context(|| format!("the mesh has no backend {name}"))
    }

    fn spawn_backend(&self, place: usize) -> Result<Role> {
        let backend = &self.layout.backends[place];
        let arguments = ["backend", &backend.kind, "--config", text(&backend.config)?];
        let name = format!("backend-{}", backend.name);
        Role::start(&self.program, &name, &arguments, &self.layout.logs, ReadyAt::Port(backend.address))
    }

    fn place_of(&self, code: &str) -> Result<usize> {
        let place = self.layout.nodes.iter().position(|(known, _, _)| known == code);
        place.with_context(|| format!("the mesh has no node of {code}"))
    }

    fn spawn_node(&self, place: usize) -> Result<Role> {
        let (code, config, admin) = &self.layout.nodes[place];
        let arguments = ["node", "run", "--config", text(config)?];
        Role::start(
            &self.program,
            &format!("node-{code}"),
            &arguments,
            &self.layout.logs,
            ReadyAt::Admin(*admin),
        )
    }

    /// Kills the broker, as a power cut would.
    pub async fn kill_broker(&mut self) -> Result<()> {
        match self.broker.take() {
            Some(mut broker) => broker.kill().await,
            None => Ok(()),
        }
    }

    /// A client by the name of its profile.
    pub fn client(&self, name: &str) -> Result<Client> {
        let profile =
            self.layout.profiles.get(name).with_context(|| format!("the mesh has no client {name}"))?;
        Client::new(&client::profile(profile)?)
    }

    /// How long the start took, in words.
    pub fn took(&self) -> String {
        format!(
            "{} roles in {}.{} s",
            self.nodes.len() + self.backends.len() + self.witnesses.len() + self.gateway.iter().len() + 1,
            self.took_ms / 1000,
            self.took_ms % 1000 / 100
        )
    }

    /// Stops every role: nodes first so that their last records reach the broker, witnesses last so that they cosign
    /// its last checkpoint.
    pub async fn stop(&mut self) -> Result<()> {
        let mut first_failure = Ok(());
        for role in self.gateway.iter_mut().chain(&mut self.nodes).chain(&mut self.backends) {
            first_failure = first_failure.and(role.stop().await);
        }
        first_failure = first_failure.and(self.stop_broker().await);
        for witness in &mut self.witnesses {
            first_failure = first_failure.and(witness.stop().await);
        }
        first_failure
    }

    /// What to try next, ready to paste.
    pub fn invitation(&self) -> String {
        let program = self.program.display();
        let profile = |name: &str| {
            self.layout.profiles.get(name).map(|path| path.display().to_string()).unwrap_or_default()
        };
        // A mesh without plain HTTP has one line less.
        let curl = self.curl().unwrap_or_default();
        let (office, tax) = (profile(OFFICE), profile("G12.90-thue"));
        let (log, policy) = (self.layout.log.display(), self.layout.policy.display());
        let pages = self.layout.gateway.as_ref().map_or_else(String::new, |gateway| {
            format!(
                "The console, as one of the mesh's people:   http://{}/\n\
                 The public pages:                           http://{}/\n\n",
                gateway.trial, gateway.public
            )
        });
        format!(
            "\nThe mesh stays up; Ctrl-C ends it. Try:\n\n{pages}\
             {program} call /vn.dancu.v1.CitizenService/GetCitizen \\\n    --profile {office} \\\n    \
             --purpose ADMIN_PROCEDURE --dossier H26.90-261121-0001 -d '{{\"soDinhDanh\":\"999190000001\"}}'\n\n\
             {program} call /vn.dkdn.v1.EnterpriseService/GetEnterprise \\\n    --profile {tax} \\\n    \
             --purpose STATE_MANAGEMENT -d '{{\"maSoDoanhNghiep\":\"9900000017\"}}'\n\n\
             {curl}\n\n\
             {program} audit verify {log} \\\n    --policy {policy}\n"
        )
    }

    /// A curl that makes the one-stop shop's call in plain HTTP, ready to paste.
    pub fn curl(&self) -> Result<String> {
        let profile = self.layout.profiles.get(OFFICE).context("the mesh has no one-stop shop")?;
        let profile: ClientProfile = lienthong_telemetry::load(profile)?;
        let node =
            self.layout.nodes.iter().find(|(name, ..)| name == OFFICE_NODE).context("no node of it")?;
        let node: NodeConfig = lienthong_telemetry::load(&node.1)?;
        let (Some(LocalListenerConfig::Tls(address)), KeySource::File(key), [trust, ..]) =
            (node.http_listener, profile.key, &profile.trust[..])
        else {
            anyhow::bail!("the node of the one-stop shop serves no plain HTTP over TLS");
        };
        Ok(format!(
            "curl --cert {} \\\n    --key {} \\\n    --cacert {} \\\n    --connect-to ::{address} \\\n    \
             -H 'mesh-purpose: ADMIN_PROCEDURE' -H 'mesh-dossier: H26.90-261121-0001' -H 'content-type: application/json' \\\n    \
             -d '{{\"soDinhDanh\":\"999190000001\"}}' https://{}:{}/vn.dancu.v1.CitizenService/GetCitizen",
            profile.certificate.display(),
            key.display(),
            trust.display(),
            profile.server_name,
            address.port(),
        ))
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the mesh's folder has a name that is not UTF-8")
}
