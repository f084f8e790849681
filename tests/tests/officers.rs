//! What a security officer does with the log: searches, traces a person, erases one.
#![allow(clippy::unwrap_used)] // test code

use anyhow::{Result, ensure};
use lienthong_audit::keys::find_in;
use lienthong_tests::eventually;
use lienthong_tests::officers::{NUMBER, Officers, exchanges, text};
use serde_json::Value;

#[tokio::test]
async fn a_person_is_found_and_sees_who_looked() -> Result<()> {
    let officers = Officers::start().await?;
    let exchange = officers.call().await?;
    officers.has_found_both_sides(&exchange).await?;
    let own = officers.search("officer-H26.90", &["--subject", NUMBER, "--consumer", "H26.90"]).await?;
    ensure!(exchanges(&own)?.contains(&exchange), "the consumer's officer sees its own exchange");
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
        officers.audit("auditor", "export", &["--kind", "closing", "--output", text(&export)?]).await?;
    ensure!(exported.success && std::fs::read_to_string(&export)?.contains(&exchange), "{}", exported.said);
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
    ensure!(exchanges(&found)?.is_empty(), "{found}");
    let gone = async || Ok(rows("G01")?.is_empty() && rows("H26.90")?.is_empty());
    eventually("no node holds the key of the exchange", gone).await?;

    let file = officers.path("evidence.json");
    let taken = officers.audit("officer-G01", "evidence", &[&exchange, "--output", text(&file)?]).await?;
    ensure!(taken.success && std::fs::read_to_string(&file)?.contains("was erased"), "{}", taken.said);
    let judged = officers.judged(&file, None).await?;
    ensure!(!judged.said.contains("✗"), "the records are as they were: {}", judged.said);
    let log = officers.path("mesh/broker/log");
    let verified = officers.run(&["audit", "verify", text(&log)?]).await?;
    ensure!(verified.success, "{}", verified.said);
    officers.mesh.stop().await
}

#[tokio::test]
async fn the_index_is_made_anew_from_the_log() -> Result<()> {
    let mut officers = Officers::start().await?;
    let exchange = officers.call().await?;
    let found = async |officers: &Officers| -> Result<bool> {
        Ok(exchanges(&officers.search("auditor", &["--subject", NUMBER]).await?)?.contains(&exchange))
    };
    eventually("the person is found", async || found(&officers).await).await?;
    let data_dir = officers.path("mesh/broker");
    let running = officers.run(&["audit", "reindex", text(&data_dir)?]).await?;
    ensure!(!running.success && running.said.contains("running"), "{}", running.said);
    officers.mesh.mesh.kill_broker().await?;
    std::fs::remove_dir_all(data_dir.join("index/blocks"))?;
    let made = officers.run(&["audit", "reindex", text(&data_dir)?]).await?;
    ensure!(made.success && made.said.contains("entries indexed"), "{}", made.said);
    officers.mesh.mesh.start_broker().await?;
    eventually("the person is found again", async || found(&officers).await).await?;
    officers.mesh.stop().await
}
