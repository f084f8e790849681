//! The connection trial through the mesh: granted fields come, the owner's own stays, and either of two nodes of the
//! provider answers.
#![allow(clippy::unwrap_used)] // test code

use anyhow::{Context, Result};
use lienthong::{client::Stated, commands::call::Outcome, demo::plan::Plan};
use lienthong_proto::reason::Reason;
use lienthong_tests::{GET_TRIAL_RECORD, TestMesh, eventually, reason};
use serde_json::Value;

const RECORD: &str = r#"{"maBanGhi":"TN-000007","instruction":{"payloadBytes":3}}"#;
const LIST_RECORDS: &str = "/vn.thunghiem.v1.TrialService/ListRecords";

fn purpose(purpose: &str) -> Stated {
    Stated { purpose: Some(purpose.to_owned()), ..Stated::default() }
}

#[tokio::test]
async fn granted_fields_come_and_the_owner_s_own_stays() -> Result<()> {
    let mesh = TestMesh::start().await?;
    until_shared(&mesh).await?;
    let ask = async |stated: Stated| mesh.office(GET_TRIAL_RECORD, RECORD, &stated).await;
    for (asked_for, expected) in [
        ("STATE_MANAGEMENT", "duLieu ghiChu maBanGhi soThuTu tieuDe"),
        ("PUBLIC_SERVICE", "duLieu maBanGhi soThuTu tieuDe"),
    ] {
        let outcome = ask(purpose(asked_for)).await?;
        let record = outcome.messages.first().and_then(|message| message.get("record"));
        let record = record.and_then(Value::as_object).context("no record")?;
        let mut fields: Vec<_> = record.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields.join(" "), expected);
        assert_eq!(record["duLieu"], "AAEC");
        assert_eq!(outcome.messages[0]["seen"]["consumer"], "H26.90");
    }
    let by_name = Stated { fields: vec!["noi_bo".to_owned()], ..purpose("STATE_MANAGEMENT") };
    assert_eq!(reason(&ask(by_name).await?), Some(Reason::DenyField));
    assert_eq!(reason(&ask(purpose("STATISTICS")).await?), Some(Reason::DenyPurpose));

    let outcome = mesh.office(LIST_RECORDS, r#"{"count":300}"#, &purpose("PUBLIC_SERVICE")).await?;
    assert_eq!((outcome.error.is_none(), outcome.messages.len()), (true, 300));
    mesh.stop().await
}

#[tokio::test]
async fn either_node_of_the_provider_answers_and_one_is_enough() -> Result<()> {
    let mut mesh = TestMesh::start_plan(&Plan::demo().with_second_node(), |_| Ok(())).await?;
    until_shared(&mesh).await?;
    for stopped in ["G09", "G09-n2"] {
        mesh.mesh.stop_node(stopped).await?;
        for _ in 0..8 {
            let outcome = answer(&mesh).await?;
            assert!(outcome.error.is_none(), "{stopped} is stopped: {:?}", outcome.error);
        }
        mesh.mesh.start_node(stopped).await?;
    }
    mesh.stop().await
}

async fn answer(mesh: &TestMesh) -> Result<Outcome> {
    mesh.office(GET_TRIAL_RECORD, RECORD, &purpose("STATE_MANAGEMENT")).await
}

async fn until_shared(mesh: &TestMesh) -> Result<()> {
    eventually("the trial is shared", async || Ok(answer(mesh).await?.error.is_none())).await
}
