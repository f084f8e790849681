//! Duties that are not kept, on a mesh of real processes: a backend that turns an entitled consumer away without a word (R-06),
//! a copy that is no longer fed (R-13), denials that were only counted (R-55). Each is found and stands in the scorecard.

use std::fs;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use lienthong::client::Stated;
use lienthong::commands::call;
use lienthong::demo::{layout::Layout, plan::Plan};
use lienthong_proto::lienthong::audit::v1::{Aggregate, Record, Side, Status, record::Body};
use lienthong_proto::reason::{Reason, UNDECLARED_REFUSAL};
use lienthong_proto::status;
use lienthong_proto::vn::thunghiem::v1::Instruction;
use lienthong_tests::desk::{self, node_profile};
use lienthong_tests::records::{closings, records};
use lienthong_tests::{GET_TRIAL_RECORD, OFFICE, TestMesh, eventually, handling, reason, trial};
use serde_json::{Value, json};
use tonic::Code;

const TRIAL: &str = "thunghiem.ban_ghi";

const CODE_LIST: &str = "danhmuc.dvhc";

const LIST_UNITS: &str = "/vn.danhmuc.v1.AdministrativeUnitService/ListAdministrativeUnits";

/// Refusals after which the broker takes it for no accident.
const TURNED_AWAY_MIN: usize = 3;

/// The entry of a dataset of G09 in its scorecard.
fn entry(mesh: &TestMesh, dataset: &str) -> Result<Value> {
    let card = desk::asked(mesh, "operator-1", &["compliance", "show", "G09"])?;
    let entries = card["entries"].as_array().context("no entries")?;
    let entry = entries.iter().find(|entry| entry["dataset"] == dataset);
    Ok(entry.context("no such entry")?.clone())
}

fn state<'e>(entry: &'e Value, kind: &str) -> Result<&'e str> {
    let checks = entry["checks"].as_array().context("no checks")?;
    let check = checks.iter().find(|check| check["kind"] == format!("CHECK_KIND_{kind}"));
    check.and_then(|check| check["state"].as_str()).context("no such check")
}

/// Findings of a kind that are open.
fn findings(mesh: &TestMesh, kind: &str) -> Result<Vec<Value>> {
    let listed = desk::asked(mesh, "operator-1", &["audit", "findings", "list", "--kind", kind])?;
    listed["findings"].as_array().cloned().context("no findings")
}

/// What the report of the year says of a dataset in a column.
fn reported(mesh: &TestMesh, dataset: &str, column: &str) -> Result<String> {
    let operator = mesh.mesh.layout.profiles.get("operator-1").context("no operator")?;
    let report = desk::ran(operator, &["compliance", "export"])?;
    let mut lines = report.lines().map(|line| line.split(','));
    let at = lines.next().and_then(|mut names| names.position(|name| name == column)).context("no column")?;
    let mut row = lines.find(|row| row.clone().any(|cell| cell == dataset)).context("no row")?;
    Ok(row.nth(at).context("the row is short")?.to_owned())
}

