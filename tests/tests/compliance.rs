//! How the duty to share is kept, measured on a mesh of real processes: scenario 5 of the domain, a synchronisation that
//! stops, and the hint that nobody needs to bring paper.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use lienthong::client::Stated;
use lienthong::commands::call;
use lienthong::demo::{layout::Layout, plan::Plan};
use lienthong_proto::lienthong::catalog::v1::node_catalog_service_client::NodeCatalogServiceClient;
use lienthong_proto::lienthong::catalog::v1::{CheckDossierRequest, ComponentAvailability, DossierComponent};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_tests::{GET_CITIZEN, OFFICE, PERSON, TestMesh, eventually, handling, program};
use serde_json::Value;

const SYNC_CITIZENS: &str = "/vn.dancu.v1.CitizenService/SyncCitizens";

/// The system of the National General Database, and its agency.
const SINK: (&str, &str) = ("G01.90", "thqg");

/// The demo's mesh with a node of the National General Database.
fn with_sink() -> Plan {
    let mut plan = Plan::demo();
    plan.nodes.push((SINK.0.to_owned(), "Trung tâm Dữ liệu quốc gia".to_owned()));
    plan.systems.push((SINK.0.to_owned(), SINK.1.to_owned()));
    plan
}

/// Real time is eight seconds here, and lateness counts from the first moment.
fn impatient(layout: &Layout) -> Result<()> {
    let path = layout.dir.join("config/broker.toml");
    let mut config: toml::Table = toml::from_str(&fs::read_to_string(&path)?)?;
    let rules = config.get_mut("compliance").and_then(toml::Value::as_table_mut);
    let rules = rules.context("the broker's configuration has no [compliance]")?;
    rules.insert("real_time_lag_ms".to_owned(), 8_000.into());
    rules.insert("reachable_ms".to_owned(), 1.into());
    rules.insert("start_grace_ms".to_owned(), 0.into());
    Ok(fs::write(&path, toml::to_string(&config)?)?)
}

