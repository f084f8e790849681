//! The release gates: what must be on record, and where, before a byte of an answer leaves. And the witnesses that the
//! strictest one asks for.
#![allow(clippy::unwrap_used)] // test code

use std::fs;

use anyhow::{Context, Result, ensure};
use lienthong::demo::layout::Layout;
use lienthong_audit::{
    log::LogReader,
    policy::Policy,
    verify::{Verdict, VerifyOptions, verify_dir},
};
use lienthong_proto::{
    lienthong::audit::v1::{Record, record::Body},
    reason::Reason,
    status,
    vn::thunghiem::v1::{Instruction, ListRecordsRequest, PutRecordRequest},
};
use lienthong_tests::{
    GET_CITIZEN, PERSON, TestMesh, eventually, handling, reason,
    records::{closings, records},
    trial::{self, Trial, asked, exchange_id, get, record},
};
use tonic::Status;

/// The trial's dataset behind a gate, with a wait that a test has patience for.
fn behind(gate: &'static str) -> impl FnOnce(&Layout) -> Result<()> {
    move |layout| {
        replace(
            &layout.dir.join("catalog/trial.yaml"),
            "    min_security_level: 1\n",
            &format!("    min_security_level: 1\n    release_gate: {gate}\n"),
        )?;
        for (_, config, _) in &layout.nodes {
            replace(config, "gate_wait_ms = 10000", "gate_wait_ms = 3000")?;
        }
        Ok(())
    }
}

fn replace(path: &std::path::Path, from: &str, to: &str) -> Result<()> {
    let text = fs::read_to_string(path)?;
    ensure!(text.contains(from), "{} does not hold {from:?}", path.display());
    Ok(fs::write(path, text.replacen(from, to, 1))?)
}

/// What a call of the trial came to: the exchange, or the denial's detail.
async fn call(client: &mut Trial) -> Result<String, String> {
    let answer = client.get_record(asked(get(Instruction::default()))).await;
    answer.map(|answer| exchange_id(answer.metadata())).map_err(|denied| unavailable(&denied))
}

/// The detail of a denial for want of a record.
fn unavailable(denied: &Status) -> String {
    let read = status::read(denied).map(|read| read.reason);
    assert_eq!(read, Some(Reason::DenyAuditUnavailable), "{denied:?}");
    denied.message().to_owned()
}

/// How many opening records of an exchange the log holds in full.
fn openings(records: &[Record], exchange: &str) -> Result<usize> {
    let id = uuid::Uuid::parse_str(exchange)?;
    let of_it = |record: &&Record| match &record.body {
        Some(Body::Opening(opening)) => {
            opening.exchange.as_ref().is_some_and(|exchange| exchange.id == id.as_bytes())
        }
        _ => false,
    };
    Ok(records.iter().filter(of_it).count())
}

#[tokio::test]
async fn behind_receipt_an_answer_waits_for_the_log_and_for_nothing_else() -> Result<()> {
    let mut mesh = TestMesh::start_changed(behind("RECEIPT")).await?;
    let mut client = trial::client(&mesh).await?;
    let exchange = call(&mut client).await.unwrap();
    // Released means: both opening records are in the log by now; published a moment later.
    let log = mesh.mesh.layout.log.clone();
    eventually("both openings and both closings are published", async || {
        let records = records(&log)?;
        Ok(openings(&records, &exchange)? == 2 && closings(&records, &exchange)?.len() == 2)
    })
    .await?;
    client.put_record(asked(PutRecordRequest { record: Some(record(1, 10)), ..Default::default() })).await?;

    // A stream of many windows flows.
    let list = ListRecordsRequest { count: 3_500, ..ListRecordsRequest::default() };
    let mut stream = client.list_records(asked(list)).await?.into_inner();
    let mut seen = 0;
    while stream.message().await?.is_some() {
        seen += 1;
    }
    assert_eq!(seen, 3_500);

    // Witnesses are no concern of this gate.
    for id in ["ttdl-1", "ttdl-2", "ttdl-3"] {
        mesh.mesh.stop_witness(id).await?;
    }
    call(&mut client).await.unwrap();

    // A live stream ends within a window once the broker is away; nothing new begins, and the reason is named.
    let pause = Some(trial::duration(std::time::Duration::from_millis(1)));
    let list = ListRecordsRequest { count: 100_000, pause, ..ListRecordsRequest::default() };
    let mut stream = client.list_records(asked(list)).await?.into_inner();
    assert!(stream.message().await?.is_some());
    mesh.mesh.kill_broker().await?;
    let denied = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => anyhow::bail!("the stream ended as if all were well"),
            Err(denied) => break denied,
        }
    };
    assert!(unavailable(&denied).contains("RECEIPT"), "{denied:?}");
    let detail = call(&mut client).await.unwrap_err();
    assert!(detail.contains("RECEIPT") && detail.contains("broker"), "{detail}");
    // Data behind the journal alone goes on.
    let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert_eq!(reason(&outcome), None, "{:?}", outcome.error);

    // Two must have cosigned what is published: so two must be heard before it opens its log.
    for id in ["ttdl-1", "ttdl-2"] {
        mesh.mesh.start_witness(id).await?;
    }
    mesh.mesh.start_broker().await?;
    eventually("the gate opens again", async || Ok(call(&mut client.clone()).await.is_ok())).await?;
    mesh.mesh.start_witness("ttdl-3").await?;
    mesh.stop().await
}

