//! `lienthong onboard`: a new agency, from nothing to its first authorised call.
//!
//! ```text
//! card ─▶ key, certificate ─▶ node.toml ─▶ enroll ─▶ (approval) ─▶ node runs ─▶ first call
//! ```
//!
//! Everything lies in one folder. Each step looks first whether it is done, so that the same command goes on where it
//! was: after an interruption, after the authority has sent the certificate, after the operator has sent the token.
//! Where it must wait for somebody, it says for whom and for what, and ends with the exit code [`WAITS`].

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use lienthong_certs::{
    Credentials,
    pki::{DevPki, Holder},
};
use lienthong_proto::{
    lienthong::{catalog::v1::ListDatasetsRequest, registry::v1::Enrollment},
    status,
};
use serde_json::json;

use crate::{
    client::{self, Client, ClientProfile, Stated},
    commands::{
        call,
        enroll::{
            card::{Card, Pinned},
            show,
        },
        stop_signal,
    },
    demo::process::{ReadyAt, Role, is_ready},
    out,
};

mod applicant;
mod node_file;
mod steps;

use applicant::{Applicant, Place};
use node_file::{NodeFile, Publication, Written};
use steps::Steps;

/// Exit code where something outside must happen first; run the same command again afterwards.
pub const WAITS: u8 = 10;

/// How long the first call is tried: the rights need a moment to arrive, milliseconds.
const FIRST_CALL_MS_MAX: u64 = 20_000;

/// Pause between two tries of the first call, milliseconds.
const FIRST_CALL_PAUSE_MS: u64 = 100;

/// `lienthong onboard`.
#[derive(Debug, Args)]
pub struct OnboardArgs {
    /// Folder of the new node; everything lies in it
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The mesh's card, as the operator handed it over
    #[arg(long, value_name = "FILE")]
    card: PathBuf,
    /// Fingerprint of the mesh's roots, as the operator read it out; without it, compare what this prints
    #[arg(long, value_name = "HEX")]
    root: Option<String>,
    /// Code of the agency
    #[arg(long, value_name = "CODE")]
    agency: String,
    /// Name of the agency, as its certificates have it; needed where a key is made
    #[arg(long, value_name = "NAME")]
    agency_name: Option<String>,
    /// Id of the node
    #[arg(long, value_name = "ID", default_value = "n1")]
    node: String,
    /// Where other nodes reach this one, host:port
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    /// DNS name in the node's certificate
    #[arg(long, value_name = "NAME")]
    server_name: String,
    /// Where the node listens for other nodes; default: the port of --address, on every interface
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Where it listens for the agency's own systems
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 7080)))]
    local_listen: SocketAddr,
    /// Where it shows health and metrics
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)))]
    admin_listen: SocketAddr,
    /// The node's official certificate, PEM, leaf first; without it, a key and a signing request are made
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its private key, PEM, mode 0600
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Development meshes only: the development PKI that certifies the keys
    #[arg(long, value_name = "DIR")]
    development_ca: Option<PathBuf>,
    /// File that holds the node's enrollment token, mode 0600
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// First information system to enroll, as the catalog lists it
    #[arg(long, value_name = "ID")]
    system: Option<String>,
    /// File that holds the system's enrollment token, mode 0600
    #[arg(long, value_name = "FILE", requires = "system")]
    system_token_file: Option<PathBuf>,
    /// Contract to publish: a serialized FileDescriptorSet with its imports
    #[arg(long, value_name = "FILE", requires = "backend")]
    publish: Option<PathBuf>,
    /// The backend that serves it: host:port, or unix:PATH
    #[arg(long, value_name = "ADDRESS", requires = "publish")]
    backend: Option<String>,
    /// DNS name in the backend's certificate; for host:port
    #[arg(long, value_name = "NAME", requires = "backend")]
    backend_name: Option<String>,
    /// Services of the contract that the backend serves; default: all that the contract itself declares
    #[arg(long, value_name = "SERVICE", requires = "publish")]
    service: Vec<String>,
    /// First call: a gRPC path
    #[arg(long, value_name = "PATH", requires = "system")]
    call: Option<String>,
    /// Its request, JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    /// Its purpose
    #[arg(long)]
    purpose: Option<String>,
    /// Its dossier
    #[arg(long)]
    dossier: Option<String>,
    /// How long to wait for approval, minutes; 0 looks once
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    wait_minutes: u64,
    /// Run the node from here, until Ctrl-C; otherwise the line and the unit to run it are printed
    #[arg(long)]
    start: bool,
    /// With --start: stop the node once everything is done
    #[arg(long, requires = "start")]
    once: bool,
    /// Print one JSON object a step, for machines
    #[arg(long)]
    json: bool,
}

