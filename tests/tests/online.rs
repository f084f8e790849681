//! Datasets that the broker decides each time: both nodes ask it, and without it nothing is released.

use std::time::Duration;

use anyhow::{Context, Result};
use lienthong::{client::Stated, demo::layout::Layout};
use lienthong_proto::{lienthong::audit::v1::record::Body, reason::Reason};
use lienthong_tests::{
    GET_CITIZEN, PERSON, TestMesh, eventually, handling, metric, reason,
    records::{closings, records},
};
use tonic::Code;

const VERIFY: &str = "/vn.dancu.v1.CitizenService/VerifyRecord";
const CLAIM: &str = r#"{"soDinhDanh":"999190000001","hoTen":"Nguyễn Văn Mẫu"}"#;

/// Marks the entry of the population register's data.
fn decided_online(layout: &Layout) -> Result<()> {
    change_entry(
        layout,
        "    dataset_id: dancu.cong_dan\n",
        "    dataset_id: dancu.cong_dan\n    decision: ONLINE\n",
    )
}

fn change_entry(layout: &Layout, from: &str, to: &str) -> Result<()> {
    let path = layout.dir.join("catalog/entries.yaml");
    let text = std::fs::read_to_string(&path)?;
    anyhow::ensure!(text.contains(from), "the sample catalog has no {from:?}");
    std::fs::write(&path, text.replacen(from, to, 1)).context("the changed catalog")
}

#[tokio::test]
async fn an_online_dataset_is_released_only_while_the_broker_says_so() -> Result<()> {
    let mut mesh = TestMesh::start_changed(decided_online).await?;
    let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let exchange = outcome.exchange_id.context("no exchange id")?;
    let asked = "lienthong_broker_online_decisions_total{outcome=\"permitted\"}";
    let before = metric(mesh.mesh.layout.broker.1, asked).await?;
    assert!(before >= 2.0, "both nodes ask: {before}");

    // Another field than those granted is denied here and now, without a question.
    let more = Stated { fields: vec!["tinh_trang_hon_nhan".to_owned()], ..handling() };
    let denied = mesh.office(GET_CITIZEN, PERSON, &more).await?;
    assert_eq!(reason(&denied), Some(Reason::DenyField), "{:?}", denied.error);
    assert!((metric(mesh.mesh.layout.broker.1, asked).await? - before).abs() < 0.5);

    // A change counts from the moment at which the broker has made it: the first answer that follows goes by it.
    let epoch = "lienthong_broker_epoch";
    let before = metric(mesh.mesh.layout.broker.1, epoch).await?;
    change_entry(
        &mesh.mesh.layout,
        "ADMIN_PROCEDURE: [so_dinh_danh, ho_ten, noi_thuong_tru]",
        "ADMIN_PROCEDURE: [so_dinh_danh]",
    )?;
    mesh.mesh.reload_broker().await?;
    eventually("the broker has made the change", async || {
        Ok(metric(mesh.mesh.layout.broker.1, epoch).await? > before)
    })
    .await?;
    let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    let citizen = outcome.messages.first().with_context(|| format!("no answer: {:?}", outcome.error))?;
    assert!(!citizen.to_string().contains("Mẫu"), "{citizen}");

    mesh.mesh.stop_broker().await?;
    let denied = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert_eq!(reason(&denied), Some(Reason::DenyBrokerUnreachable), "{:?}", denied.error);
    // What is decided locally goes on.
    let verification = Stated { purpose: Some("VERIFICATION".to_owned()), ..Stated::default() };
    let local = mesh.office(VERIFY, CLAIM, &verification).await?;
    assert!(local.error.is_none(), "{:?}", local.error);

    mesh.mesh.start_broker().await?;
    mesh.until_served().await?;
    let log = mesh.mesh.layout.log.clone();
    eventually("both records of the first exchange are in the log", async || {
        Ok(closings(&records(&log)?, &exchange)?.len() == 2)
    })
    .await?;
    mesh.stop().await
}

/// A caller over its quota makes nobody ask the broker for it, and a broker that does not answer takes no more of a
/// caller's time than the caller gives.
#[tokio::test]
async fn the_broker_is_asked_last_and_within_the_deadline() -> Result<()> {
    let few = "    dataset_id: dancu.cong_dan\n    decision: ONLINE\n    calls_per_minute_max: 6\n";
    let mesh =
        TestMesh::start_changed(|layout| change_entry(layout, "    dataset_id: dancu.cong_dan\n", few))
            .await?;
    let asked = async || {
        let permitted = "lienthong_broker_online_decisions_total{outcome=\"permitted\"}";
        metric(mesh.mesh.layout.broker.1, permitted).await
    };
    let before = asked().await?;
    let mut permitted = 0.0;
    let denied = loop {
        let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
        if outcome.error.is_some() {
            break outcome;
        }
        permitted += 1.0;
    };
    assert_eq!(reason(&denied), Some(Reason::DenyQuota), "{:?}", denied.error);
    // Both nodes ask about what is permitted, only the consumer's about what is one too many.
    let questions = asked().await? - before;
    assert!(
        permitted > 0.5 && (questions - 2.0 * permitted - 1.0).abs() < 0.5,
        "{questions} for {permitted}"
    );

    mesh.mesh.halt_broker(true).await?;
    let hurried = Stated { timeout: Some(Duration::from_millis(600)), ..handling() };
    let late = mesh.office(GET_CITIZEN, PERSON, &hurried).await?;
    mesh.mesh.halt_broker(false).await?;
    assert_eq!(late.error.map(|error| error.code()), Some(Code::DeadlineExceeded));
    let log = mesh.mesh.layout.log.clone();
    eventually("the record says what the time went on", async || {
        let records = records(&log)?;
        Ok(records.iter().any(|record| {
            matches!(&record.body, Some(Body::Denial(denial))
                if denial.reason == "FAIL_DEADLINE" && denial.detail == "while the broker was asked")
        }))
    })
    .await?;
    mesh.stop().await
}
