//! Rows, guardrails and masks: what a right reaches inside a dataset, as its consumer sees it, over real processes.

use std::fs;

use anyhow::{Context, Result, ensure};
use lienthong::{client::Stated, demo::layout::Layout};
use lienthong_proto::reason::Reason;
use lienthong_tests::{GET_CITIZEN, PERSON, TestMesh, eventually, handling, reason, records};
use serde_json::Value;

const LIST_CITIZENS: &str = "/vn.dancu.v1.CitizenService/ListCitizens";

/// A living person of Đà Nẵng, and one who is nobody.
const ELSEWHERE: &str = r#"{"soDinhDanh":"999171100003"}"#;
const NOBODY: &str = r#"{"soDinhDanh":"999000000000"}"#;

/// Adds keys to the entry of the citizens.
fn change_entry(layout: &Layout, keys: &str) -> Result<()> {
    let path = layout.dir.join("catalog/entries.yaml");
    let text = fs::read_to_string(&path)?;
    let marked = "    classification: {sharing: SHARED";
    ensure!(text.contains(marked), "the entry of the citizens has another form now");
    fs::write(path, text.replacen(marked, &format!("{keys}{marked}"), 1))?;
    Ok(())
}

fn state_management() -> Stated {
    Stated { purpose: Some("STATE_MANAGEMENT".to_owned()), ..Stated::default() }
}

fn citizens(message: &Value) -> Vec<&Value> {
    message["citizens"].as_array().map(|list| list.iter().collect()).unwrap_or_default()
}

