//! The console of a mesh as large as the country: 1,000 agencies, 5,000 entries, 5,000 published methods, 1,000 nodes, over
//! ten thousand records and findings. Each page stays short and comes quickly, and nothing that an agency calls itself is more
//! than text on it.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // test code

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use lienthong::client::{self, Client, Stated};
use lienthong::commands::call;
use lienthong::demo::layout::Layout;
use lienthong_tests::browser::{Browser, browser, get};
use lienthong_tests::country::{
    self, AGENCIES, ENTRIES_EACH, ENTRIES_OF_ONE, METHODS_EACH, NODES, PUBLISHED,
};
use lienthong_tests::web::Web;
use lienthong_tests::{GET_CITIZEN, OFFICE, PERSON, TestMesh, eventually, handling};
use tokio::task::JoinSet;

/// Calls; each leaves two records and two findings: more than ten thousand of either.
const CALLS: usize = 5_200;
const CALLERS: usize = 8;

/// A page takes a twentieth of this where nothing else runs; a machine of tests is busy, and the build is not optimised.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows that any page has at most; a browser on an old desk shows them at once.
const ROWS_MAX: usize = 1_100;
/// Rows of a file at most.
const FILE_ROWS_MAX: usize = 10_000;
/// Two rules that find each person who asks.
const RULES: &str = r#"
    [[rule]]
    kind = "enumeration"
    name = "somebody asks"
    of = "user"
    window_minutes = 600
    least = 1

    [[rule]]
    kind = "enumeration"
    name = "somebody asks within a day"
    of = "user"
    window_minutes = 1_440
    least = 1
"#;
/// Bytes of any page at most.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

fn settled(layout: &Layout) -> Result<()> {
    fs::write(layout.dir.join("config/watch.toml"), RULES)?;
    country::settle(layout)
}

/// Ten thousand records and more, each call by another person, whom the watch rule finds.
async fn traffic(mesh: &TestMesh) -> Result<()> {
    let profile = mesh.mesh.layout.profiles.get(OFFICE).context("no profile")?.clone();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = Client::new(&client::profile(&profile)?)?;
        let contract = client.contract(GET_CITIZEN, &handling()).await?;
        callers.spawn(async move {
            for call in 0..CALLS / CALLERS {
                let stated = Stated { user: Some(format!("cb-{caller}-{call}")), ..handling() };
                let outcome = call::call_with(&contract, &client, GET_CITIZEN, PERSON, &stated).await?;
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

/// Every method of the country's largest contract, as the steward sees its datasets and as a system sees what it may call.
async fn contracts(mesh: &TestMesh, steward: &Browser) -> Result<()> {
    let path = format!("/vi/agencies/{}", country::code(1));
    eventually("the contract is published", async || {
        Ok(get(steward, &path).await?.1.contains("<span class=\"good\">đã công bố"))
    })
    .await?;
    let web = Web::office(mesh)?;
    let mut shown = String::new();
    eventually("the system's node holds it", async || {
        let begun = Instant::now();
        shown = web.get("/openapi", &[]).await?.text();
        let took = begun.elapsed();
        let (datasets, methods) = (
            shown.matches("Dữ liệu mẫu ").count(),
            shown.matches(&format!("{METHODS_EACH} phương thức")).count(),
        );
        println!("{:>6} ms  {:>7} bytes  {datasets:>5} datasets  /openapi", took.as_millis(), shown.len());
        ensure!(took < PAGE_TIMEOUT && shown.len() < PAGE_BYTES_MAX, "{took:?}, {} bytes", shown.len());
        Ok(datasets == PUBLISHED && methods >= PUBLISHED)
    })
    .await?;
    for path in ["/openapi/mau0001.d999", "/openapi/mau0001.d999.json"] {
        let begun = Instant::now();
        let answer = web.get(path, &[]).await?;
        println!("{:>6} ms  {:>7} bytes  {path}", begun.elapsed().as_millis(), answer.body.len());
        ensure!(answer.status == 200 && answer.text().contains("Get4"), "{answer:?}");
        ensure!(begun.elapsed() < PAGE_TIMEOUT, "{path}");
    }
    Ok(())
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
    let begun = Instant::now();
    let mesh = TestMesh::start_plan(&country::plan(), settled).await?;
    println!("{:>6} ms until the mesh runs", begun.elapsed().as_millis());
    let begun = Instant::now();
    traffic(&mesh).await?;
    println!("{:>6} ms for {CALLS} calls", begun.elapsed().as_millis());
    let [operator, auditor, steward] = ["operator-1", "auditor", "steward"].map(|who| browser(&mesh, who));
    let (operator, auditor, steward) = (operator?, auditor?, steward?);

    contracts(&mesh, &steward).await?;
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

    eventually("both ends of each call are on some page", async || {
        Ok(all_pages(&auditor, "/vi/records?dataset=dancu.*&kind=closing").await? >= 2 * CALLS)
    })
    .await?;
    eventually("both findings about each person are on some page", async || {
        Ok(all_pages(&operator, "/vi/findings").await? >= 2 * CALLS)
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
        Ok(file.lines().count() == 1 + FILE_ROWS_MAX)
    })
    .await?;
    for path in ["/records?agency=G01", "/records?user=", "/readings", "/"] {
        page(&auditor, &format!("/vi{path}")).await?;
    }
    mesh.stop().await
}
