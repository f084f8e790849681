//! Both sides' records of real calls match without a word; and what the operator's officer sees when they do not.
#![allow(clippy::unwrap_used)] // test code

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use lienthong::client::Stated;
use lienthong_proto::vn::thunghiem::v1::{
    Instruction, ListRecordsRequest, PutRecordRequest, SendRecordsRequest,
};
use lienthong_tests::{
    GET_CITIZEN, PERSON, TestMesh, eventually, handling, program,
    trial::{self, asked, duration, get, record},
};
use serde_json::Value;

/// What `lienthong audit findings list --json` prints.
fn findings(mesh: &TestMesh) -> Result<Value> {
    let profile = mesh.mesh.layout.profiles.get("operator-1").context("no operator")?;
    let listed = Command::new(program()?)
        .args(["audit", "findings", "list", "--all", "--json", "--profile"])
        .arg(profile)
        .output()?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    Ok(serde_json::from_slice(&listed.stdout)?)
}

#[tokio::test]
async fn the_records_of_honest_nodes_match() -> Result<()> {
    let mut mesh = TestMesh::start_changed(|layout| {
        let path = layout.dir.join("config/broker.toml");
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains("grace_ms = 60000"), "{text}");
        Ok(fs::write(&path, text.replace("grace_ms = 60000", "grace_ms = 1000"))?)
    })
    .await?;
    let mut client = trial::client(&mesh).await?;
    // Granted, denied by either side, failed, cut off, of every kind.
    mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    mesh.office(GET_CITIZEN, PERSON, &Stated::default()).await?;
    client.put_record(asked(PutRecordRequest { record: Some(record(1, 10)), ..Default::default() })).await?;
    let fails = Instruction { code: 9, fail_after: 2, ..Instruction::default() };
    drop(client.get_record(asked(get(fails.clone()))).await);
    let slow = Instruction { delay: Some(duration(Duration::from_secs(20))), ..Instruction::default() };
    let mut impatient = asked(get(slow));
    impatient.set_timeout(Duration::from_millis(300));
    drop(client.get_record(impatient).await);
    for instruction in [Instruction::default(), fails] {
        let list = ListRecordsRequest { count: 30, instruction: Some(instruction), ..Default::default() };
        let mut stream = client.list_records(asked(list)).await?.into_inner();
        while let Ok(Some(_)) = stream.message().await {}
    }
    let pause = Some(duration(Duration::from_millis(20)));
    let list = ListRecordsRequest { count: 10_000, pause, ..ListRecordsRequest::default() };
    let mut left = client.list_records(asked(list)).await?.into_inner();
    assert!(left.message().await?.is_some());
    drop(left);
    let sent =
        (0..20).map(|number| SendRecordsRequest { record: Some(record(number, 100)), ..Default::default() });
    client.send_records(asked(tokio_stream::iter(sent.collect::<Vec<_>>()))).await?;
    // A node dies in the middle of things, and comes back.
    mesh.mesh.restart_node("G01", true).await?;
    mesh.until_served().await?;

    let log = mesh.mesh.layout.log.clone();
    let size = lienthong_audit::log::LogReader::new(&log).size()?;
    eventually("all of it is matched", async || {
        Ok(findings(&mesh)?["matched_upto"].as_u64().is_some_and(|matched| matched >= size))
    })
    .await?;
    // Long enough for every node to say, by a record or a heartbeat, that it has gone on.
    tokio::time::sleep(Duration::from_secs(14)).await;
    let listed = findings(&mesh)?;
    assert_eq!(listed["findings"], Value::Array(Vec::new()), "{listed:#}");
    mesh.stop().await
}
