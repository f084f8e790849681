//! The words of every page of the console, and of the public ones, as people reviewed them: `wording/vi.txt`, `wording/en.txt`
//! and `wording/public.txt`. A page whose words change is a change of these files; `LIENTHONG_GOLDEN=write` writes them anew,
//! and the difference is what to look at.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use lienthong::client::Stated;
use lienthong::demo::{layout::Layout, plan::Plan};
use lienthong_gateway::console::lang::Lang;
use lienthong_gateway::console::pages::PAGES;
use lienthong_tests::browser::{browser, get};
use lienthong_tests::desk::{node_profile, propose_a_field_more, ran};
use lienthong_tests::wording::{differences, words};
use lienthong_tests::{GET_CITIZEN, PERSON, TestMesh, eventually, handling};

/// Pages before anything was asked, proposed or refused.
const EMPTY: &[(&str, &str)] = &[
    ("operator-1", "/changes"),
    ("operator-1", "/requests"),
    ("operator-1", "/refusals"),
    ("operator-1", "/disputes"),
    ("operator-1", "/outages"),
];

/// Every page, by somebody who may see it; some by several, who see different words. The first page of each person is shown
/// whole, with what stands around all of them; one that is searched, without the form, which the other has.
const PAGES_SHOWN: &[(&str, &str)] = &[
    ("operator-1", "/"),
    ("operator-1", "/findings"),
    ("operator-1", "/findings?kind=LOG_FORKED"),
    ("operator-1", "/rules"),
    ("operator-1", "/nodes"),
    ("operator-1", "/certificates"),
    ("operator-1", "/health"),
    ("auditor", "/"),
    ("auditor", "/records"),
    ("auditor", "/records?dataset=dancu.*"),
    ("auditor", "/records?dossier=nowhere"),
    ("auditor", "/exchanges/{delivered}"),
    ("auditor", "/exchanges/{denied}"),
    ("auditor", "/readings"),
    ("officer-H26.90", "/"),
    ("steward", "/"),
    ("steward", "/catalog"),
    ("steward", "/catalog/CE-0001"),
    ("steward", "/changes"),
    ("steward", "/changes/{change}"),
    ("head-H26.90", "/"),
    ("head-H26.90", "/compliance"),
    ("operator-1", "/compliance"),
    ("operator-1", "/compliance/G01"),
    ("operator-1", "/agencies"),
    ("operator-1", "/agencies/G01"),
    ("operator-1", "/agencies/H26.90"),
    ("operator-1", "/requests"),
    ("operator-1", "/refusals"),
    ("operator-1", "/disputes"),
    ("operator-1", "/disputes/{dispute}"),
    ("operator-1", "/outages"),
    // What is no page.
    ("operator-1", "/nowhere"),
    ("operator-1", "/records"),
    ("auditor", "/records?from=hôm+qua"),
    ("auditor", "/exchanges/00000000-0000-7000-8000-000000000000"),
];

/// What no person reads as a page: streams, files, and where forms are sent.
const NO_PAGES: [&str; 5] =
    ["/records.csv", "/exchanges/{id}/evidence.json", "/findings/close", "/findings/note", "/findings/live"];

/// One rule, so that one finding is sure and no other comes by chance.
const RULE: &str = "[[rule]]\nkind = \"repeated-denials\"\nname = \"denials\"\nof = \"system\"\nwindow_minutes = 10\nleast = 3\n";

fn watched(layout: &Layout) -> Result<()> {
    Ok(fs::write(layout.dir.join("config/watch.toml"), RULE)?)
}

#[test]
fn every_page_is_among_those_that_are_read() {
    for page in PAGES.iter().filter(|page| !NO_PAGES.contains(&page.path)) {
        let read = PAGES_SHOWN.iter().any(|(_, path)| is_of(path, page.path));
        assert!(read, "{} is new: put it into PAGES_SHOWN", page.path);
    }
}

