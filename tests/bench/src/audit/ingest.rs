//! Four nodes ship to one broker, as nodes do: gRPC over mutual TLS, signed batches, sealed subjects, receipts awaited, every
//! index on. How much is taken in a second, how long a receipt takes, how long the index needs afterwards, and what it takes of
//! the disk; then PostgreSQL with the same records.
//!
//! The nodes are this process: their batches are made and signed before the clock runs.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use lienthong_audit::batch::{Position, seal};
use lienthong_audit::hash::leaf_hash;
use lienthong_audit::{chain, sealed::SubjectSealer};
use lienthong_certs::pki::Issued;
use lienthong_certs::{Credentials, Signer};
use lienthong_hotpaths::story::Story;
use lienthong_proto::lienthong::audit::v1::audit_service_client::AuditServiceClient;
use lienthong_proto::lienthong::audit::v1::batch_item::Item;
use lienthong_proto::lienthong::audit::v1::ship_journal_request::Event as Say;
use lienthong_proto::lienthong::audit::v1::ship_journal_response::Event;
use lienthong_proto::lienthong::audit::v1::{
    BatchHeader, BatchItem, JournalPosition, ShipHello, ShipJournalRequest, ShipJournalResponse, SignedBatch,
};
use lienthong_transport::{Channel, ChannelOptions, Connections, Endpoint, Limits};
use prost_types::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Site, bytes_below, float, postgres};
use crate::contestant::text;
use crate::goal::Goal;
use crate::mesh::{BrokerFiles, metrics, value};
use crate::out;
use crate::pki::{Pki, SERVER_NAME};
use crate::process::{Process, Stdout};
use crate::quantile::quantile;

/// Who ships.
const NODES: [(&str, &str); 4] = [("G01", "n1"), ("G01", "n2"), ("H26.90", "n1"), ("H26.90", "n2")];
/// Records of one batch, at most.
pub const BATCH_RECORDS: u64 = 500;
/// Batches of one node that wait for their receipts where nothing else holds it back.
const IN_FLIGHT: usize = 8;
/// Records a second that are offered for long, and in a burst.
const OFFERED: u64 = 20_000;
const BURST: u64 = 40_000;
/// How often a paced node sends a batch, so that a receipt is not waited for because a batch fills slowly.
const PACED_BATCHES_PER_SECOND: u64 = 100;
/// How long the index may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(1_800);

/// A phase of the measurement.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    /// What it is called.
    pub name: &'static str,
    /// Records a second of all nodes; `None`: as fast as receipts come.
    pub offered: Option<u64>,
    /// How long.
    pub seconds: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Taken {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Waits for receipts, microseconds, sorted.
    pub waits: Vec<u64>,
}

/// Measures it.
pub fn run(site: &Site) -> anyhow::Result<Vec<Goal>> {
    tokio::runtime::Runtime::new()?.block_on(measure(site))
}

async fn measure(site: &Site) -> anyhow::Result<Vec<Goal>> {
    let House { broker, files, mut nodes } = House::open(site, "ingest").await?;
    let seconds = |full: u64| if site.small { 2 } else { full };
    let share = |rate: u64| if site.small { rate / 20 } else { rate };
    let phases = [
        Phase { name: "as fast as receipts come", offered: None, seconds: seconds(20) },
        Phase { name: "20,000/s offered", offered: Some(share(OFFERED)), seconds: seconds(60) },
        Phase { name: "40,000/s offered for 30 s", offered: Some(share(BURST)), seconds: seconds(30) },
    ];
    let mut goals = Vec::new();
    let (mut bytes, mut records, mut fastest) = (0, 0, 0.0);
    for phase in phases {
        let taken = ship(&mut nodes, phase, site.small).await?;
        (bytes, records) = (bytes + taken.bytes, records + taken.records);
        let rate = float(taken.records) / taken.seconds;
        let wait = |share| float(quantile(&taken.waits, share).unwrap_or(0)) / 1000.0;
        let name = |what: &str| format!("ingest: {what}, {}", phase.name);
        match phase.offered {
            None => {
                fastest = rate;
                goals.push(Goal::told(&name("records/s"), rate, "records/s"));
            }
            Some(offered) => {
                // What is paced ends a batch or so after its time.
                goals.push(Goal::at_least(&name("records/s"), rate, "records/s", float(offered) * 0.98));
            }
        }
        let (p50, p99) = (wait(0.5), wait(0.99));
        if phase.offered == Some(OFFERED) {
            goals.push(Goal::at_most(&name("receipt p50"), p50, "ms", 3.0));
            goals.push(Goal::at_most(&name("receipt p99"), p99, "ms", 15.0));
        } else {
            goals.push(Goal::told(&name("receipt p50"), p50, "ms"));
            goals.push(Goal::told(&name("receipt p99"), p99, "ms"));
        }
        let begun = Instant::now();
        catch_up(files.admin).await?;
        goals.push(Goal::told(&name("index caught up after"), begun.elapsed().as_secs_f64(), "s"));
    }
    drop(broker);
    let on_disk = bytes_below(&files.data_dir)?;
    goals.push(Goal::at_most(
        "ingest: disk bytes, of the records' own",
        float(on_disk) / float(bytes),
        "ratio",
        3.0,
    ));
    goals.push(Goal::told("ingest: bytes a record", float(bytes) / float(records), "bytes"));
    goals.extend(postgres::compare(site, fastest)?);
    Ok(goals)
}

