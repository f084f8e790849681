//! The catalog and the duty to share, by the command line, on a mesh of real processes: four eyes, and scenario 6 of the
//! domain, a refusal against the rules.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lienthong::client::Stated;
use lienthong_proto::reason::Reason;
use lienthong_tests::desk::node_profile;
use lienthong_tests::{TestMesh, eventually, handling, program, reason};
use serde_json::Value;

const GET_CITIZEN: &str = "/vn.dancu.v1.CitizenService/GetCitizen";
const CITIZEN: &str = r#"{"soDinhDanh":"999190000001"}"#;

/// Runs the program against the broker with a profile.
fn run(mesh: &TestMesh, profile: &Path, arguments: &[&str]) -> Result<Output> {
    let _ = mesh;
    Ok(Command::new(program()?).args(arguments).arg("--profile").arg(profile).output()?)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(mesh: &TestMesh, profile: &Path, arguments: &[&str]) -> Result<Value> {
    let output = run(mesh, profile, &[arguments, &["--json"]].concat())?;
    anyhow::ensure!(output.status.success(), "{arguments:?}: {}", said(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn officer(mesh: &TestMesh, number: u8) -> Result<std::path::PathBuf> {
    let profiles = &mesh.mesh.layout.profiles;
    profiles.get(&format!("operator-{number}")).cloned().context("the mesh has no such officer")
}

async fn residence(mesh: &TestMesh) -> Result<lienthong::commands::call::Outcome> {
    mesh.office(GET_CITIZEN, CITIZEN, &handling()).await
}

#[tokio::test]
async fn a_change_of_the_catalog_takes_two_persons_and_reaches_the_next_call() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let (one, two) = (officer(&mesh, 1)?, officer(&mesh, 2)?);
    let dir = mesh.mesh.layout.dir.join("change");
    let shown = dir.display().to_string();
    let exported = run(&mesh, &one, &["catalog", "export", &shown])?;
    anyhow::ensure!(exported.status.success(), "{}", said(&exported));
    let same = run(&mesh, &one, &["catalog", "diff", &shown])?;
    anyhow::ensure!(same.status.success() && said(&same).contains("no difference"), "{}", said(&same));

    let denied = mesh
        .office(GET_CITIZEN, CITIZEN, &Stated { fields: vec!["gioi_tinh".to_owned()], ..handling() })
        .await?;
    assert_eq!(reason(&denied), Some(Reason::DenyField));
    let entries = dir.join("entries.yaml");
    let text = fs::read_to_string(&entries)?;
    let text = text.replacen("- id: CE-0001\n    version: 1", "- id: CE-0001\n    version: 2", 1);
    let text = text.replacen(
        "[so_dinh_danh, ho_ten, noi_thuong_tru]",
        "[so_dinh_danh, ho_ten, noi_thuong_tru, gioi_tinh]",
        1,
    );
    fs::write(&entries, text)?;
    let differs = run(&mesh, &one, &["catalog", "diff", &shown])?;
    anyhow::ensure!(!differs.status.success(), "a difference is a failure");
    assert!(
        said(&differs).contains("~ entries/CE-0001") && said(&differs).contains("version: 1 → 2"),
        "{}",
        said(&differs)
    );

    // A real call that the change would decide differently is on record by now; the denial above, too.
    assert!(residence(&mesh).await?.error.is_none());
    let mut words = String::new();
    let planned = eventually("the plan counts the calls that are on record", async || {
        words = said(&run(&mesh, &one, &["catalog", "plan", &shown, "--days", "1"])?);
        Ok(words.contains("DENY_FIELD → ALLOW") && words.contains("ALLOW (ho_ten"))
    })
    .await;
    planned.with_context(|| words.clone())?;
    assert!(words.contains("H26.90 ← G01 dancu.cong_dan for ADMIN_PROCEDURE"), "{words}");
    assert!(words.contains("gains gioi_tinh"), "{words}");

    let proposed = json(&mesh, &one, &["catalog", "apply", &shown, "--note", "thêm giới tính"])?;
    let name = proposed["change"]["name"].as_str().context("no name")?.to_owned();
    let hash = json(&mesh, &two, &["catalog", "changes", "--state", "proposed"])?;
    let hash = hash["changes"][0]["contentHash"].as_str().context("no hash")?.to_owned();
    let hash = hex::encode(base64_of(&hash)?);
    let own = run(&mesh, &one, &["catalog", "approve", &name, "--content", &hash])?;
    assert!(!own.status.success() && said(&own).contains("another person"), "{}", said(&own));
    let blind = run(&mesh, &two, &["catalog", "approve", &name])?;
    assert!(!blind.status.success() && said(&blind).contains("Nothing is approved"), "{}", said(&blind));
    assert!(said(&blind).contains("~ entries/CE-0001"), "{}", said(&blind));
    let wrong = run(&mesh, &two, &["catalog", "approve", &name, "--content", &"0".repeat(64)])?;
    assert!(!wrong.status.success() && said(&wrong).contains("another content"), "{}", said(&wrong));
    let approved = json(&mesh, &two, &["catalog", "approve", &name, "--content", &hash])?;
    assert_eq!(approved["change"]["state"], "CHANGE_STATE_APPLIED");

    let more = Stated { fields: vec!["gioi_tinh".to_owned()], ..handling() };
    eventually("the field that was granted is released", async || {
        Ok(mesh.office(GET_CITIZEN, CITIZEN, &more).await?.error.is_none())
    })
    .await?;
    mesh.stop().await
}

#[tokio::test]
async fn scenario_6_a_refusal_against_the_rules_stops_nothing_and_a_lawful_one_suspends() -> Result<()> {
    let mesh = TestMesh::start().await?;
    mesh.until_served().await?;
    let (provider, consumer) = (node_profile(&mesh, "G01")?, node_profile(&mesh, "H26.90")?);
    let declare = ["refusal", "declare", "--consumer", "H26.90", "--dataset", "dancu.cong_dan"];

    // "Not yet instructed" is no reason of the law.
    let unjustified = json(&mesh, &provider, &[&declare[..], &["--reason", "chưa có chỉ đạo"]].concat())?;
    assert_eq!(unjustified["refusal"]["state"], "REFUSAL_STATE_UNJUSTIFIED");
    assert_eq!(unjustified["dispute"]["stage"], "DISPUTE_STAGE_PROVIDER");
    assert!(residence(&mesh).await?.error.is_none(), "the data goes on");
    let seen = json(&mesh, &consumer, &["dispute", "list", "--open"])?;
    assert_eq!(seen["disputes"][0]["cause"], "DISPUTE_CAUSE_UNJUSTIFIED_REFUSAL", "the consumer sees it");

    let lawful = ["--reason", "OVERLOAD", "--legal-basis", "252/2026/NĐ-CP, Điều 55.6"];
    let lawful = json(&mesh, &provider, &[&declare[..], &lawful].concat())?;
    let declared = Instant::now();
    assert_eq!(lawful["refusal"]["state"], "REFUSAL_STATE_SUSPENDING");
    let name = lawful["refusal"]["name"].as_str().context("no name")?.to_owned();
    eventually("the call is refused by the provider", async || {
        let outcome = residence(&mesh).await?;
        let Some(error) = &outcome.error else { return Ok(false) };
        assert_eq!(reason(&outcome), Some(Reason::RefusedByProvider), "{error:?}");
        assert!(
            error.message().contains(&name) && error.message().contains("OVERLOAD"),
            "{}",
            error.message()
        );
        Ok(true)
    })
    .await?;
    assert!(declared.elapsed() < Duration::from_secs(15), "{:?}", declared.elapsed());

    let withdrawn = json(&mesh, &provider, &["refusal", "withdraw", &name, "--reason", "đã nâng cấp"])?;
    assert_eq!(withdrawn["state"], "REFUSAL_STATE_WITHDRAWN");
    eventually("the right is restored", async || Ok(residence(&mesh).await?.error.is_none())).await?;

    let listed = run(&mesh, &officer(&mesh, 1)?, &["refusal", "list"])?;
    let words = said(&listed);
    assert!(words.contains("unjustified") && words.contains("withdrawn"), "{words}");
    mesh.stop().await
}

fn base64_of(text: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
}