/// Goes as far as it can.
pub async fn run(args: OnboardArgs) -> Result<ExitCode> {
    let mut steps = Steps::new(args.json);
    let onboarding = Onboarding::open(&args, &mut steps)?;
    let code = onboarding.go_on(&mut steps).await?;
    steps.end(code.is_none());
    match code {
        Some(code) => Ok(code),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// One agency on its way in.
struct Onboarding<'a> {
    args: &'a OnboardArgs,
    dir: PathBuf,
    card: Card,
    pinned: Pinned,
    ca: Option<DevPki>,
    node: Applicant,
    system: Option<Applicant>,
}

impl<'a> Onboarding<'a> {
    fn open(args: &'a OnboardArgs, steps: &mut Steps) -> Result<Self> {
        std::fs::create_dir_all(&args.dir)
            .with_context(|| format!("the folder {} cannot be made", args.dir.display()))?;
        let dir = args.dir.canonicalize()?;
        let card = Card::read(&args.card)?;
        if let Some(root) = &args.root {
            card.check_root(root)?;
        }
        let fingerprint = show::grouped(&card.fingerprint().0);
        let pinned = card.write_trust(&dir.join("trust"))?;
        let ca = match &args.development_ca {
            Some(_) if !card.development => {
                anyhow::bail!(
                    "this mesh is not a development mesh; it accepts no certificate of a development PKI"
                )
            }
            Some(folder) => Some(DevPki::open(folder)?),
            None => None,
        };
        steps.done(
            "card",
            &format!("mesh {}, broker {}", card.mesh, card.broker.address),
            &format!("roots {fingerprint}"),
            &json!({ "mesh": card.mesh, "fingerprint": fingerprint, "trust_version": card.trust.trust().version() }),
        );
        let names = || (args.agency.clone(), args.agency_name.clone().unwrap_or_default());
        let (agency_code, agency_name) = names();
        let node = Applicant::new(
            &dir,
            "node",
            Holder::Node { agency_code, agency_name, node_id: args.node.clone() },
            &args.server_name,
            args.certificate.clone().zip(args.key.clone()),
        )?;
        let system = args.system.as_ref().map(|system| {
            let (agency_code, agency_name) = names();
            let holder = Holder::System { agency_code, agency_name, system_id: system.clone() };
            Applicant::new(&dir, system, holder, "", None)
        });
        Ok(Self { args, dir, card, pinned, ca, node, system: system.transpose()? })
    }

    /// Goes on; the exit code where it has to stop before the end.
    async fn go_on(&self, steps: &mut Steps) -> Result<Option<ExitCode>> {
        let mut ready = Vec::new();
        for applicant in std::iter::once(&self.node).chain(&self.system) {
            match applicant.credentials(self.ca.as_ref(), steps)? {
                Some(credentials) => ready.push((applicant, credentials)),
                None => return Ok(Some(ExitCode::from(WAITS))),
            }
        }
        let written = self.node_file()?.write(steps)?;
        let Some(enrolled) = self.enroll(&ready, steps).await? else {
            return Ok(Some(ExitCode::from(WAITS)));
        };
        for (applicant, enrollment) in &enrolled {
            let mut service = self.service(applicant)?;
            if !applicant.wait(&mut service, enrollment, self.args.wait_minutes, steps).await? {
                return Ok(Some(ExitCode::from(WAITS)));
            }
        }
        let Some(mut running) = self.run_node(&written, steps).await? else {
            return Ok(Some(ExitCode::from(WAITS)));
        };
        self.published(steps).await?;
        self.first_call(steps).await?;
        if let Some(role) = &mut running.role {
            if self.args.once {
                role.stop().await?;
            } else {
                steps.end(true);
                out::note("The node runs; Ctrl-C ends it. / Nút đang chạy; nhấn Ctrl-C để dừng.");
                stop_signal(false)?.cancelled().await;
                role.stop().await?;
                return Ok(Some(ExitCode::SUCCESS));
            }
        }
        Ok(None)
    }

    fn node_file(&self) -> Result<NodeFile> {
        let args = self.args;
        let publication = args.publish.as_ref().zip(args.backend.as_deref()).map(|(contract, backend)| {
            Publication::new(contract, backend, args.backend_name.as_deref(), &args.service)
        });
        Ok(NodeFile {
            path: self.dir.join("node.toml"),
            name: self.node.name(),
            data_dir: self.dir.join("data"),
            certificate: self.node.certificate.clone(),
            key: self.node.key.clone(),
            card: self.card.clone(),
            trust: self.pinned.trust.clone(),
            listen: self.listen()?,
            local_listen: args.local_listen,
            admin_listen: args.admin_listen,
            publication: publication.transpose()?,
        })
    }

    /// Where the node listens for other nodes.
    fn listen(&self) -> Result<SocketAddr> {
        let port = self.args.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let everywhere = port.map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        self.args.listen.or(everywhere).context("--address is written host:port")
    }

    /// Enrolls everybody before it waits for anybody, so that the operator sees all at once.
    async fn enroll<'s>(
        &'s self,
        ready: &[(&'s Applicant, Credentials)],
        steps: &mut Steps,
    ) -> Result<Option<Vec<(&'s Applicant, Enrollment)>>> {
        let mut enrolled = Vec::new();
        let mut missing = false;
        for (applicant, credentials) in ready {
            let (token_file, place) = if std::ptr::eq(*applicant, &raw const self.node) {
                let (address, server_name) = (self.args.address.clone(), self.args.server_name.clone());
                (&self.args.token_file, Place { address, server_name })
            } else {
                (&self.args.system_token_file, Place::default())
            };
            let mut service = self.service(applicant)?;
            let enrollment = applicant.enroll(&mut service, token_file.as_deref(), place, steps).await?;
            if let Some(enrollment) = enrollment {
                enrolled.push((*applicant, enrollment));
            } else {
                missing = true;
                applicant.ask_for_token(credentials, steps);
            }
        }
        Ok((!missing).then_some(enrolled))
    }

    fn service(&self, applicant: &Applicant) -> Result<crate::commands::enroll::Enrollments> {
        let profile = ClientProfile {
            node: self.card.broker.address.clone(),
            server_name: self.card.broker.server_name.clone(),
            certificate: applicant.certificate.clone(),
            key: applicant.key.clone().into(),
            trust: self.authorities(),
            development: self.card.development,
        };
        Ok(Client::new(&profile)?.enrollments())
    }

    fn authorities(&self) -> Vec<PathBuf> {
        self.pinned.authorities.clone()
    }

    /// Runs the node, or looks whether it runs.
    async fn run_node(&self, written: &Written, steps: &mut Steps) -> Result<Option<Running>> {
        let Written { path: config, is_news } = written;
        let admin = ReadyAt::Admin(self.args.admin_listen);
        if is_ready(admin).await {
            if *is_news {
                steps.next(
                    "Restart the node, then run this again. / Hãy khởi động lại nút rồi chạy lại lệnh này.",
                    "it runs, and does not know its new backend yet",
                );
                return Ok(None);
            }
            steps.done("node", "the node is ready", "it was running already", &json!({}));
            return Ok(Some(Running { role: None }));
        }
        let program = std::env::current_exe()?;
        if !self.args.start {
            steps.next(
                "Start the node, then run this again. / Hãy khởi động nút rồi chạy lại lệnh này.",
                &node_file::unit(&program, config),
            );
            return Ok(None);
        }
        let text = config.to_str().context("the folder has a name that is not UTF-8")?;
        let mut role = Role::start(&program, "node", &["node", "run", "--config", text], &self.dir, admin)?;
        role.ready().await?;
        steps.done("node", "the node is ready", &format!("config {}", config.display()), &json!({}));
        Ok(Some(Running { role: Some(role) }))
    }

    /// Waits until the broker has taken the contract: the node then knows which datasets its agency shares.
    async fn published(&self, steps: &mut Steps) -> Result<()> {
        if self.args.publish.is_none() {
            return Ok(());
        }
        let port = self.listen()?.port();
        let client = Client::new(&ClientProfile {
            node: SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string(),
            server_name: self.args.server_name.clone(),
            certificate: self.node.certificate.clone(),
            key: self.node.key.clone().into(),
            trust: self.authorities(),
            development: self.card.development,
        })?;
        let until = Instant::now() + Duration::from_millis(FIRST_CALL_MS_MAX);
        loop {
            let listed = client.catalog().list_datasets(ListDatasetsRequest::default()).await;
            let datasets: Vec<String> = match &listed {
                Ok(answer) => answer.get_ref().datasets.iter().map(|dataset| dataset.id.clone()).collect(),
                Err(_) => Vec::new(),
            };
            if !datasets.is_empty() {
                let what = format!("the agency shares {}", datasets.join(", "));
                steps.done(
                    "publish",
                    &what,
                    "the broker has taken the contract",
                    &json!({ "datasets": datasets }),
                );
                return Ok(());
            }
            if Instant::now() > until {
                let why = listed.err().map(|status| format!(" ({})", status.message())).unwrap_or_default();
                anyhow::bail!(
                    "the agency shares nothing yet{why}: the node's log says why the broker does not take the contract; \
                     is the agency a PROVIDER in the catalog, with an entry for the dataset?"
                );
            }
            tokio::time::sleep(Duration::from_millis(FIRST_CALL_PAUSE_MS)).await;
        }
    }

    async fn first_call(&self, steps: &mut Steps) -> Result<()> {
        let Some(system) = &self.system else { return Ok(()) };
        let profile = ClientProfile {
            node: self.args.local_listen.to_string(),
            server_name: self.args.server_name.clone(),
            certificate: system.certificate.clone(),
            key: system.key.clone().into(),
            trust: self.authorities(),
            development: self.card.development,
        };
        let path = self.dir.join(format!("{}.profile.toml", system.id()));
        lienthong_certs::files::replace(&path, toml::to_string_pretty(&profile)?.as_bytes())?;
        steps.done(
            "profile",
            "the system's client profile",
            &path.display().to_string(),
            &json!({ "profile": path }),
        );
        let Some(method) = &self.args.call else { return Ok(()) };
        let stated = Stated {
            purpose: self.args.purpose.clone(),
            dossier: self.args.dossier.clone(),
            ..Stated::default()
        };
        let client = Client::new(&client::profile(&path)?)?;
        let until = Instant::now() + Duration::from_millis(FIRST_CALL_MS_MAX);
        let outcome = loop {
            let outcome = call::call(&client, method, &self.args.data, &stated).await?;
            if outcome.error.is_none() || Instant::now() > until {
                break outcome;
            }
            tokio::time::sleep(Duration::from_millis(FIRST_CALL_PAUSE_MS)).await;
        };
        if let Some(error) = &outcome.error {
            let reason =
                status::read(error).map(|read| format!("\nsee docs/errors/{}.md", read.reason.name()));
            let explained = show::explained(error);
            anyhow::bail!("the first call was not answered: {explained}{}", reason.unwrap_or_default());
        }
        let answer: Vec<String> = outcome.messages.iter().map(ToString::to_string).collect();
        steps.done(
            "call",
            &format!("the first call is answered: {method}"),
            &format!("{}\nexchange {}", answer.join("\n"), outcome.exchange_id.as_deref().unwrap_or("none")),
            &json!({ "messages": outcome.messages, "exchange_id": outcome.exchange_id }),
        );
        Ok(())
    }
}

/// A node that runs, from here or from elsewhere.
struct Running {
    role: Option<Role>,
}