/// A broker, and nodes that ship to it.
pub struct House {
    /// The broker.
    pub broker: Process,
    /// What it was configured with.
    pub files: BrokerFiles,
    /// The nodes, each with its stream open.
    pub nodes: Vec<Node>,
}

impl House {
    /// Starts a broker in a new folder, and connects the nodes.
    pub async fn open(site: &Site, name: &str) -> anyhow::Result<Self> {
        let folder = site.dir(name)?;
        let pki = Pki::create(&folder.join("pki"))?;
        let issued: Vec<Issued> =
            NODES.iter().map(|(agency, id)| pki.another_node(agency, id)).collect::<anyhow::Result<_>>()?;
        let files = BrokerFiles::write(&folder, &pki, &NODES, &issued)?;
        let arguments = ["broker", "run", "--config", text(&files.config)?, "--with-parent"];
        let mut broker = Process::start("broker", &site.lienthong, arguments, &folder, Stdout::Log)?;
        broker.ready(async || metrics(files.admin).await.is_ok()).await?;
        let mut nodes = Vec::new();
        for ((agency, id), issued) in NODES.iter().zip(&issued) {
            nodes.push(
                Node::open(&pki, files.address, format!("agencies/{agency}/nodes/{id}"), issued).await?,
            );
        }
        Ok(Self { broker, files, nodes })
    }
}

/// A node that ships.
pub struct Node {
    name: String,
    credentials: Credentials,
    sealer: SubjectSealer,
    position: Position,
    /// Number of its next story.
    next: u64,
    client: AuditServiceClient<Channel<tonic::body::Body>>,
    stream: Stream,
}

/// An open stream to the broker.
struct Stream {
    say: mpsc::Sender<ShipJournalRequest>,
    heard: Streaming<ShipJournalResponse>,
}

/// A batch that is ready to leave.
struct Ready {
    batch: SignedBatch,
    records: u64,
    bytes: u64,
}

impl Stream {
    async fn open(
        client: &mut AuditServiceClient<Channel<tonic::body::Body>>,
    ) -> anyhow::Result<(Self, JournalPosition)> {
        let (say, said) = mpsc::channel(IN_FLIGHT);
        let hello = ShipHello { journal_epoch: 1, ..ShipHello::default() };
        say.send(ShipJournalRequest { event: Some(Say::Hello(hello)) }).await?;
        let mut heard = client.ship_journal(ReceiverStream::new(said)).await?.into_inner();
        let first = heard.message().await?.and_then(|answer| answer.event);
        let Some(Event::Position(position)) = first else { bail!("the broker tells no position") };
        Ok((Self { say, heard }, position))
    }
}

impl Node {
    async fn open(pki: &Pki, broker: SocketAddr, name: String, issued: &Issued) -> anyhow::Result<Self> {
        let endpoint = Endpoint::Mesh {
            address: broker.to_string(),
            server_name: Some(SERVER_NAME.to_owned()),
            material: pki.material_of(issued)?,
        };
        let options = ChannelOptions { limits: Limits::control(), ..ChannelOptions::new(Connections::new()) };
        let channel: Channel<tonic::body::Body> = Channel::new(endpoint, options);
        let mut client = AuditServiceClient::new(channel);
        let (stream, position) = Stream::open(&mut client).await?;
        let sealer = SubjectSealer::new(&position.index_key.context("the broker keeps no index")?)?;
        let credentials = issued.credentials()?;
        let next = u64::from(leaf_hash(name.as_bytes()).0[0]) << 40;
        Ok(Self { name, credentials, sealer, position: Position::start(1), next, client, stream })
    }

    /// Goes on over a new stream, as a node does whose connection has grown old. The broker knows where it stood.
    pub async fn reopen(&mut self) -> anyhow::Result<()> {
        let (stream, position) = Stream::open(&mut self.client).await?;
        ensure!(
            position.last_seq == self.position.last_seq,
            "the broker has {} up to record {}, and receipted {}",
            self.name,
            position.last_seq,
            self.position.last_seq
        );
        self.stream = stream;
        Ok(())
    }