#[tokio::test]
async fn a_backend_that_turns_an_entitled_consumer_away_is_found_until_it_serves_again() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let mut client = trial::client(&mesh).await?;
    let refuses = Instruction { code: Code::PermissionDenied.into(), ..Instruction::default() };
    let mut turned_away = Vec::new();
    for _ in 0..TURNED_AWAY_MIN {
        let answer = client.get_record(trial::asked(trial::get(refuses.clone()))).await;
        let error = answer.err().context("the backend answered")?;
        assert_eq!(error.code(), Code::PermissionDenied);
        assert!(status::read(&error).is_none(), "the mesh has denied nothing: {error:?}");
        turned_away.push(trial::exchange_id(error.metadata()));
    }

    // Both sides write the same word of it.
    eventually("both sides have each refusal on record", async || {
        let log = records(&mesh.mesh.layout.log)?;
        for exchange in &turned_away {
            let both = closings(&log, exchange)?;
            let mut sides: Vec<Side> =
                both.iter().filter_map(|one| Some(one.exchange.as_ref()?.side())).collect();
            sides.sort();
            ensure!(sides == [Side::Consumer, Side::Provider], "{exchange}: {sides:?}");
            for one in both {
                assert_eq!((one.reason.as_str(), one.status()), (UNDECLARED_REFUSAL, Status::Refused));
            }
        }
        Ok(true)
    })
    .await?;

    // The broker finds it, whom it was done to sees it, and it counts.
    let mut found = Value::Null;
    eventually("it is a finding", async || {
        found = findings(&mesh, "undeclared-refusal")?.into();
        Ok(found.as_array().is_some_and(|found| !found.is_empty()))
    })
    .await?;
    assert_eq!(found[0]["nodes"], json!(["agencies/G09/nodes/n1"]), "{found}");
    let detail = found[0]["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("G09 towards H26.90 for thunghiem.ban_ghi") && found[1].is_null(), "{found}");
    let consumer = node_profile(&mesh, "H26.90")?;
    let disputes: Value =
        serde_json::from_str(&desk::ran(&consumer, &["dispute", "list", "--open", "--json"])?)?;
    assert_eq!(disputes["disputes"][0]["cause"], "DISPUTE_CAUSE_UNDECLARED_REFUSAL", "{disputes}");
    let counted = entry(&mesh, TRIAL)?;
    assert_eq!(counted["refusals"]["undeclared"], 1, "{counted}");
    assert_eq!(counted["refusals"]["byReason"], json!([{ "reason": UNDECLARED_REFUSAL, "count": 1 }]));
    assert_eq!(counted["calls"]["refused"], TURNED_AWAY_MIN.to_string(), "{counted}");
    assert_eq!(state(&counted, "SERVED")?, "CHECK_STATE_FAILED", "{counted}");

    // It serves again: over, and not forgotten.
    client.get_record(trial::asked(trial::get(Instruction::default()))).await?;
    eventually("the finding is closed", async || Ok(findings(&mesh, "undeclared-refusal")?.is_empty()))
        .await?;
    assert_eq!(state(&entry(&mesh, TRIAL)?, "SERVED")?, "CHECK_STATE_PASSED");
    assert_eq!(reported(&mesh, TRIAL, "refusals_undeclared")?, "1");
    mesh.stop().await
}

/// The demo's mesh in which the code list is taken over page by page, and a copy of it is good for some seconds.
fn with_copies() -> Result<Plan> {
    let mut plan = Plan::demo();
    let (_, entries) = plan.catalog.iter_mut().find(|(name, _)| name == "entries.yaml").context("entries")?;
    ensure!(entries.contains("max_staleness: 7d"), "the sample catalog has changed");
    *entries = entries.replace("max_staleness: 7d", "max_staleness: 6s");
    let backend = plan.backends.iter_mut().find(|backend| backend.kind == "danhmuc").context("no backend")?;
    // The options of its last method: dataset (1) and kind (2), a question.
    let question = [&[0x0a, 12], CODE_LIST.as_bytes(), &[0x10, 1]].concat();
    let at = backend.contract.windows(question.len()).rposition(|bytes| bytes == question);
    let kind = at.context("the contract asks nothing")? + question.len() - 1;
    backend.contract[kind] = 2;
    Ok(plan)
}

/// What is late is told from the first moment.
fn impatient(layout: &Layout) -> Result<()> {
    let path = layout.dir.join("config/broker.toml");
    let mut config: toml::Table = toml::from_str(&fs::read_to_string(&path)?)?;
    let rules = config.get_mut("compliance").and_then(toml::Value::as_table_mut);
    let rules = rules.context("the broker's configuration has no [compliance]")?;
    rules.insert("start_grace_ms".to_owned(), 0.into());
    Ok(fs::write(&path, toml::to_string(&config)?)?)
}

