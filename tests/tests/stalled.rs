//! A caller that keeps his call open and reads nothing: he holds his place no longer than his call may last, and the
//! record says why it ended.
#![allow(clippy::unwrap_used)] // test code

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use lienthong_proto::{
    lienthong::audit::v1::Status,
    reason::Reason,
    status,
    vn::thunghiem::v1::{Instruction, ListRecordsRequest, ListRecordsResponse},
};
use lienthong_tests::{
    TestMesh, eventually,
    records::{closings, records},
    trial::{self, Trial, asked, exchange_id, get, watch},
};
use tonic::{Code, Response, Streaming};

const KIB: usize = 1024;

#[tokio::test]
async fn a_caller_that_stops_reading_keeps_his_place_no_longer_than_his_call_may_last() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let mut client = trial::client(&mesh).await?;

    // His deadline passes while he reads nothing.
    let mut overdue = asked(endless("overdue")?);
    overdue.set_timeout(Duration::from_secs(2));
    let overdue = client.list_records(overdue).await?;
    closed_on_both_sides(&mesh.mesh.layout.log, &overdue, Reason::FailDeadline).await?;
    until_left(&client, "overdue").await?;
    // What he had is his; the rest never comes.
    let ended = read_to_the_end(overdue).await?;
    assert_ne!(ended.code(), Code::Ok, "{ended:?}");

    // His right is withdrawn while he reads nothing.
    let withdrawn = client.list_records(asked(endless("withdrawn")?)).await?;
    let catalog = mesh.mesh.layout.dir.join("catalog/trial.yaml");
    let text = fs::read_to_string(&catalog)?;
    let consumers = "mandatory_consumers: [ALL]";
    anyhow::ensure!(text.contains(consumers), "the catalog does not say {consumers}");
    fs::write(&catalog, text.replace(consumers, "mandatory_consumers: [G12]"))?;
    mesh.mesh.reload_broker().await?;
    closed_on_both_sides(&mesh.mesh.layout.log, &withdrawn, Reason::DenyRevokedLive).await?;
    drop(withdrawn);
    mesh.stop().await
}

#[tokio::test]
async fn one_caller_takes_no_more_calls_than_his_share() -> Result<()> {
    let mesh = TestMesh::start_changed(|layout| {
        let (_, config, _) = layout.nodes.iter().find(|(name, _, _)| name == "H26.90").context("no node")?;
        let text = fs::read_to_string(config)?;
        let limit = "calls_per_peer_max = 5000";
        anyhow::ensure!(text.contains(limit), "the node's configuration does not say {limit}");
        Ok(fs::write(config, text.replace(limit, "calls_per_peer_max = 2"))?)
    })
    .await?;
    let mut client = trial::client(&mesh).await?;
    let holding =
        [client.list_records(asked(endless("a")?)).await?, client.list_records(asked(endless("b")?)).await?];
    let refused = client.get_record(asked(get(Instruction::default()))).await.unwrap_err();
    assert_eq!(
        status::read(&refused).context("not the mesh's word")?.reason,
        Reason::FailOverloaded,
        "{refused:?}"
    );
    assert!(refused.message().contains("calls_per_peer_max"), "{}", refused.message());
    drop(holding);
    eventually("his places are free again", async || {
        Ok(client.clone().get_record(asked(get(Instruction::default()))).await.is_ok())
    })
    .await?;
    mesh.stop().await
}

/// One GiB: far more than all windows and buffers of two hops.
fn endless(watch: &str) -> Result<ListRecordsRequest> {
    let instruction = Instruction {
        payload_bytes: u32::try_from(256 * KIB)?,
        watch: watch.to_owned(),
        ..Instruction::default()
    };
    Ok(ListRecordsRequest { count: 4096, instruction: Some(instruction), ..Default::default() })
}

async fn closed_on_both_sides(
    log: &Path,
    answer: &Response<Streaming<ListRecordsResponse>>,
    reason: Reason,
) -> Result<()> {
    let exchange = exchange_id(answer.metadata());
    eventually("both sides have closed it, and say why", async || {
        let records = records(log)?;
        let pair = closings(&records, &exchange)?;
        anyhow::ensure!(pair.len() == 2, "{} of two closing records", pair.len());
        for closing in pair {
            anyhow::ensure!(closing.reason == reason.name(), "closed as {:?}", closing.reason);
            anyhow::ensure!(
                closing.status == i32::from(Status::Partial) && closing.records > 0,
                "{closing:?}"
            );
        }
        Ok(true)
    })
    .await
}

async fn until_left(client: &Trial, name: &str) -> Result<()> {
    eventually("the backend hears that it is over", async || {
        Ok(watch(&mut client.clone(), name).await?.cancelled == 1)
    })
    .await
}

async fn read_to_the_end(answer: Response<Streaming<ListRecordsResponse>>) -> Result<tonic::Status> {
    let mut stream = answer.into_inner();
    for _ in 0..4096 {
        match tokio::time::timeout(Duration::from_secs(20), stream.message()).await? {
            Ok(Some(_)) => {}
            Ok(None) => anyhow::bail!("it ended well"),
            Err(status) => return Ok(status),
        }
    }
    anyhow::bail!("all of it came")
}