    /// Makes and signs the next batch.
    fn make(&mut self, records: u64) -> anyhow::Result<Ready> {
        let before = self.position;
        let (mut entries, mut subjects, mut leaves, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for seq in before.last_seq + 1..=before.last_seq + records {
            let (entry, about) = Story::of(self.next).record(&self.name, seq);
            self.next += 1;
            bytes += entry.len() as u64;
            leaves.push(leaf_hash(&entry));
            entries.push(BatchItem { item: Some(Item::Entry(entry.into())) });
            subjects.push(about);
        }
        self.position = Position {
            epoch: before.epoch,
            last_seq: before.last_seq + records,
            head: chain::advance(&before.head, &leaves),
        };
        let header = BatchHeader {
            node: self.name.clone(),
            journal_epoch: before.epoch,
            first_seq: before.last_seq + 1,
            last_seq: self.position.last_seq,
            previous_head: before.head.0.to_vec(),
            head: self.position.head.0.to_vec(),
            seal_time: Some(Timestamp::from(std::time::SystemTime::now())),
            ..BatchHeader::default()
        };
        let signer = self.credentials.signer();
        let batch = seal(&header, entries, Vec::new(), |message| Signer::sign(&*signer, message))?;
        let subjects = Some(self.sealer.seal(subjects, &batch.header)?);
        Ok(Ready { batch: SignedBatch { subjects, ..batch }, records, bytes })
    }

    /// Sends what is ready from `begun` on, and hears every receipt; at `pace`, or as the window allows.
    async fn ship(
        &mut self,
        ready: Vec<Ready>,
        begun: Instant,
        pace: Option<Duration>,
    ) -> anyhow::Result<Vec<u64>> {
        let (mut ready, mut sent, mut waits) = (VecDeque::from(ready), VecDeque::new(), Vec::new());
        let mut number = 0_u32;
        while !ready.is_empty() || !sent.is_empty() {
            let due = pace.map_or(begun, |pace| begun + pace * number);
            let room = pace.is_some() || sent.len() < IN_FLIGHT;
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due.into()), if room && !ready.is_empty() => {
                    let Some(Ready { batch, .. }) = ready.pop_front() else { continue };
                    // Waiting since it was due, so that a stall is not forgotten.
                    sent.push_back(if pace.is_some() { due } else { Instant::now() });
                    number += 1;
                    self.stream.say.send(ShipJournalRequest { event: Some(Say::Batch(batch)) }).await?;
                }
                heard = self.stream.heard.message(), if !sent.is_empty() => {
                    let event = heard?.and_then(|answer| answer.event);
                    ensure!(matches!(event, Some(Event::Receipt(_))), "a batch got no receipt");
                    if let Some(since) = sent.pop_front() {
                        waits.push(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
                    }
                }
            }
        }
        Ok(waits)
    }
}

/// One phase: batches are made first, then all nodes ship at once.
pub async fn ship(nodes: &mut [Node], phase: Phase, small: bool) -> anyhow::Result<Taken> {
    let count = nodes.len() as u64;
    let (batches, records, pace) = match phase.offered {
        // More than can be taken in that time on any machine known; what is left over is never sent.
        None => (if small { 10 } else { phase.seconds * 25 }, BATCH_RECORDS, None),
        Some(offered) => {
            let each = (offered / count / PACED_BATCHES_PER_SECOND).max(1);
            let pace = Duration::from_secs_f64(float(each * count) / float(offered));
            (offered * phase.seconds / count / each, each, Some(pace))
        }
    };
    let mut ready = Vec::new();
    for node in nodes.iter_mut() {
        ready.push((0..batches).map(|_| node.make(records)).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let all = ready.iter().flatten();
    let (records, bytes) = all.fold((0, 0), |sum, one| (sum.0 + one.records, sum.1 + one.bytes));
    out::note(&format!("{}: {records} records are ready", phase.name));
    let begun = Instant::now();
    let mut shipping = Vec::new();
    // Nodes know nothing of each other: they do not all send in the same moment.
    let apart = pace.unwrap_or_default().div_f64(float(count));
    for ((node, ready), number) in nodes.iter_mut().zip(ready).zip(0..) {
        shipping.push(node.ship(ready, begun + apart * number, pace));
    }
    let mut waits = Vec::new();
    for shipped in futures_util::future::join_all(shipping).await {
        waits.extend(shipped?);
    }
    let seconds = begun.elapsed().as_secs_f64();
    waits.sort_unstable();
    Ok(Taken { records, bytes, seconds, waits })
}

/// Waits until everything that is published is indexed.
pub async fn catch_up(admin: SocketAddr) -> anyhow::Result<()> {
    let until = Instant::now() + CATCH_UP;
    // What was receipted is published within a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    while value(&metrics(admin).await?, "lienthong_broker_index_lag_entries", "") != Some(0) {
        ensure!(Instant::now() < until, "the index does not catch up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The same records for whoever takes them otherwise: `records` of them, each as its parts.
pub fn stories(records: u64) -> impl Iterator<Item = (Story, Vec<u8>)> {
    (0..records).map(|number| {
        let story = Story::of(number);
        let (entry, _) = story.record(NODE, number);
        (story, entry)
    })
}

const NODE: &str = "agencies/G01/nodes/n1";

/// A path that can be given to another program.
pub fn shown(path: &Path) -> anyhow::Result<&str> {
    text(path)
}