fn run(profile: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(program()?).args(arguments).arg("--profile").arg(profile).output()?)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(profile: &Path, arguments: &[&str]) -> Result<Value> {
    let output = run(profile, &[arguments, &["--json"]].concat())?;
    ensure!(output.status.success(), "{arguments:?}: {}", said(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn officer(mesh: &TestMesh) -> Result<PathBuf> {
    mesh.mesh.layout.profiles.get("operator-1").cloned().context("the mesh has no such officer")
}

/// A profile by which a node of the mesh speaks to the broker itself.
fn node_profile(mesh: &TestMesh, node: &str) -> Result<PathBuf> {
    let dir = &mesh.mesh.layout.dir;
    let mut profile: toml::Table = toml::from_str(&fs::read_to_string(officer(mesh)?)?)?;
    let config: toml::Table =
        toml::from_str(&fs::read_to_string(dir.join(format!("config/node-{node}.toml")))?)?;
    for key in ["certificate", "key"] {
        profile.insert(key.to_owned(), config[key].clone());
    }
    let path = dir.join(format!("clients/{node}-to-broker.toml"));
    fs::write(&path, toml::to_string(&profile)?)?;
    Ok(path)
}

/// The entry of the population register in the scorecard of its agency.
fn population(card: &Value) -> Result<&Value> {
    let entries = card["entries"].as_array().context("no entries")?;
    entries.iter().find(|entry| entry["dataset"] == "dancu.cong_dan").context("no such entry")
}

fn state<'c>(entry: &'c Value, kind: &str) -> Option<&'c str> {
    let checks = entry["checks"].as_array()?;
    checks.iter().find(|check| check["kind"] == format!("CHECK_KIND_{kind}"))?["state"].as_str()
}

async fn synchronise(mesh: &TestMesh) -> Result<()> {
    let client = mesh.mesh.client(&format!("{}-{}", SINK.0, SINK.1))?;
    let stated = Stated { purpose: Some("NATIONAL_SYNC".to_owned()), ..Stated::default() };
    let outcome = call::call(&client, SYNC_CITIZENS, "{}", &stated).await?;
    ensure!(outcome.error.is_none(), "{:?}", outcome.error);
    Ok(())
}

#[tokio::test]
async fn scenario_5_a_synchronisation_that_stops_is_noticed_and_forgiven_when_it_catches_up() -> Result<()> {
    let mut mesh = TestMesh::start_plan(&with_sink(), impatient).await?;
    let operator = officer(&mesh)?;
    let card = || json(&operator, &["compliance", "show", "G01"]);

    // Real calls, and a synchronisation: counted, fresh.
    ensure!(mesh.office(GET_CITIZEN, PERSON, &handling()).await?.error.is_none(), "the office is not served");
    eventually("the data is fresh", async || {
        synchronise(&mesh).await?;
        let card = card()?;
        let entry = population(&card)?;
        let counted = entry["calls"]["served"].as_str().unwrap_or("0") != "0";
        Ok(counted && state(entry, "FRESH") == Some("CHECK_STATE_PASSED"))
    })
    .await?;
    let before = card()?;
    let entry = population(&before)?;
    for kind in ["REGISTERED", "PUBLISHED", "REACHABLE", "SERVED"] {
        assert_eq!(state(entry, kind), Some("CHECK_STATE_PASSED"), "{kind}: {entry}");
    }
    let sampled = &entry["quality"]["correct"]["total"];
    assert!(sampled.as_str().is_some_and(|total| total != "0"), "the node sampled no record: {entry}");
    let score = |card: &Value| population(card).ok().and_then(|entry| entry["score"].as_u64());
    let good = score(&before).context("no score")?;

    // The provider stops: the lag passes what is allowed.
    mesh.mesh.stop_node("G01").await?;
    eventually("the data is stale, and the score drops", async || {
        let card = card()?;
        let entry = population(&card)?;
        Ok(state(entry, "FRESH") == Some("CHECK_STATE_FAILED")
            && state(entry, "REACHABLE") == Some("CHECK_STATE_FAILED")
            && score(&card) < Some(good))
    })
    .await?;
    let findings = |more: &[&str]| {
        let list = [&["audit", "findings", "list", "--kind", "stale-data"], more].concat();
        json(&operator, &list).map(|found| found["findings"].as_array().cloned().unwrap_or_default())
    };
    eventually("it is a finding", async || Ok(!findings(&[])?.is_empty())).await?;

    // It comes back and catches up.
    mesh.mesh.start_node("G01").await?;
    eventually("the data is fresh again, and the finding closed", async || {
        synchronise(&mesh).await?;
        let card = card()?;
        Ok(state(population(&card)?, "FRESH") == Some("CHECK_STATE_PASSED") && findings(&[])?.is_empty())
    })
    .await?;
    assert!(!findings(&["--all"])?.is_empty(), "what was found stays on record");

    // The report of the year shows the outage.
    let report = run(&operator, &["compliance", "export"])?;
    let report = said(&report);
    let row = report.lines().find(|line| line.contains("dancu.cong_dan")).context("no row")?.to_owned();
    let columns: Vec<&str> = report.lines().next().context("no heading")?.split(',').collect();
    let value = |name: &str| {
        let at = columns.iter().position(|column| *column == name)?;
        row.split(',').nth(at)?.parse::<u64>().ok()
    };
    assert!(value("lag_episodes") >= Some(1) && value("longest_lag_s") >= Some(8), "{report}");
    mesh.stop().await
}

#[tokio::test]
async fn an_agency_sees_its_own_scorecard_and_no_other() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let (own, operator) = (node_profile(&mesh, "G01")?, officer(&mesh)?);
    let listed = json(&own, &["compliance", "list"])?;
    let agencies: Vec<&Value> =
        listed["scorecards"].as_array().into_iter().flatten().map(|card| &card["agency"]).collect();
    assert_eq!(agencies, ["G01"]);
    ensure!(run(&own, &["compliance", "show", "G01"])?.status.success(), "its own card is not shown");
    let other = run(&own, &["compliance", "show", "G12"])?;
    assert!(!other.status.success() && said(&other).contains("no scorecard"), "{}", said(&other));
    let all = json(&operator, &["compliance", "list", "--entries"])?;
    assert!(all["entries"].as_array().is_some_and(|entries| entries.len() > 5), "{all}");
    let report = json(&own, &["compliance", "export"])?;
    assert!(report["rows"].as_array().is_some_and(|rows| rows.iter().all(|row| row["provider"] == "G01")));
    let too_old = run(&operator, &["compliance", "export", "--year", "2001"])?;
    assert!(!too_old.status.success() && said(&too_old).contains("keeps the numbers"), "{}", said(&too_old));
    mesh.stop().await
}

#[tokio::test]
async fn what_the_mesh_has_needs_no_paper() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let components = ["dia_chi.noi_thuong_tru", "dancu.cong_dan/dan_toc", "dancu.cong_dan", "so_ho_khau"];
    let asked = CheckDossierRequest {
        purpose: Purpose::AdminProcedure.into(),
        components: components.map(str::to_owned).into(),
    };
    let mut node = NodeCatalogServiceClient::new(mesh.mesh.client(OFFICE)?.channel());
    let answer = node.check_dossier(asked).await?.into_inner();
    let found: Vec<ComponentAvailability> =
        answer.components.iter().map(DossierComponent::availability).collect();
    let (has, has_not) = (ComponentAvailability::AvailableViaMesh, ComponentAvailability::NotAvailable);
    assert_eq!(found, [has, has_not, has, has_not], "{answer:?}");
    let source = answer.components[0].sources.first().context("no source")?;
    assert_eq!((source.provider.as_str(), source.field.as_str()), ("G01", "noi_thuong_tru"));
    assert!(source.methods.iter().any(|method| method == GET_CITIZEN), "{source:?}");
    let nothing = node.check_dossier(CheckDossierRequest::default()).await;
    assert!(nothing.is_err_and(|status| status.code() == tonic::Code::InvalidArgument));
    mesh.stop().await
}
