//! What a security officer does: searches, traces a person, takes evidence away and has it judged by programs that know
//! nothing of each other; and what is altered on the way is found.
#![allow(clippy::unwrap_used)] // test code

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lienthong::commands::call::Outcome;
use lienthong_audit::{keys::find_in, record};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_tests::{GET_CITIZEN, PERSON, TestMesh, eventually, handling, program};
use serde_json::Value;
use tokio::process::Command;

const LIST_CITIZENS: &str = "/vn.dancu.v1.CitizenService/ListCitizens";

const NUMBER: &str = "999190000001";

struct Ran {
    success: bool,
    said: String,
}

struct Officers {
    mesh: TestMesh,
}

impl Officers {
    async fn start() -> Result<Self> {
        Ok(Self { mesh: TestMesh::start().await? })
    }

    async fn call(&self) -> Result<String> {
        let outcome: Outcome = self.mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
        ensure!(outcome.error.is_none(), "the call failed: {:?}", outcome.error);
        outcome.exchange_id.context("the answer names no exchange")
    }

    async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let output = Command::new(program()?).args(arguments).output().await?;
        let said = [output.stdout, output.stderr].concat();
        Ok(Ran { success: output.status.success(), said: String::from_utf8_lossy(&said).into_owned() })
    }

    /// `lienthong audit`, asked by somebody on a case.
    async fn audit(&self, who: &str, command: &str, arguments: &[&str]) -> Result<Ran> {
        let profile = self.mesh.mesh.layout.profiles.get(who).context("nobody is called so")?;
        let profile = profile.to_str().context("a path")?;
        let asked = ["audit", command, "--profile", profile, "--case", "VA-2026-17", "--reason", "kiểm tra"];
        self.run(&[&asked[..], arguments].concat()).await
    }

    async fn search(&self, who: &str, arguments: &[&str]) -> Result<Value> {
        let ran = self.audit(who, "search", &[&["--json"], arguments].concat()).await?;
        ensure!(ran.success, "{}", ran.said);
        Ok(serde_json::from_str(&ran.said)?)
    }

    /// Waits until both sides' records are found by the person's number, which stands nowhere in the log.
    async fn has_found_both_sides(&self, exchange: &str) -> Result<()> {
        eventually("both records are found by their subject", async || {
            let found = self.search("auditor", &["--subject", NUMBER]).await?;
            Ok(exchanges(&found).iter().filter(|found| *found == exchange).count() == 2)
        })
        .await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mesh.folder.path().join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn exchanges(found: &Value) -> Vec<String> {
    let of = |record: &Value| record["exchange"].as_str().unwrap().to_owned();
    found["records"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test]
async fn a_person_is_found_and_sees_who_looked() -> Result<()> {
    let officers = Officers::start().await?;
    let exchange = officers.call().await?;
    officers.has_found_both_sides(&exchange).await?;
    let own = officers.search("officer-H26.90", &["--subject", NUMBER, "--consumer", "H26.90"]).await?;
    ensure!(exchanges(&own).contains(&exchange), "the consumer's officer sees its own exchange");
    let table =
        officers.audit("officer-G01", "search", &["--exchange", &exchange, "--agency", "bo cong an"]).await?;
    ensure!(table.success && table.said.contains("2 records"), "{}", table.said);
    let refused = officers.audit("operator-1", "search", &[]).await?;
    ensure!(!refused.success && refused.said.contains("PermissionDenied"), "{}", refused.said);

    // The person's own trace: each exchange once, until an authority seals it.
    let traced = async |who: &str| -> Result<Vec<String>> {
        let ran = officers.audit(who, "subject", &[NUMBER, "--json"]).await?;
        let uses: Value = serde_json::from_str(&ran.said)?;
        let of = |one: &Value| one["exchange"].as_str().unwrap().to_owned();
        Ok(uses["uses"].as_array().unwrap().iter().map(of).collect())
    };
    let uses = traced("officer-G01").await?;
    ensure!(uses.iter().filter(|found| **found == exchange).count() == 1, "{uses:?}");
    let sealed = officers.audit("auditor", "disclose", &[&exchange, "--sealed"]).await?;
    ensure!(sealed.success, "{}", sealed.said);
    eventually("what is sealed is not shown", async || Ok(!traced("officer-G01").await?.contains(&exchange)))
        .await?;
    ensure!(traced("auditor").await?.contains(&exchange), "the auditor sees it");

    let export = officers.path("export.csv");
    let exported =
        officers.audit("auditor", "export", &["--kind", "closing", "--output", text(&export)]).await?;
    ensure!(exported.success && std::fs::read_to_string(&export)?.contains(&exchange), "{}", exported.said);
    officers.mesh.stop().await
}

#[tokio::test]
async fn the_evidence_stands_without_us_and_no_part_of_it_can_be_altered() -> Result<()> {
    let officers = Officers::start().await?;
    let exchange = officers.call().await?;
    officers.has_found_both_sides(&exchange).await?;
    // Judged by two programs that share no code.
    let file = officers.path("evidence.json");
    let journal = officers.path("mesh/nodes/G01/journal");
    eventually("the node's housekeeping has written the key of the exchange", async || {
        let taken = ["--output", text(&file), "--journal", text(&journal)];
        let taken =
            officers.audit("officer-G01", "evidence", &[&[exchange.as_str()], &taken[..]].concat()).await?;
        ensure!(taken.success, "{}", taken.said);
        Ok(true)
    })
    .await?;
    let policy = officers.path("policy.txt");
    std::fs::copy(&officers.mesh.mesh.layout.policy, &policy)?;
    eventually("the checkpoint of the evidence has its witnesses", async || {
        officers
            .audit(
                "officer-G01",
                "evidence",
                &[&exchange, "--output", text(&file), "--journal", text(&journal)],
            )
            .await?;
        let judged =
            officers.run(&["audit", "verify-evidence", text(&file), "--policy", text(&policy)]).await?;
        ensure!(judged.success && judged.said.ends_with("GENUINE\n"), "{}", judged.said);
        Ok(true)
    })
    .await?;
    let python = python(&file, Some(&policy)).await?;
    ensure!(python.success && python.said.ends_with("GENUINE\n"), "{}", python.said);

    let whole: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let altered = officers.path("altered.json");
    let mut places = 0;
    for (number, place) in places_of(&whole).into_iter().enumerate() {
        let mut value = whole.clone();
        alter(value.pointer_mut(&place).unwrap(), number)?;
        std::fs::write(&altered, value.to_string())?;
        let judged =
            officers.run(&["audit", "verify-evidence", text(&altered), "--policy", text(&policy)]).await?;
        ensure!(!judged.success, "{place} was altered and nobody saw it: {}", judged.said);
        if number % 5 == 0 {
            let python = self::python(&altered, Some(&policy)).await?;
            ensure!(
                !python.success,
                "{place} was altered and the second judge did not see it: {}",
                python.said
            );
        }
        places += 1;
    }
    ensure!(places > 40, "only {places} places to alter");
    officers.mesh.stop().await
}

/// A list names more people than a record has room for: the rest stands in continuations, and none of them can be left out.
#[tokio::test]
async fn evidence_about_many_people_is_whole_or_it_is_none() -> Result<()> {
    let officers = Officers::start().await?;
    let outcome = officers.mesh.office(LIST_CITIZENS, r#"{"pageSize":1000}"#, &handling()).await?;
    ensure!(outcome.error.is_none(), "the call failed: {:?}", outcome.error);
    let exchange = outcome.exchange_id.context("the answer names no exchange")?;
    let file = officers.path("evidence.json");
    let continuations = |evidence: &Value| -> Vec<usize> {
        let records = evidence["records"].as_array().unwrap();
        let is_one = |record: &Value| {
            let entry = STANDARD.decode(record["entry"].as_str().unwrap()).unwrap();
            matches!(record::decode(&entry).unwrap().body, Some(Body::Continuation(_)))
        };
        (0..records.len()).filter(|at| is_one(&records[*at])).collect()
    };
    let mut whole = Value::Null;
    eventually("both sides are on record", async || {
        let taken = officers.audit("auditor", "evidence", &[&exchange, "--output", text(&file)]).await?;
        ensure!(taken.success, "{}", taken.said);
        whole = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        Ok(whole["batches"].as_array().is_some_and(|batches| batches.len() == 2))
    })
    .await?;
    let judged = officers.run(&["audit", "verify-evidence", text(&file)]).await?;
    ensure!(!judged.said.contains("✗"), "{}", judged.said);
    let python = python(&file, None).await?;
    ensure!(python.success, "{}", python.said);
    let found = continuations(&whole);
    ensure!(found.len() >= 2, "{} continuations", found.len());
    for left_out in found {
        let mut lacking = whole.clone();
        lacking["records"].as_array_mut().unwrap().remove(left_out);
        std::fs::write(&file, lacking.to_string())?;
        let judged = officers.run(&["audit", "verify-evidence", text(&file)]).await?;
        ensure!(!judged.success, "record {left_out} was left out and nobody saw it: {}", judged.said);
        let python = self::python(&file, None).await?;
        ensure!(!python.success, "record {left_out}, and the second judge: {}", python.said);
    }
    officers.mesh.stop().await
}

#[tokio::test]
async fn an_erased_person_is_found_nowhere_and_his_records_open_at_no_node() -> Result<()> {
    let officers = Officers::start().await?;
    let exchange = officers.call().await?;
    officers.has_found_both_sides(&exchange).await?;
    let id = uuid::Uuid::parse_str(&exchange)?.into_bytes();
    let rows = |agency: &str| find_in(&officers.path(&format!("mesh/nodes/{agency}/journal/keys")), &id);
    let held = async || Ok(!rows("G01")?.is_empty() && !rows("H26.90")?.is_empty());
    eventually("both nodes hold the key of the exchange", held).await?;

    let law = ["--legal-basis", "Luật 91/2025", NUMBER];
    let refused = officers.audit("officer-G01", "erase", &law).await?;
    ensure!(!refused.success && refused.said.contains("PermissionDenied"), "{}", refused.said);
    let erased = officers.audit("auditor", "erase", &law).await?;
    ensure!(erased.success && erased.said.contains("erased from the index"), "{}", erased.said);
    let found = officers.search("auditor", &["--subject", NUMBER]).await?;
    ensure!(exchanges(&found).is_empty(), "{found}");
    let gone = async || Ok(rows("G01")?.is_empty() && rows("H26.90")?.is_empty());
    eventually("no node holds the key of the exchange", gone).await?;

    let file = officers.path("evidence.json");
    let taken = officers.audit("officer-G01", "evidence", &[&exchange, "--output", text(&file)]).await?;
    ensure!(taken.success && std::fs::read_to_string(&file)?.contains("was erased"), "{}", taken.said);
    let judged = officers.run(&["audit", "verify-evidence", text(&file)]).await?;
    ensure!(!judged.said.contains("✗"), "the records are as they were: {}", judged.said);
    let log = officers.path("mesh/broker/log");
    let verified = officers.run(&["audit", "verify", text(&log)]).await?;
    ensure!(verified.success, "{}", verified.said);
    officers.mesh.stop().await
}

#[tokio::test]
async fn the_index_is_made_anew_from_the_log() -> Result<()> {
    let mut officers = Officers::start().await?;
    let exchange = officers.call().await?;
    let found = async |officers: &Officers| -> Result<bool> {
        Ok(exchanges(&officers.search("auditor", &["--subject", NUMBER]).await?).contains(&exchange))
    };
    eventually("the person is found", async || found(&officers).await).await?;
    let data_dir = officers.path("mesh/broker");
    let running = officers.run(&["audit", "reindex", text(&data_dir)]).await?;
    ensure!(!running.success && running.said.contains("running"), "{}", running.said);
    officers.mesh.mesh.kill_broker().await?;
    std::fs::remove_dir_all(data_dir.join("index/blocks"))?;
    let made = officers.run(&["audit", "reindex", text(&data_dir)]).await?;
    ensure!(made.success && made.said.contains("entries indexed"), "{}", made.said);
    officers.mesh.mesh.start_broker().await?;
    eventually("the person is found again", async || found(&officers).await).await?;
    officers.mesh.stop().await
}

/// Every place of an evidence file whose alteration must be seen, as JSON pointers.
fn places_of(file: &Value) -> Vec<String> {
    let mut places = vec!["/exchange_id".to_owned(), "/checkpoint".to_owned()];
    let mut found = |at: &str, value: &Value| {
        places.push(format!("{at}/index"));
        places.push(format!("{at}/entry"));
        places.extend((0..value["path"].as_array().unwrap().len()).map(|step| format!("{at}/path/{step}")));
    };
    for (number, value) in file["records"].as_array().unwrap().iter().enumerate() {
        found(&format!("/records/{number}"), value);
    }
    let mut more = Vec::new();
    for (number, value) in file["batches"].as_array().unwrap().iter().enumerate() {
        found(&format!("/batches/{number}/seal"), &value["seal"]);
        more.extend(
            (0..value["leaf_hashes"].as_array().unwrap().len())
                .map(|hash| format!("/batches/{number}/leaf_hashes/{hash}")),
        );
    }
    for (number, value) in file["bundles"].as_array().unwrap().iter().enumerate() {
        found(&format!("/bundles/{number}/published"), &value["published"]);
        if !value["bundle"].as_str().unwrap().is_empty() {
            more.push(format!("/bundles/{number}/bundle"));
        }
    }
    let signers = file["batches"].as_array().unwrap().len();
    more.extend((0..signers).map(|number| format!("/certificates/{number}/certificate")));
    places.extend(more);
    places
}

/// One bit of a byte string, one letter of the log's name, or one more in a number.
fn alter(value: &mut Value, number: usize) -> Result<()> {
    *value = match &*value {
        Value::Number(index) => Value::from(index.as_u64().unwrap() + 1),
        Value::String(text) if text.contains('\n') => Value::from(text.replacen("log", "lag", 1)),
        Value::String(text) => {
            let mut bytes = STANDARD.decode(text).unwrap();
            let at = (number * 7919) % bytes.len();
            bytes[at] ^= 1 << (number % 8);
            Value::from(STANDARD.encode(bytes))
        }
        other => bail!("nothing knows how to alter {other}"),
    };
    Ok(())
}

async fn python(file: &Path, policy: Option<&Path>) -> Result<Ran> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/evidence/verify_evidence.py");
    let mut command =
        Command::new(std::env::var("LIENTHONG_PYTHON").unwrap_or_else(|_| "python3".to_owned()));
    command.arg(script).arg(file);
    if let Some(policy) = policy {
        command.arg("--policy").arg(policy);
    }
    let output =
        command.output().await.context("python3 with the package cryptography is needed; see tests/run")?;
    let said = [output.stdout, output.stderr].concat();
    Ok(Ran { success: output.status.success(), said: String::from_utf8_lossy(&said).into_owned() })
}