/// Whether an address is one of a page, by the page's parts.
fn is_of(path: &str, page: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let parts = || path.split('/').zip(page.split('/'));
    path.matches('/').count() == page.matches('/').count()
        && parts().all(|(part, of)| part == of || of.starts_with('{'))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_every_page_are_those_that_were_reviewed() -> Result<()> {
    let mesh = TestMesh::start_plan(&Plan::demo().with_gateway(), watched).await?;
    let mut texts = [String::new(), String::new()];
    let mut about = Seen::default();
    for (who, path) in EMPTY {
        read(&mesh, &about, who, path, " (before)", &mut texts).await?;
    }
    about = lived_in(&mesh).await?;
    let mut known = Vec::new();
    for (who, path) in PAGES_SHOWN {
        let around = if known.contains(who) { "" } else { " (whole)" };
        known.push(who);
        read(&mesh, &about, who, path, around, &mut texts).await?;
    }
    let public = public(&mesh).await?;
    mesh.stop().await?;
    let [vi, en] = texts;
    let different: Vec<String> = [("vi.txt", vi), ("en.txt", en), ("public.txt", public)]
        .into_iter()
        .filter_map(|(name, text)| compare(name, &text).transpose())
        .collect::<Result<_>>()?;
    ensure!(different.is_empty(), "{}", different.concat());
    Ok(())
}

/// What pages are about.
#[derive(Default)]
struct Seen {
    delivered: String,
    denied: String,
    change: String,
    dispute: String,
}

/// A mesh in which there is something on every page, and nothing is still on its way.
async fn lived_in(mesh: &TestMesh) -> Result<Seen> {
    let (provider, consumer) = (node_profile(mesh, "G01")?, node_profile(mesh, "H26.90")?);
    let field = Stated { fields: vec!["gioi_tinh".to_owned()], ..handling() };
    let mut denied = String::new();
    for _ in 0..4 {
        let outcome = mesh.office(GET_CITIZEN, PERSON, &field).await?;
        ensure!(outcome.error.is_some(), "this field is not granted");
        denied = outcome.exchange_id.context("the denial names no exchange")?;
    }
    let ask = ["connection", "request", "--system", "agencies/H26.90/systems/mot-cua", "--provider", "G01"];
    let data = ["--dataset", "dancu.cong_dan", "--fields", "gioi_tinh", "--purpose", "ADMIN_PROCEDURE"];
    let why = ["--use-plan", "điền sẵn tờ khai", "--legal-basis", "Điều 8"];
    ran(&consumer, &[&ask[..], &data, &why].concat())?;
    let declare = ["refusal", "declare", "--consumer", "H26.90", "--dataset", "dancu.cong_dan"];
    let refused = ran(&provider, &[&declare[..], &["--reason", "chưa có chỉ đạo", "--json"]].concat())?;
    let refused: serde_json::Value = serde_json::from_str(&refused)?;
    let dispute = refused["dispute"]["name"].as_str().context("no dispute")?.to_owned();
    let times = ["--from", "2099-01-01T00:00:00Z", "--until", "2099-01-02T00:00:00Z"];
    ran(&provider, &[&["outage", "announce", "--note", "nâng cấp"][..], &times].concat())?;
    let change = propose_a_field_more(mesh, "thêm giới tính")?;
    let delivered = delivered(mesh).await?;
    let seen = Seen { delivered, denied, change, dispute };
    settled(mesh, &seen).await?;
    Ok(seen)
}

/// An exchange with both closing records and nothing else: on a busy machine an opening record may have come by itself.
async fn delivered(mesh: &TestMesh) -> Result<String> {
    let auditor = browser(mesh, "auditor")?;
    let mut delivered = String::new();
    eventually("an exchange is on record with its two ends alone", async || {
        let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
        delivered = outcome.exchange_id.context("the answer names no exchange")?;
        let mut page = String::new();
        eventually("both ends are on record", async || {
            page = get(&auditor, &format!("/vi/exchanges/{delivered}")).await?.1;
            Ok(page.matches("Kết thúc trao đổi").count() == 2)
        })
        .await?;
        Ok(!page.contains("Bắt đầu trao đổi"))
    })
    .await?;
    Ok(delivered)
}

/// Waits until each page shows what was done.
async fn settled(mesh: &TestMesh, seen: &Seen) -> Result<()> {
    for (who, path, shown) in [
        ("operator-1", "/findings?kind=REPEATED_DENIALS", "<form method=\"post\""),
        ("operator-1", "/health", "đủ</span>"),
        ("auditor", "/", "DENY_FIELD"),
        ("auditor", &format!("/exchanges/{}", seen.denied), "Bị chặn"),
        ("officer-H26.90", "/", "DENY_FIELD"),
        ("steward", &format!("/{}", seen.change), "Yêu cầu đích danh"),
    ] {
        let browser = browser(mesh, who)?;
        eventually(&format!("{shown} on {path}"), async || {
            Ok(get(&browser, &format!("/vi{path}")).await?.1.contains(shown))
        })
        .await?;
    }
    Ok(())
}

/// Adds a page's words in both languages.
async fn read(
    mesh: &TestMesh,
    about: &Seen,
    who: &str,
    path: &str,
    note: &str,
    texts: &mut [String; 2],
) -> Result<()> {
    let browser = browser(mesh, who)?;
    let of = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let address = path
        .replace("{delivered}", &about.delivered)
        .replace("{denied}", &about.denied)
        .replace("{change}", &of(&about.change))
        .replace("{dispute}", &of(&about.dispute));
    for (lang, text) in Lang::ALL.into_iter().zip(texts) {
        let mut page = String::new();
        eventually(&format!("{path} is complete"), async || {
            let status;
            (status, page) = get(&browser, &format!("/{lang}{address}")).await?;
            ensure!(status < StatusCode::INTERNAL_SERVER_ERROR, "{status}\n{page}");
            Ok(is_complete(&page))
        })
        .await?;
        let main = page.split_once("<main").and_then(|(_, main)| main.split_once("</main>"));
        let main = main.context("the page has no main part")?.0;
        let behind_form = main.split_once("</form>").filter(|_| path.contains('?')).map(|(_, behind)| behind);
        let shown = if note == " (whole)" { &page } else { behind_form.unwrap_or(main) };
        section(text, &format!("{who} {path}{note}"), shown)?;
    }
    Ok(())
}

/// Whether nothing that a page shows is still on its way: the index is behind the log for a moment, and a checkpoint without
/// its witnesses.
fn is_complete(page: &str) -> bool {
    let has = |texts: [&str; 2]| texts.iter().any(|text| page.contains(text));
    let verified = has(["Đã kiểm chứng lúc này", "Verified now"]);
    !has(["Chỉ mục mới đến số ", "Indexed up to "])
        && verified == has(["nhân chứng đã ký", "witnesses have signed"])
}

/// The public pages, each in both languages at once.
async fn public(mesh: &TestMesh) -> Result<String> {
    let gateway = mesh.mesh.layout.gateway.as_ref().context("there is no gateway")?;
    let mut text = String::new();
    for (address, path) in [
        (gateway.public, "/"),
        (gateway.public, "/statistics"),
        (gateway.trial, "/vi/"),
        (gateway.trial, "/en/"),
        (gateway.trial, "/vi/sign-in"),
        (gateway.trial, "/en/sign-in"),
    ] {
        let url = format!("http://{address}{path}");
        let mut page = String::new();
        eventually(&format!("{path} is complete"), async || {
            let curl = ["--silent", "--max-time", "20", &url];
            let got = tokio::process::Command::new("curl").args(curl).output().await?;
            page = String::from_utf8(got.stdout)?;
            let numbers = path != "/statistics" || (page.contains("(G01)") && page.contains("NODE:7081"));
            Ok(page.contains("<h1") && numbers)
        })
        .await?;
        section(&mut text, path, &page)?;
    }
    Ok(text)
}

fn section(text: &mut String, heading: &str, page: &str) -> Result<()> {
    writeln!(text, "=== {heading}")?;
    for line in words(page) {
        writeln!(text, "{}", line.replace(env!("CARGO_PKG_VERSION"), "…"))?;
    }
    Ok(writeln!(text)?)
}

/// Where a text is not the one that was reviewed; nothing where it is. Writes it where that is asked for.
fn compare(name: &str, text: &str) -> Result<Option<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wording").join(name);
    if env::var_os("LIENTHONG_GOLDEN").is_some_and(|set| set == "write") {
        fs::write(&path, text)?;
        return Ok(None);
    }
    let reviewed = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if reviewed == text {
        return Ok(None);
    }
    let told = differences(&reviewed, text).join("\n");
    let how = "LIENTHONG_GOLDEN=write writes it anew";
    Ok(Some(format!("\ntests/wording/{name} is not what the pages say; {how}:\n{told}\n")))
}