#[tokio::test]
async fn a_copy_that_is_no_longer_fed_is_found_until_it_is_fed_again() -> Result<()> {
    let mesh = TestMesh::start_plan(&with_copies()?, impatient).await?;
    let feed = async || {
        let fed = mesh.office(LIST_UNITS, "{}", &handling()).await?;
        ensure!(fed.error.is_none(), "{:?}", fed.error);
        Ok(())
    };
    eventually("the copy is fed, and good", async || {
        feed().await?;
        Ok(state(&entry(&mesh, CODE_LIST)?, "COPIES")? == "CHECK_STATE_PASSED")
    })
    .await?;
    assert_eq!(findings(&mesh, "invalid-copy")?, [] as [Value; 0]);

    // Nobody feeds it: its holder owes the explanation.
    let mut found = Vec::new();
    eventually("it is a finding", async || {
        found = findings(&mesh, "invalid-copy")?;
        Ok(!found.is_empty())
    })
    .await?;
    assert_eq!(found[0]["nodes"], json!(["agencies/H26.90/nodes/n1"]), "{found:?}");
    let detail = found[0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("H26.90 holds a copy of danhmuc.dvhc of G09") && found.len() == 1, "{found:?}");
    assert_eq!(state(&entry(&mesh, CODE_LIST)?, "COPIES")?, "CHECK_STATE_FAILED");

    eventually("the copy is fed again, and the finding closed", async || {
        feed().await?;
        let good = state(&entry(&mesh, CODE_LIST)?, "COPIES")? == "CHECK_STATE_PASSED";
        Ok(good && findings(&mesh, "invalid-copy")?.is_empty())
    })
    .await?;
    mesh.stop().await
}

/// Calls that are denied one behind the other and beside each other: far more than a node records one by one.
const DENIED: usize = 400;
const DENIED_AT_ONCE: usize = 40;

#[tokio::test]
async fn denials_that_were_only_counted_are_in_the_scorecard() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    let client = mesh.mesh.client(OFFICE)?;
    let stated = Stated {
        purpose: Some("STATE_MANAGEMENT".to_owned()),
        fields: vec!["noi_bo".to_owned()],
        ..Stated::default()
    };
    let mut contract = None;
    eventually("the connection trial is shared", async || {
        contract = Some(client.contract(GET_TRIAL_RECORD, &Stated::default()).await?);
        Ok(true)
    })
    .await?;
    let pool = &contract.context("no contract")?;
    let calls = (0..DENIED)
        .map(|_| call::call_with(pool, &client, GET_TRIAL_RECORD, r#"{"maBanGhi":"TN-000007"}"#, &stated));
    let answers: Vec<_> = stream::iter(calls).buffer_unordered(DENIED_AT_ONCE).try_collect().await?;
    for answer in &answers {
        assert_eq!(reason(answer), Some(Reason::DenyField), "{:?}", answer.error);
    }

    // A node says once a minute, and when it stops, what it has only counted.
    mesh.mesh.restart_node("H26.90", false).await?;
    let of_office = |record: &Record| record.recorder == "agencies/H26.90/nodes/n1";
    let (mut whole, mut together) = (0, Vec::new());
    eventually("every denial is on record", async || {
        let log = records(&mesh.mesh.layout.log)?;
        let bodies =
            || log.iter().filter(|record| of_office(record)).filter_map(|record| record.body.as_ref());
        whole = bodies()
            .filter(|body| matches!(body, Body::Denial(one) if one.reason == Reason::DenyField.name()))
            .count();
        together = bodies()
            .filter_map(|body| match body {
                Body::Aggregate(many) if many.reason == Reason::DenyField.name() => Some(many.clone()),
                _ => None,
            })
            .collect();
        Ok(whole as u64 + together.iter().map(|many| many.count).sum::<u64>() == DENIED as u64)
    })
    .await
    .with_context(|| format!("{whole} one by one, together {together:?}"))?;
    ensure!(!together.is_empty(), "each denial has a record of its own");
    for Aggregate { provider, dataset, consumer, .. } in &together {
        assert_eq!((provider.as_str(), dataset.as_str(), consumer.as_str()), ("G09", TRIAL, "H26.90"));
    }
    eventually("every denial is in the scorecard", async || {
        let calls = entry(&mesh, TRIAL)?["calls"].clone();
        let denied = calls["denied"].as_str().unwrap_or("0").parse::<usize>()?;
        ensure!(denied == DENIED && calls["requested"] == calls["denied"], "{calls}");
        Ok(true)
    })
    .await?;
    assert_eq!(reported(&mesh, TRIAL, "denied")?, DENIED.to_string());
    mesh.stop().await
}
