//! What happens when things fail: each role stopped, killed, damaged or fed with rubbish. A clear error, nothing
//! lost, and the process lives on.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use lienthong::{client::Stated, commands::call};
use lienthong_audit::journal;
use lienthong_proto::{
    lienthong::audit::v1::{Status, record::Body},
    reason::Reason,
};
use lienthong_tests::{
    GET_CITIZEN, OFFICE, PERSON, TestMesh, eventually, handling, reason,
    records::{closings, records},
};

const LIST_UNITS: &str = "/vn.danhmuc.v1.AdministrativeUnitService/ListAdministrativeUnits";

#[tokio::test]
async fn every_role_can_be_restarted_and_nothing_is_lost() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    let mut exchanges = Vec::new();
    for kill in [false, true] {
        for code in ["H26.90", "G01"] {
            exchanges.push(answered(&mesh).await?);
            mesh.mesh.restart_node(code, kill).await?;
            mesh.until_served().await?;
        }
    }
    exchanges.push(answered(&mesh).await?);
    mesh.mesh.stop_broker().await?;
    exchanges.push(answered(&mesh).await?);
    mesh.mesh.start_broker().await?;
    exchanges.push(answered(&mesh).await?);
    mesh.mesh.kill_broker().await?;
    exchanges.push(answered(&mesh).await?);
    mesh.mesh.start_broker().await?;

    let log = mesh.mesh.layout.log.clone();
    eventually("both records of each answered exchange are in the log, once", async || {
        let records = records(&log)?;
        for exchange in &exchanges {
            let found = closings(&records, exchange)?.len();
            anyhow::ensure!(found == 2, "{found} closing records of {exchange}");
        }
        Ok(true)
    })
    .await?;
    mesh.stop().await
}

#[tokio::test]
async fn a_provider_killed_under_load_closes_each_exchange_once() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = mesh.mesh.client(OFFICE)?;
        calls.spawn(async move {
            for _ in 0..200 {
                // Some of these fail while the node is away: that is the test.
                let _ = call::call(&client, GET_CITIZEN, PERSON, &handling()).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    mesh.mesh.restart_node("G01", true).await?;
    calls.abort_all();
    mesh.until_served().await?;
    let log = mesh.mesh.layout.log.clone();
    eventually("every exchange of G01 in the log has one closing record", async || {
        let mut closings = BTreeMap::<Vec<u8>, usize>::new();
        for record in records(&log)? {
            if record.recorder == "agencies/G01/nodes/n1"
                && let Some(Body::Closing(closing)) = record.body
            {
                *closings.entry(closing.opening_hash).or_default() += 1;
                anyhow::ensure!(
                    closing.status != i32::from(Status::Unspecified),
                    "a closing without a status"
                );
            }
        }
        anyhow::ensure!(closings.len() > 1, "no record yet");
        Ok(closings.values().all(|count| *count == 1))
    })
    .await?;
    mesh.stop().await
}

#[tokio::test]
async fn a_node_with_rights_that_are_too_old_fails_closed_by_class() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    let statistics = Stated { purpose: Some("STATISTICS".to_owned()), ..Stated::default() };
    eventually("the units are shared, too", async || {
        Ok(mesh.office(LIST_UNITS, "{}", &statistics).await?.error.is_none())
    })
    .await?;
    mesh.mesh.stop_broker().await?;
    mesh.mesh.stop_node("H26.90").await?;
    // 25 hours without the broker: too old for shared data (24 h), not for open data (7 d).
    let freshness = mesh.mesh.layout.dir.join("nodes/H26.90/freshness.toml");
    let text = fs::read_to_string(&freshness)?;
    let aged: Vec<_> = text
        .lines()
        .map(|line| if line.starts_with("age_ms") { "age_ms = 90000000" } else { line })
        .collect();
    fs::write(&freshness, aged.join("\n"))?;
    mesh.mesh.start_node("H26.90").await?;

    let shared = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert_eq!(reason(&shared), Some(Reason::DenyRightsStale), "{:?}", shared.error);
    let open = mesh.office(LIST_UNITS, "{}", &statistics).await?;
    assert!(open.error.is_none(), "{:?}", open.error);

    mesh.mesh.start_broker().await?;
    mesh.until_served().await?;
    mesh.stop().await
}

#[tokio::test]
async fn rubbish_on_every_port_disturbs_nobody() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let ports = ports(&mesh.mesh.layout.dir.join("config"))?;
    assert!(ports.len() >= 12, "{ports:?}");
    let mut held = Vec::new();
    for port in &ports {
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            b"\x16\x03\x01\xff\xff\x01\0\xff\xfd\x03\x03rubbish rubbish rubbish",
            &[0xff; 4096],
            b"",
        ] {
            let mut stream = TcpStream::connect(port)?;
            stream.set_read_timeout(Some(Duration::from_millis(20)))?;
            // The other side may close at any moment.
            let _ = stream.write_all(bytes);
            let _ = stream.read(&mut [0; 64]);
            held.push(stream);
        }
    }
    let answer = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    assert!(answer.error.is_none(), "{:?}", answer.error);
    drop(held);
    mesh.stop().await
}

#[tokio::test]
async fn a_damaged_bundle_is_named_and_replaced_by_the_broker() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    mesh.mesh.stop_node("G01").await?;
    flip(&mesh.mesh.layout.dir.join("nodes/G01/bundle.binpb"))?;
    mesh.mesh.start_node("G01").await?;
    mesh.until_served().await?;
    let log = mesh.log_of("node-G01")?;
    assert!(log.contains("the node holds no rights until it hears the broker"), "{log}");
    mesh.stop().await
}

#[tokio::test]
async fn a_damaged_journal_is_found_and_the_place_is_named() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    for _ in 0..20 {
        answered(&mesh).await?;
    }
    mesh.mesh.stop_node("G01").await?;
    let folder = mesh.mesh.layout.dir.join("nodes/G01/journal");
    journal::check(&folder)?;
    let segment = newest_segment(&folder)?;
    let mut bytes = fs::read(&segment)?;
    let used = bytes.iter().rposition(|byte| *byte != 0).context("the segment is empty")?;
    // Durable records follow: this is damage, not a torn tail.
    bytes[used / 2] ^= 1;
    fs::write(&segment, bytes)?;
    let error = journal::check(&folder).map(|_| ()).unwrap_err().to_string();
    let name = segment.file_name().context("no name")?.to_string_lossy().into_owned();
    assert!(error.contains(&name), "{error}");
    mesh.stop().await
}

async fn answered(mesh: &TestMesh) -> Result<String> {
    let outcome = mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
    anyhow::ensure!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome.exchange_id.context("an answer without an exchange id")
}

fn ports(config: &Path) -> Result<Vec<SocketAddr>> {
    let mut ports = Vec::new();
    for entry in fs::read_dir(config)? {
        let text = fs::read_to_string(entry?.path())?;
        for line in text.lines() {
            let listens = ["listen =", "mesh_listener =", "tls = \"", "admin_listen ="];
            if listens.iter().any(|key| line.starts_with(key))
                && let Some(address) = line.split('"').nth(1).and_then(|text| text.parse().ok())
            {
                ports.push(address);
            }
        }
    }
    Ok(ports)
}

fn flip(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the file is empty")? ^= 1;
    Ok(fs::write(path, bytes)?)
}

fn newest_segment(journal: &Path) -> Result<PathBuf> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(journal)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            segments.push(path);
        }
    }
    segments.sort();
    segments.pop().context("the journal has no segment")
}
