//! A change of the catalog that waits for its second person, as the steward sees it: what it does, and which of the real calls
//! of the last days would end otherwise.

use anyhow::{Result, ensure};
use http::StatusCode;
use lienthong::client::Stated;
use lienthong::demo::plan::Plan;
use lienthong_proto::reason::Reason;
use lienthong_tests::browser::{browser, get};
use lienthong_tests::desk::propose_a_field_more;
use lienthong_tests::{GET_CITIZEN, PERSON, TestMesh, eventually, handling, reason};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_with_the_calls_that_it_would_decide_otherwise() -> Result<()> {
    let mesh = TestMesh::start_plan(&Plan::demo().with_gateway(), |_| Ok(())).await?;
    let denied = Stated { fields: vec!["gioi_tinh".to_owned()], ..handling() };
    for _ in 0..3 {
        let outcome = mesh.office(GET_CITIZEN, PERSON, &denied).await?;
        ensure!(reason(&outcome) == Some(Reason::DenyField), "{:?}", outcome.error);
    }
    let change = propose_a_field_more(&mesh, "thêm giới tính <script>alert(1)</script>")?;
    let steward = browser(&mesh, "steward")?;
    let (_, overview) = get(&steward, "/en/").await?;
    ensure!(overview.contains("catalog changes wait for approval"), "{overview}");

    eventually("the calls on record are decided again", async || {
        let (status, page) = get(&steward, &format!("/vi/{change}")).await?;
        ensure!(status == StatusCode::OK, "{status}\n{page}");
        ensure!(!page.contains("<script>alert"), "{page}");
        let row = page
            .split("<tr>")
            .find(|row| row.contains("Yêu cầu đích danh một trường") && row.contains("Được phép"));
        let Some(row) = row else { return Ok(false) };
        ensure!(row.contains("GetCitizen") && row.contains("H26.90") && row.contains("G01"), "{row}");
        // The three denials, and whoever else asked meanwhile is in another row.
        ensure!(row.contains("<td class=\"number\">3</td>"), "{row}");
        Ok(page.contains("cuộc gọi có kết quả khác") && page.contains("+ gioi_tinh"))
    })
    .await?;
    // Whoever may not propose may not look at what is proposed.
    let (status, _) = get(&browser(&mesh, "officer-H26.90")?, &format!("/vi/{change}")).await?;
    ensure!(status == StatusCode::FORBIDDEN, "{status}");
    mesh.stop().await
}