#[tokio::test]
async fn rows_outside_the_scope_are_dropped_and_a_single_one_tells_nothing() -> Result<()> {
    let mesh = TestMesh::start_changed(|layout| {
        let condition = r#"context.record.noi_thuong_tru like "*Thành phố Hà Nội""#;
        change_entry(layout, &format!("    conditions_by_purpose:\n      STATE_MANAGEMENT: '{condition}'\n"))
    })
    .await?;
    let stated = state_management();
    let all = mesh.office(LIST_CITIZENS, r#"{"pageSize":1000}"#, &handling()).await?;
    ensure!(all.error.is_none(), "{:?}", all.error);
    let listed = mesh.office(LIST_CITIZENS, r#"{"pageSize":1000}"#, &stated).await?;
    ensure!(listed.error.is_none(), "{:?}", listed.error);
    let (all, inside) = (citizens(&all.messages[0]), citizens(&listed.messages[0]));
    assert!(inside.len() > 4 && inside.len() < all.len(), "{} of {}", inside.len(), all.len());
    let home = |citizen: &Value| citizen["noiThuongTru"].as_str().unwrap_or_default().to_owned();
    assert!(inside.iter().all(|citizen| home(citizen).ends_with("Thành phố Hà Nội")), "{inside:?}");

    let mine = mesh.office(GET_CITIZEN, PERSON, &stated).await?;
    assert!(mine.error.is_none(), "{:?}", mine.error);
    let (there, nowhere) = (
        mesh.office(GET_CITIZEN, ELSEWHERE, &stated).await?,
        mesh.office(GET_CITIZEN, NOBODY, &stated).await?,
    );
    let unbound = mesh.office(GET_CITIZEN, ELSEWHERE, &handling()).await?;
    assert!(unbound.error.is_none(), "another purpose reaches this person: {:?}", unbound.error);
    assert_eq!(reason(&there), Some(Reason::DenyRowScope), "{:?}", there.error);
    let words = |outcome: &lienthong::commands::call::Outcome| {
        outcome.error.as_ref().map(|error| (error.code(), error.message().to_owned()))
    };
    let without_id = |words: Option<(tonic::Code, String)>, id: &Option<String>| {
        words.map(|(code, text)| (code, text.replace(id.as_deref().unwrap_or("-"), "")))
    };
    assert_eq!(
        without_id(words(&there), &there.exchange_id),
        without_id(words(&nowhere), &nowhere.exchange_id),
        "whether there is such a person is not told"
    );

    let id = listed.exchange_id.context("no exchange id")?;
    eventually("the dropped rows are counted on record", async || {
        let log = records::records(&mesh.mesh.layout.log)?;
        let closings = records::closings(&log, &id)?;
        let dropped = closings.iter().map(|closing| closing.records_out_of_scope).max().unwrap_or_default();
        ensure!(usize::try_from(dropped)? == all.len() - inside.len(), "{dropped} of {}", all.len());
        Ok(true)
    })
    .await?;
    mesh.stop().await
}

#[tokio::test]
async fn a_request_outside_the_scope_is_denied_before_it_leaves() -> Result<()> {
    let mesh = TestMesh::start_changed(|layout| {
        let condition = r#"context.request.ma_dvhc == "00004""#;
        change_entry(layout, &format!("    conditions_by_purpose:\n      STATE_MANAGEMENT: '{condition}'\n"))
    })
    .await?;
    let stated = state_management();
    let own = mesh.office(LIST_CITIZENS, r#"{"maDvhc":"00004"}"#, &stated).await?;
    assert!(own.error.is_none(), "{:?}", own.error);
    assert!(!citizens(&own.messages[0]).is_empty());
    for outside in [r#"{"maDvhc":"00008"}"#, "{}"] {
        let denied = mesh.office(LIST_CITIZENS, outside, &stated).await?;
        assert_eq!(reason(&denied), Some(Reason::DenyRowScope), "{outside}: {:?}", denied.error);
    }
    // A method whose request has no such field cannot meet the condition.
    let other = mesh.office(GET_CITIZEN, PERSON, &stated).await?;
    assert_eq!(reason(&other), Some(Reason::DenyRowScope), "{:?}", other.error);
    mesh.stop().await
}

#[tokio::test]
async fn a_guardrail_on_data_holds_whatever_a_right_says() -> Result<()> {
    let mesh = TestMesh::start_changed(|layout| {
        let guardrail = r#"
guardrails:
  - id: GR-0001
    name_vi: Không giao dữ liệu của người đã chết cho cơ quan ngoài Bộ Công an
    policy: |
      forbid (principal, action, resource in Dataset::"dancu")
      when { context.record.trang_thai != "đang sống" }
      unless { principal in Agency::"G01" };
"#;
        fs::write(layout.dir.join("catalog/guardrails.yaml"), guardrail)?;
        Ok(())
    })
    .await?;
    let dead = mesh.office(GET_CITIZEN, r#"{"soDinhDanh":"999188000003"}"#, &handling()).await?;
    assert_eq!(reason(&dead), Some(Reason::DenyRowScope), "{:?}", dead.error);
    let living = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert!(living.error.is_none(), "{:?}", living.error);
    mesh.stop().await
}

#[tokio::test]
async fn hashed_fields_are_stable_tokens_of_one_consumer() -> Result<()> {
    let mesh = TestMesh::start_changed(|layout| {
        let path = layout.dir.join("catalog/entries.yaml");
        let text = fs::read_to_string(&path)?;
        let granted = "      STATE_MANAGEMENT: [so_dinh_danh, ho_ten, ngay_sinh";
        ensure!(text.contains(granted), "the entry of the citizens has another form now");
        fs::write(path, text.replacen(granted, "      STATE_MANAGEMENT: [ho_ten, ngay_sinh", 1))?;
        change_entry(layout, "    masked_fields_by_purpose:\n      STATE_MANAGEMENT: [so_dinh_danh]\n")
    })
    .await?;
    let token = async || -> Result<String> {
        let got = mesh.office(GET_CITIZEN, PERSON, &state_management()).await?;
        ensure!(got.error.is_none(), "{:?}", got.error);
        Ok(got.messages[0]["citizen"]["soDinhDanh"].as_str().context("no token")?.to_owned())
    };
    let first = token().await?;
    assert_eq!(first.len(), 32, "{first}");
    assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    assert_eq!(token().await?, first, "a person keeps its token");
    let plain = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert_eq!(plain.messages[0]["citizen"]["soDinhDanh"], "999190000001", "another purpose has the number");
    mesh.stop().await
}
