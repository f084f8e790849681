//! The console of a mesh as large as the country: 1,000 agencies, 5,000 entries, 1,000 nodes, five thousand records. Each page
//! stays short and comes quickly, and nothing that an agency calls itself is more than text on it.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // test code

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use lienthong::client::{self, Client};
use lienthong::commands::call;
use lienthong::demo::{layout::Layout, plan::Plan};
use lienthong_tests::browser::{Browser, browser, get};
use lienthong_tests::{GET_CITIZEN, OFFICE, PERSON, TestMesh, eventually, handling};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const AGENCIES: usize = 1_000;
/// Entries of the first of them, which has more than anybody else; the others have [`ENTRIES_EACH`].
const ENTRIES_OF_ONE: usize = 1_004;
const ENTRIES_EACH: usize = 4;
const NODES: usize = 1_000;
/// Calls; each leaves two records.
const CALLS: usize = 2_600;
const CALLERS: usize = 8;

/// A page takes a twentieth of this where nothing else runs; a machine of tests is busy, and the build is not optimised.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows that any page has at most; a browser on an old desk shows them at once.
const ROWS_MAX: usize = 1_100;
/// Rows of a file at most.
const FILE_ROWS_MAX: usize = 10_000;
/// Bytes of any page at most.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a hostile agency calls itself.
const HOSTILE: &str = "\"><script>alert(1)</script>' onload=alert(1) \u{202e}gnud&lt;";

fn code(number: usize) -> String {
    format!("H27.{number:04}")
}

/// Agencies of one file: the whole country would be over the bound of what one file may hold.
const AGENCIES_OF_A_FILE: usize = 100;

