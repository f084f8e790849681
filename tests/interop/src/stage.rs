//! The mesh that the clients call, and what happens to it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use lienthong::{
    client::{self, ClientProfile, Stated},
    commands::call::{self, Outcome},
    demo::plan::Plan,
};
use lienthong_certs::{judge::RevocationReason, pki::DevPki};
use lienthong_tests::{GET_TRIAL_RECORD, OFFICE, TestMesh, eventually};
use serde_json::{Value, json};

use crate::{
    client::{Client, Played},
    scenarios::{Item, Phase, for_client},
};

const GET_WATCH: &str = "/vn.thunghiem.v1.TrialService/GetWatch";

/// How long clients wait for the consumer's node before it starts, milliseconds.
const DOWN_MS: u64 = 1_500;

/// The mesh, and who calls it.
pub struct Stage {
    mesh: TestMesh,
    callers: BTreeMap<&'static str, ClientProfile>,
}

impl Stage {
    /// Starts a mesh with two nodes of the trial's provider, a quota that can be reached, data above the callers' security
    /// level, and two more certificates of the one-stop shop: one that is registered and will be revoked, one that is
    /// not registered.
    pub async fn open() -> Result<Self> {
        let mut plan = Plan::demo().with_second_node();
        for (name, text) in &mut plan.catalog {
            if name == "entries.yaml" {
                *text = with_limits(text)?;
            }
        }
        let mut callers = BTreeMap::new();
        let mesh = TestMesh::start_plan(&plan, |layout| {
            let office = client::profile(&layout.profiles[OFFICE])?;
            let pki = DevPki::open(&layout.dir.join("pki"))?;
            for (caller, system) in [("revoked", "mot-cua-cu"), ("unbound", "chua-dang-ky")] {
                let issued = pki.issue_system("H26.90", "Trung tâm thử nghiệm", system)?;
                if caller == "revoked" {
                    register(&layout.dir.join("registry.yaml"), &issued.certificate)?;
                }
                let profile = ClientProfile {
                    certificate: issued.certificate,
                    key: issued.key.into(),
                    ..office.clone()
                };
                callers.insert(caller, profile);
            }
            callers.insert("outsider", client::profile(&layout.profiles["outsider"])?);
            callers.insert("tax", client::profile(&layout.profiles["G12.90-thue"])?);
            callers.insert("office", office);
            Ok(())
        })
        .await?;
        let stage = Self { mesh, callers };
        for caller in ["office", "tax", "revoked"] {
            eventually("every caller is served", async || {
                Ok(stage
                    .ask(caller, GET_TRIAL_RECORD, &json!({"maBanGhi": "TN-000001"}))
                    .await?
                    .error
                    .is_none())
            })
            .await?;
        }
        Ok(stage)
    }