#[tokio::test]
async fn behind_witnessed_an_answer_waits_for_the_quorum() -> Result<()> {
    let mut mesh = TestMesh::start_changed(behind("WITNESSED")).await?;
    let mut client = trial::client(&mesh).await?;
    let exchange = call(&mut client).await.unwrap();
    // Released means: both openings lie under a published checkpoint that the quorum has cosigned.
    let layout = &mesh.mesh.layout;
    let policy = Policy::parse(&fs::read(&layout.policy)?)?;
    let reader = LogReader::new(&layout.log);
    assert!(policy.judge(&reader.checkpoint_note()?)?.cosigned.len() >= 2);
    assert_eq!(openings(&records(&layout.log)?, &exchange)?, 2);

    // One of three data centres may be away.
    mesh.mesh.kill_witness("ttdl-1").await?;
    call(&mut client).await.unwrap();
    // Two may not; the reason names the quorum, and data behind other gates goes on.
    mesh.mesh.kill_witness("ttdl-2").await?;
    let detail = call(&mut client).await.unwrap_err();
    assert!(detail.contains("WITNESSED") && detail.contains("quorum"), "{detail}");
    let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert_eq!(reason(&outcome), None, "{:?}", outcome.error);
    // Killed, they have forgotten nothing: they cosign where they stood.
    mesh.mesh.start_witness("ttdl-1").await?;
    mesh.mesh.start_witness("ttdl-2").await?;
    eventually("the gate opens again", async || Ok(call(&mut client.clone()).await.is_ok())).await?;

    // Every node has held the log to its promises, and found nothing.
    for (code, ..) in &mesh.mesh.layout.nodes {
        let evidence = mesh.mesh.layout.dir.join("nodes").join(code).join("evidence");
        assert!(!evidence.exists(), "{code} found something");
    }
    let (log, policy) = (mesh.mesh.layout.log.clone(), policy.clone());
    mesh.mesh.stop().await?;
    let report = verify_dir(&log, &VerifyOptions { policy: Some(policy), ..VerifyOptions::default() });
    assert_eq!(report.verdict, Verdict::Verified, "{report}");
    Ok(())
}

#[tokio::test]
async fn a_broker_set_back_behind_what_its_nodes_hold_stops() -> Result<()> {
    // No witness remembers here: the nodes do.
    let mut mesh = TestMesh::start_changed(|layout| {
        replace(&layout.dir.join("config/broker.toml"), "start_unheard = false", "start_unheard = true")
    })
    .await?;
    for id in ["ttdl-1", "ttdl-2", "ttdl-3"] {
        mesh.mesh.stop_witness(id).await?;
    }
    mesh.mesh.stop_broker().await?;
    let data = mesh.mesh.layout.dir.join("broker");
    let backup = mesh.mesh.layout.dir.join("broker-backup");
    copy(&data, &backup)?;
    mesh.mesh.start_broker().await?;
    let before = LogReader::new(&mesh.mesh.layout.log).size()?;
    for _ in 0..3 {
        mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    }
    let log = mesh.mesh.layout.log.clone();
    eventually("the records are in the log", async || Ok(LogReader::new(&log).size()? > before)).await?;
    // Receipts of what was published last are at the nodes when they stop shipping.
    mesh.mesh.kill_broker().await?;
    fs::remove_dir_all(&data)?;
    copy(&backup, &data)?;
    // It may be ready for a moment, until the first node speaks.
    let _ = mesh.mesh.start_broker().await;
    eventually("the broker says why it stopped", async || {
        let log = mesh.log_of("broker")?;
        Ok(log.contains("restored from an old copy") || log.contains("another history"))
    })
    .await?;
    eventually("it takes no record any more", async || {
        let ended = mesh.log_of("broker")?;
        Ok(ended.contains("the log stopped") && LogReader::new(&log).size()? <= before + 40)
    })
    .await
    .context("a broker that was set back went on")?;
    Ok(())
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, target) = (entry.as_ref().unwrap(), to.join(entry.as_ref().unwrap().file_name()));
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