/// A part of the country beside the demonstration's agencies. JSON is YAML.
fn country(part: usize) -> String {
    let basis = json!([{ "instrument": "278/2025/NĐ-CP", "article": "Điều 8", "note": "demo – verify" }]);
    let (mut agencies, mut databases, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for number in part * AGENCIES_OF_A_FILE + 1..=(part + 1) * AGENCIES_OF_A_FILE {
        let name = if number == 2 {
            HOSTILE.to_owned()
        } else {
            format!("Ủy ban nhân dân xã Mẫu số {number}")
        };
        agencies.push(json!({
            "code": code(number), "name_vi": name, "name_en": format!("Commune {number}"), "bloc": "LOCAL",
            "level": "PROVINCE", "roles": ["PROVIDER", "CONSUMER"], "security_level": 3,
        }));
        let count = if number == 1 { ENTRIES_OF_ONE } else { ENTRIES_EACH };
        let dataset = |place: usize| format!("mau{number:04}.d{place}");
        let datasets: Vec<Value> = (0..count).map(|place| json!({ "id": dataset(place) })).collect();
        databases.push(json!({
            "id": format!("mau_{number:04}"), "name_vi": "Cơ sở dữ liệu mẫu", "kind": "SECTORAL_DB",
            "owner_code": code(number), "legal_basis": basis, "datasets": datasets,
        }));
        entries.extend((0..count).map(|place| {
            json!({
                "id": format!("CE-{}", 10_000 + number * 2_000 + place), "version": 1, "dataset_id": dataset(place),
                "provider_code": code(number), "legal_basis": basis, "mandatory_consumers": ["H26.90"],
                "purposes": ["STATE_MANAGEMENT"], "fields_by_purpose": { "STATE_MANAGEMENT": ["*"] },
                "classification": { "sharing": "SHARED", "importance": "OTHER", "secrecy": "NONE", "personal": "NONE" },
                "methods": ["QUERY"], "freshness": "24h", "fee_policy": { "state_bodies": "EXEMPT" },
                "effective_from": "2025-11-01", "deadline": "2026-12-31",
                "approved_by": ["operator.catalog.01", "operator.legal.02"], "status": "ACTIVE",
            })
        }));
    }
    json!({ "agencies": agencies, "databases": databases, "entries": entries }).to_string()
}

/// A node each, that never connects.
fn with_nodes(layout: &Layout) -> Result<()> {
    let path = layout.dir.join("registry.yaml");
    let mut registry: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let nodes = registry["nodes"].as_array_mut().context("no nodes")?;
    nodes.extend((1..=NODES).map(|number| {
        json!({
            "agency": code(number), "id": "n1", "address": "127.0.0.1:9",
            "server_name": format!("n1.h27-{number:04}.demo.invalid"),
            "certificates": [{ "issuer": "CN=DEMO", "serial": format!("{number:08x}"), "spki_sha256": format!("{number:064x}") }],
        })
    }));
    Ok(fs::write(path, registry.to_string())?)
}

/// Five thousand records.
async fn traffic(mesh: &TestMesh) -> Result<()> {
    let profile = mesh.mesh.layout.profiles.get(OFFICE).context("no profile")?.clone();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let client = Client::new(&client::profile(&profile)?)?;
        callers.spawn(async move {
            for _ in 0..CALLS / CALLERS {
                let outcome = call::call(&client, GET_CITIZEN, PERSON, &handling()).await?;
                ensure!(outcome.error.is_none(), "{:?}", outcome.error);
            }
            Ok(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(())
}

/// A page: quick, short, and no markup but the console's own.
async fn page(browser: &Browser, path: &str) -> Result<String> {
    let begun = Instant::now();
    let (status, text) = get(browser, path).await?;
    let took = begun.elapsed();
    let rows = text.matches("<tr").count();
    println!("{:>6} ms  {:>7} bytes  {rows:>5} rows  {path}", took.as_millis(), text.len());
    ensure!(status == StatusCode::OK, "{path}: {status}\n{text}");
    ensure!(took < PAGE_TIMEOUT, "{path} took {took:?}");
    ensure!(rows <= ROWS_MAX && text.len() <= PAGE_BYTES_MAX, "{path}: {rows} rows, {} bytes", text.len());
    ensure!(!text.contains("<script>alert") && !text.contains('\u{202e}'), "{path}\n{text}");
    Ok(text)
}

/// Follows the pages of a list to its end; how many rows there are in all.
async fn all_pages(browser: &Browser, path: &str) -> Result<usize> {
    let (mut next, mut rows, mut seen) = (path.to_owned(), 0, BTreeSet::new());
    loop {
        let text = page(browser, &next).await?;
        // The first row is the head.
        rows += text.matches("<tr").count() - 1;
        ensure!(seen.insert(next.clone()), "{next} leads to itself");
        let link = text.split("<a class=\"button\" href=\"").nth(1).and_then(|rest| rest.split_once('"'));
        match link.filter(|(link, _)| link.contains("page=")) {
            Some((link, _)) => next = link.replace("&amp;", "&"),
            None => return Ok(rows),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_of_a_whole_country_is_a_short_page() -> Result<()> {
    let mut plan = Plan::demo().with_gateway();
    plan.catalog.extend(
        (0..AGENCIES / AGENCIES_OF_A_FILE).map(|part| (format!("country-{part}.yaml"), country(part))),
    );
    let mesh = TestMesh::start_plan(&plan, with_nodes).await?;
    traffic(&mesh).await?;
    let [operator, auditor, steward] = ["operator-1", "auditor", "steward"].map(|who| browser(&mesh, who));
    let (operator, auditor, steward) = (operator?, auditor?, steward?);

    let entries = ENTRIES_OF_ONE + (AGENCIES - 1) * ENTRIES_EACH;
    ensure!(all_pages(&steward, "/vi/catalog").await? >= entries, "every entry is on some page");
    ensure!(all_pages(&operator, "/vi/agencies").await? >= AGENCIES, "every agency is on some page");
    ensure!(all_pages(&operator, "/vi/compliance").await? >= AGENCIES, "every scorecard is on some page");
    ensure!(all_pages(&operator, "/vi/nodes").await? >= NODES, "every node is on some page");
    for path in ["/", "/findings", "/certificates", "/health", "/rules", "/changes", "/requests", "/refusals"]
    {
        page(&operator, &format!("/vi{path}")).await?;
    }
    // The agency that has most of everything, and the one with the hostile name.
    for path in ["/agencies/H27.0001", "/compliance/H27.0001", "/catalog?provider=H27.0001"] {
        page(&operator, &format!("/vi{path}")).await?;
    }
    for path in ["/agencies/H27.0002", "/compliance/H27.0002"] {
        let text = page(&operator, &format!("/en{path}")).await?;
        ensure!(text.contains("&lt;script&gt;") || text.contains("Commune 2"), "{text}");
    }
    ensure!(page(&operator, "/vi/agencies/H27.0002").await?.contains("&lt;script&gt;"), "the name is text");

    eventually("the records are in the log", async || {
        let text = page(&auditor, "/vi/records?dataset=dancu.*&kind=closing").await?;
        Ok(text.contains("Trang sau"))
    })
    .await?;
    eventually("they are a file", async || {
        let begun = Instant::now();
        let (status, file) = get(&auditor, "/vi/records.csv?dataset=dancu.*").await?;
        println!(
            "{:>6} ms  {:>7} bytes  {} rows  records.csv",
            begun.elapsed().as_millis(),
            file.len(),
            file.lines().count()
        );
        ensure!(status == StatusCode::OK, "{status}");
        Ok((1 + 2 * CALLS..=1 + FILE_ROWS_MAX).contains(&file.lines().count()))
    })
    .await?;
    for path in ["/records?agency=G01", "/records?user=", "/readings", "/"] {
        page(&auditor, &format!("/vi{path}")).await?;
    }
    mesh.stop().await
}
