//! The console over real TLS: each person sees the pages of his role and no others, what he asks is on record with his name and
//! the console's, and no other site can act for him.
#![allow(clippy::unwrap_used)] // test code

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use lienthong::client::Stated;
use lienthong::demo::plan::Plan;
use lienthong_gateway::console::lang::Lang;
use lienthong_gateway::console::pages::PAGES;
use lienthong_gateway::console::visit::Role;
use lienthong_tests::browser::{Browser, browser, get, post};
use lienthong_tests::{GET_CITIZEN, PERSON, TestMesh, eventually, handling, program};

/// A person of each role, by profile.
const PEOPLE: [(Role, &str); 5] = [
    (Role::Operator, "operator-1"),
    (Role::Auditor, "auditor"),
    (Role::Officer, "officer-H26.90"),
    (Role::Steward, "steward"),
    (Role::Head, "head-H26.90"),
];

async fn start() -> Result<TestMesh> {
    TestMesh::start_plan(&Plan::demo().with_gateway(), |_| Ok(())).await
}

/// One call, and its exchange once both sides are on record.
async fn exchange(mesh: &TestMesh, auditor: &Browser) -> Result<String> {
    let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    let exchange = outcome.exchange_id.context("the answer names no exchange")?;
    eventually("both sides are on record", async || {
        let (_, page) = get(auditor, &format!("/vi/exchanges/{exchange}")).await?;
        Ok(page.matches("Kết thúc trao đổi").count() >= 2)
    })
    .await?;
    Ok(exchange)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_sees_its_pages_and_no_others_in_both_languages() -> Result<()> {
    let mesh = start().await?;
    let auditor = browser(&mesh, "auditor")?;
    let exchange = exchange(&mesh, &auditor).await?;
    for (role, profile) in PEOPLE {
        let browser = browser(&mesh, profile)?;
        for lang in Lang::ALL {
            for page in PAGES {
                // Streams and forms have tests of their own.
                if page.path.ends_with("/live")
                    || page.path.ends_with("/close")
                    || page.path.ends_with("/note")
                    || page.path.starts_with("/changes/")
                {
                    continue;
                }
                if page.path.starts_with("/disputes/") {
                    continue;
                }
                let path = page
                    .path
                    .replace("{entry}", "CE-0001")
                    .replace(
                        "{code}",
                        if matches!(role, Role::Officer | Role::Head) { "H26.90" } else { "G01" },
                    )
                    .replace("{id}", &exchange);
                let (status, text) = get(&browser, &format!("/{lang}{path}")).await?;
                let expected =
                    if page.roles.contains(&role) { StatusCode::OK } else { StatusCode::FORBIDDEN };
                ensure!(status == expected, "{role:?} {lang} {path}: {status}\n{text}");
            }
            let (status, text) = get(&browser, &format!("/{lang}/nowhere")).await?;
            ensure!(status == StatusCode::NOT_FOUND && text.contains("<h1>"), "{status}");
        }
    }
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_exchange_is_a_story_that_proves_itself_and_reading_it_is_on_record() -> Result<()> {
    let mesh = start().await?;
    let officer = browser(&mesh, "officer-H26.90")?;
    let exchange = exchange(&mesh, &officer).await?;
    let (status, story) = get(&officer, &format!("/vi/exchanges/{exchange}")).await?;
    ensure!(status == StatusCode::OK);
    for expected in
        ["Đã kiểm chứng lúc này", "nhân chứng đã ký", "Được phép", "dancu.cong_dan", "H26.90-261121-0001"]
    {
        ensure!(story.contains(expected), "{expected} is missing in\n{story}");
    }
    let (_, file) = get(&officer, &format!("/en/exchanges/{exchange}/evidence.json")).await?;
    ensure!(file.contains("lienthong-evidence/v1"));
    let (_, table) = get(&officer, "/en/records.csv?dataset=dancu.*").await?;
    ensure!(table.starts_with('\u{feff}') && table.contains(&exchange), "{table}");
    let (_, stranger) = get(&browser(&mesh, "officer-G01")?, "/en/records?dataset=dancu.*").await?;
    ensure!(stranger.contains(&exchange[..8]), "the provider's officer sees his side too");
    eventually("reading is on record, with the console's name", async || {
        let (_, readings) = get(&officer, "/vi/readings").await?;
        Ok(readings.contains("Lấy chứng cứ")
            && readings.contains("qua trang này")
            && readings.contains("Xuất tệp"))
    })
    .await?;
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_of_the_console_gets_no_page() -> Result<()> {
    let mesh = start().await?;
    // A system of the mesh has a good certificate, and is no person.
    let (status, text) = get(&browser(&mesh, "H26.90-mot-cua")?, "/vi/").await?;
    ensure!(status == StatusCode::FORBIDDEN && !text.contains("Tổng quan</a>"), "{status}\n{text}");
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_changes_nothing() -> Result<()> {
    let mesh = start().await?;
    let operator = browser(&mesh, "operator-1")?;
    let id = "0".repeat(32);
    for seal in [String::new(), "00".repeat(32), "xyz".to_owned()] {
        let status = post(&operator, "/vi/findings/close", format!("seal={seal}&id={id}&reason=x")).await?;
        ensure!(status == StatusCode::FORBIDDEN, "{seal}: {status}");
    }
    // Whoever may not close findings may not with any seal.
    let auditor = browser(&mesh, "auditor")?;
    let status = post(&auditor, "/vi/findings/close", format!("seal=00&id={id}&reason=x")).await?;
    ensure!(status == StatusCode::FORBIDDEN, "{status}");
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_appear_by_themselves_and_are_closed_with_a_reason() -> Result<()> {
    let rule = "[[rule]]\nkind = \"repeated-denials\"\nname = \"denials\"\nof = \"system\"\nwindow_minutes = 10\nleast = 3\n";
    let mesh = TestMesh::start_plan(&Plan::demo().with_gateway(), |layout| {
        Ok(std::fs::write(layout.dir.join("config/watch.toml"), rule)?)
    })
    .await?;
    let operator = browser(&mesh, "operator-1")?;
    let mut live = operator.send(Request::get("/en/findings/live").body(Full::default())?).await?;
    ensure!(live.status() == StatusCode::OK);
    for _ in 0..10 {
        let stated = Stated { purpose: Some("STATISTICS".to_owned()), ..handling() };
        let outcome = mesh.office(GET_CITIZEN, PERSON, &stated).await?;
        ensure!(outcome.error.is_some(), "this purpose is not granted");
    }
    let seen = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        let mut text = String::new();
        while !text.contains("event: finding") {
            let frame = live.body_mut().frame().await.context("the stream ended")??;
            text.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap_or(&Bytes::new())));
        }
        Ok::<_, anyhow::Error>(text)
    })
    .await
    .context("no finding came")??;
    ensure!(seen.contains("/en/findings#"), "{seen}");
    let (_, page) = get(&operator, "/en/findings").await?;
    let field = |name: &str| {
        let form = page.split("/findings/close\"").nth(1)?;
        let after = form.split(&format!("name=\"{name}\" value=\"")).nth(1)?;
        after.split('"').next().map(str::to_owned)
    };
    let (seal, id) = (field("seal").context("no form")?, field("id").context("no form")?);
    // The seal is the operator's own: another operator's form is another one.
    let other = browser(&mesh, "operator-2")?;
    let status = post(&other, "/en/findings/close", format!("seal={seal}&id={id}&reason=x")).await?;
    ensure!(status == StatusCode::FORBIDDEN, "{status}");
    noted(&operator, &page, &id).await?;
    noted_by_command(&mesh, &operator, &id).await?;
    let status =
        post(&operator, "/en/findings/close", format!("seal={seal}&id={id}&reason=looked+at")).await?;
    ensure!(status == StatusCode::SEE_OTHER, "{status}");
    eventually("it is closed, with reason and name", async || {
        let (_, page) = get(&operator, "/en/findings?closed=1").await?;
        Ok(page.contains("looked at") && page.contains("Nguyễn Văn Mẫu"))
    })
    .await?;
    mesh.stop().await
}

/// Notes at a finding are on record and shown, and whatever they hold is text.
async fn noted(operator: &Browser, page: &str, id: &str) -> Result<()> {
    let form = page.split("/findings/note\"").nth(1).context("no form for notes")?;
    let seal = form.split("name=\"seal\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let seal = seal.context("no seal")?;
    let forged = post(operator, "/en/findings/note", format!("seal=00&id={id}&note=x&assignee=")).await?;
    ensure!(forged == StatusCode::FORBIDDEN, "{forged}");
    // "><script>alert(1)</script> and a mark that turns the direction of writing.
    let note =
        "note=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%E2%80%AE&assignee=Tr%E1%BA%A7n+Th%E1%BB%8B+%3Cb%3E";
    let status = post(operator, "/en/findings/note", format!("seal={seal}&id={id}&{note}")).await?;
    ensure!(status == StatusCode::SEE_OTHER, "{status}");
    eventually("the note is shown", async || {
        let (_, page) = get(operator, "/en/findings").await?;
        ensure!(!page.contains("<script>alert") && !page.contains("<b>"), "{page}");
        Ok(page.contains("&lt;script&gt;alert(1)") && page.contains("Trần Thị &lt;b&gt;"))
    })
    .await?;
    // A line break would be another line of a record.
    let broken =
        post(operator, "/en/findings/note", format!("seal={seal}&id={id}&note=a%0d%0ab&assignee=")).await?;
    ensure!(broken == StatusCode::BAD_REQUEST, "{broken}");
    Ok(())
}

/// The same from a desk without a browser.
async fn noted_by_command(mesh: &TestMesh, operator: &Browser, id: &str) -> Result<()> {
    let profile = mesh.mesh.layout.profiles.get("operator-1").context("no operator")?;
    let run = |arguments: &[&str]| -> Result<std::process::Output> {
        let mut command = std::process::Command::new(program()?);
        command.args(["audit", "findings", "note", id]).args(arguments);
        Ok(command.args(["--json", "--profile"]).arg(profile).output()?)
    };
    let done = run(&["đã gọi cho đơn vị", "--assign", "Lê Thị Mẫu"])?;
    ensure!(done.status.success(), "{done:?}");
    let finding: serde_json::Value = serde_json::from_slice(&done.stdout)?;
    ensure!(finding["assignee"] == "Lê Thị Mẫu", "{finding:#}");
    let notes = finding["notes"].as_array().context("no notes")?;
    ensure!(notes.iter().any(|note| note["note"] == "đã gọi cho đơn vị"), "{finding:#}");
    let nothing = run(&[])?;
    ensure!(!nothing.status.success(), "a note of nothing: {nothing:?}");
    eventually("the console shows it", async || {
        let (_, page) = get(operator, "/vi/findings").await?;
        Ok(page.contains("đã gọi cho đơn vị") && page.contains("<strong>Lê Thị Mẫu</strong>"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_an_address_is_text_and_never_a_header() -> Result<()> {
    let mesh = start().await?;
    let auditor = browser(&mesh, "auditor")?;
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%0d%0aset-cookie:%20a=b%E2%80%AE";
    for path in [
        format!("/vi/records?user={hostile}&dossier={hostile}&agency={hostile}"),
        format!("/en/readings?actor={hostile}"),
        format!("/vi/findings?node={hostile}"),
        format!("/vi/nodes?page={hostile}"),
        format!("/vi/catalog/{hostile}"),
        format!("/en/agencies/{hostile}"),
        format!("/vi/exchanges/{hostile}"),
        format!("/vi/{hostile}"),
    ] {
        let response = auditor.send(Request::get(&path).body(Full::default())?).await?;
        ensure!(response.headers().get(header::SET_COOKIE).is_none(), "{path}");
        let status = response.status();
        ensure!(!status.is_server_error() || status == StatusCode::BAD_GATEWAY, "{path}: {status}");
        let page = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
        ensure!(!page.contains("<script>alert"), "{path}\n{page}");
    }
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_the_numbers_and_the_witnesses_and_nobody_in_them() -> Result<()> {
    let mesh = start().await?;
    let public = mesh.mesh.layout.gateway.as_ref().context("there is no gateway")?.public;
    let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    ensure!(outcome.error.is_none());
    let url = format!("http://{public}/statistics");
    eventually("the numbers are public", async || {
        let got = tokio::process::Command::new("curl")
            .args(["--silent", "--max-time", "20", &url])
            .output()
            .await?;
        let page = String::from_utf8(got.stdout)?;
        ensure!(page.contains("(G01)") && page.contains("đã ký điểm mới nhất"), "{page}");
        ensure!(!page.contains("H26.90-mot-cua") && !page.contains("999190000001"), "{page}");
        // Open data by name, and how it is called.
        let method = "/vn.danhmuc.v1.AdministrativeUnitService/GetAdministrativeUnit";
        ensure!(page.contains("Danh mục đơn vị hành chính") && page.contains("(G09)"), "{page}");
        Ok(page.contains(&format!("https://NODE:7081{method}")))
    })
    .await?;
    mesh.stop().await
}