    /// What the clients find in their environment: for each caller node, server name, certificate, key and trust.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for (caller, profile) in &self.callers {
            for (name, value) in named(profile) {
                environment.insert(format!("LIENTHONG_{}_{name}", caller.to_uppercase()), value);
            }
        }
        environment
    }

    /// The same for the pages, where one system calls.
    pub fn environment_of_pages(&self) -> BTreeMap<String, String> {
        named(&self.callers["office"]).map(|(name, value)| (format!("LIENTHONG_{name}"), value)).collect()
    }

    /// Plays the scenarios of a phase with every client.
    pub async fn play(&mut self, phase: Phase, clients: &[Client], items: &[&Item]) -> Result<Vec<Played>> {
        match phase {
            Phase::Steady => self.all_of(clients, items).await,
            Phase::NodeKilled | Phase::NodeRestarts => self.paused(phase, clients, items).await,
            Phase::NodeStarts => self.starting(clients, items).await,
            Phase::Revoked => {
                self.revoke().await?;
                self.all_of(clients, items).await
            }
        }
    }

    /// What the provider saw, where a scenario wants to know: begun, cancelled, and when that was noticed.
    pub async fn watch(&self, client: &Client, item: &Item) -> Result<Option<Value>> {
        let Some(watch) = &item.watch else { return Ok(None) };
        let name = for_client(&watch.name, client);
        let mut seen = None;
        // What a client tells may be ahead of what the provider has noticed; a count that never comes is told as it is.
        let _ = eventually("the provider has seen it", async || {
            let outcome = self.ask("office", GET_WATCH, &json!({"watch": name})).await?;
            seen = outcome.messages.into_iter().next();
            let count = |key: &str| seen.as_ref().map_or(0, |seen| number(seen.get(key)));
            Ok(count("begun") >= watch.begun && count("cancelled") >= watch.cancelled)
        })
        .await;
        Ok(seen)
    }

    /// Stops every role in order.
    pub async fn close(self) -> Result<()> {
        self.mesh.stop().await
    }

    /// One client after the other, so that what is measured is not another client.
    async fn all_of(&self, clients: &[Client], items: &[&Item]) -> Result<Vec<Played>> {
        let environment = self.environment();
        let mut plays = Vec::new();
        for client in clients {
            plays.push(client.start(&environment)?.play(client, items).await);
        }
        Ok(plays)
    }

    /// Each client makes a call; then something happens to a node; then each makes another.
    async fn paused(&mut self, phase: Phase, clients: &[Client], items: &[&Item]) -> Result<Vec<Played>> {
        let environment = self.environment();
        let item = items.first().context("no scenario")?;
        ensure!(items.len() == 1, "a phase with a pause has one scenario");
        let mut running = Vec::new();
        let mut plays = vec![Played::new(); clients.len()];
        for (client, played) in clients.iter().zip(&mut plays) {
            let mut started = client.start(&environment)?;
            started.tell(&item.line_for(client)).await?;
            match started.paused().await {
                Ok(None) => running.push(Some(started)),
                Ok(Some(outcome)) => {
                    played.insert(item.id().to_owned(), outcome);
                    running.push(None);
                }
                Err(error) => {
                    played.insert(item.id().to_owned(), json!({"lost": format!("{error:#}")}));
                    running.push(None);
                }
            }
        }
        match phase {
            Phase::NodeKilled => self.mesh.mesh.kill_node("G09").await?,
            _ => self.mesh.mesh.restart_node("H26.90", false).await?,
        }
        for (started, played) in running.iter_mut().zip(&mut plays) {
            if let Some(started) = started {
                started.tell("").await?;
                let outcome = started.outcome().await;
                let outcome = outcome.unwrap_or_else(|error| json!({"lost": format!("{error:#}")}));
                played.insert(item.id().to_owned(), outcome);
            }
        }
        if phase == Phase::NodeKilled {
            self.mesh.mesh.start_node("G09").await?;
        }
        Ok(plays)
    }

    /// All clients start before their node does.
    async fn starting(&mut self, clients: &[Client], items: &[&Item]) -> Result<Vec<Played>> {
        let environment = self.environment();
        let item = items.first().context("no scenario")?;
        self.mesh.mesh.stop_node("H26.90").await?;
        let mut running = Vec::new();
        for client in clients {
            let mut started = client.start(&environment)?;
            started.tell(&item.line_for(client)).await?;
            running.push(started);
        }
        tokio::time::sleep(std::time::Duration::from_millis(DOWN_MS)).await;
        self.mesh.mesh.start_node("H26.90").await?;
        let mut plays = Vec::new();
        for mut started in running {
            let outcome = started.outcome().await;
            let outcome = outcome.unwrap_or_else(|error| json!({"lost": format!("{error:#}")}));
            plays.push(Played::from([(item.id().to_owned(), outcome)]));
        }
        Ok(plays)
    }

    /// Revokes a certificate and waits until the node turns it away.
    async fn revoke(&self) -> Result<()> {
        let pki = DevPki::open(&self.mesh.mesh.layout.dir.join("pki"))?;
        let issued = pki.issued("H26.90-mot-cua-cu")?.context("the certificate to revoke is not there")?;
        pki.revoke(&issued.binding, RevocationReason::KeyCompromise)?;
        self.mesh.mesh.reload_broker().await?;
        eventually("the revoked certificate is turned away", async || {
            let asked = self.ask("revoked", GET_TRIAL_RECORD, &json!({"maBanGhi": "TN-000001"})).await?;
            Ok(asked.error.is_some())
        })
        .await
    }

    async fn ask(&self, caller: &str, method: &str, data: &Value) -> Result<Outcome> {
        let stated = Stated { purpose: Some("STATE_MANAGEMENT".to_owned()), ..Stated::default() };
        let client = client::Client::new(&self.callers[caller])?;
        call::call(&client, method, &data.to_string(), &stated).await
    }
}

/// A number of protobuf's JSON, which writes 64 bits as text.
pub fn number(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        Some(value) => value.as_u64().unwrap_or_default(),
        None => 0,
    }
}

fn named(profile: &ClientProfile) -> impl Iterator<Item = (&'static str, String)> {
    let path = |path: &Path| path.display().to_string();
    let values = [
        ("NODE", profile.node.clone()),
        ("SERVER_NAME", profile.server_name.clone()),
        ("CERTIFICATE", path(&profile.certificate)),
        ("KEY", profile.key.to_string()),
        ("TRUST", profile.trust.first().map(|trust| path(trust)).unwrap_or_default()),
    ];
    values.into_iter()
}

/// The catalog with a quota that a client can reach, and enterprises above the security level of the callers' systems.
fn with_limits(entries: &str) -> Result<String> {
    let quota = ("    dataset_id: danhmuc.dvhc\n", "    calls_per_minute_max: 2\n");
    let level = ("    dataset_id: dkdn.doanh_nghiep\n", "");
    let mut text = entries.to_owned();
    for (place, more) in [quota, level] {
        ensure!(text.contains(place), "entries.yaml has no {place:?}");
        text = text.replacen(place, &format!("{place}{more}"), 1);
    }
    let (before, enterprises) = text.split_once(level.0).context("no enterprises")?;
    let enterprises = enterprises.replacen("min_security_level: 3", "min_security_level: 4", 1);
    Ok(format!("{before}{}{enterprises}", level.0))
}

/// Registers one more certificate of the one-stop shop.
fn register(registry: &Path, certificate: &Path) -> Result<()> {
    let mut file: Value = serde_json::from_str(&fs::read_to_string(registry)?)?;
    let systems = file["systems"].as_array_mut().context("no systems")?;
    let office = systems.iter_mut().find(|system| system["id"] == "mot-cua").context("no one-stop shop")?;
    office["certificates"].as_array_mut().context("no certificates")?.push(json!({"file": certificate}));
    Ok(fs::write(registry, file.to_string())?)
}
