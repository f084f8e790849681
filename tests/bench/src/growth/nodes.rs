//! Nodes that watch their rights at one broker: simulated, each with a certificate and a stream of its own. They hear bundles
//! and a heartbeat every second; what that costs the broker while nothing changes.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::control::v1::rights_service_client::RightsServiceClient;
use lienthong_proto::lienthong::control::v1::watch_rights_request::{Event as Said, Hello};
use lienthong_proto::lienthong::control::v1::watch_rights_response::Event as Heard;
use lienthong_proto::lienthong::control::v1::{WatchRightsRequest, WatchRightsResponse};
use lienthong_transport::{Channel, ChannelOptions, Connections, Endpoint, Limits};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::cli::GrowthArgs;
use crate::contestant::text;
use crate::goal::Goal;
use crate::mesh::{BrokerFiles, metrics};
use crate::pki::{Pki, SERVER_NAME};
use crate::process::{Process, Stdout};
use crate::run::{mib, temporary_folder};
use crate::{host, out};

const NODES: [usize; 3] = [4, 25, 100];
const NODES_QUICK: [usize; 2] = [4, 25];
/// Whose nodes they are.
const AGENCY: &str = "G01";
/// How long the broker is looked at while nothing changes.
const IDLE: Duration = Duration::from_secs(10);
const IDLE_QUICK: Duration = Duration::from_secs(3);

/// Measures it.
pub(super) async fn run(arguments: &GrowthArgs) -> anyhow::Result<Vec<Goal>> {
    let sizes: &[usize] = if arguments.quick { &NODES_QUICK } else { &NODES };
    let mut goals = Vec::new();
    for nodes in sizes {
        out::note(&format!("{nodes} nodes at one broker"));
        goals.extend(of(arguments, *nodes).await?);
    }
    Ok(goals)
}

async fn of(arguments: &GrowthArgs, nodes: usize) -> anyhow::Result<Vec<Goal>> {
    let folder = temporary_folder(arguments.data.as_deref())?;
    let pki = Pki::create(&folder.path().join("pki"))?;
    let ids: Vec<String> = (0..nodes).map(|number| format!("w{number}")).collect();
    let issued = ids.iter().map(|id| pki.another_node(AGENCY, id)).collect::<anyhow::Result<Vec<_>>>()?;
    let named: Vec<_> = ids.iter().map(|id| (AGENCY, id.as_str())).collect();
    let files = BrokerFiles::write(folder.path(), &pki, &named, &issued)?;
    let options = ["broker", "run", "--config", text(&files.config)?, "--with-parent"];
    let begun = Instant::now();
    let mut broker = Process::start("broker", &arguments.lienthong()?, options, folder.path(), Stdout::Log)?;
    broker.ready(async || metrics(files.admin).await.is_ok()).await?;
    let started = begun.elapsed();

    let begun = Instant::now();
    let watching = issued.iter().map(|issued| watch(&pki, &files, issued));
    let mut watchers = JoinSet::new();
    for watcher in try_join_all(watching).await? {
        watchers.spawn(watcher.hear());
    }
    let joined = begun.elapsed();

    let pid = broker.pid().context("the broker ended")?;
    let (before, begun) = (host::cpu_time(pid)?, Instant::now());
    tokio::time::sleep(if arguments.quick { IDLE_QUICK } else { IDLE }).await;
    let cpu = host::cpu_time(pid)?.saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64();
    if let Some(ended) = watchers.try_join_next() {
        return Err(ended?.context("a node that only watched was sent away"));
    }
    let name = |what: &str| format!("growth: {what}, {nodes} nodes");
    Ok(vec![
        Goal::told(&name("start of the broker"), started.as_secs_f64() * 1e3, "ms"),
        Goal::told(&name("all have connected and hold their rights after"), joined.as_secs_f64() * 1e3, "ms"),
        Goal::told(&name("processor time of the broker while nothing changes"), cpu * 1e3, "ms/s"),
        Goal::told(&name("memory of the broker"), mib(host::resident_bytes(pid)?)?, "MiB"),
    ])
}

/// One node's stream.
struct Watcher {
    heard: Streaming<WatchRightsResponse>,
    /// Held: the stream lives as long as both sides may speak.
    _say: mpsc::Sender<WatchRightsRequest>,
}

/// Connects as a node that holds nothing, and waits for its bundle.
async fn watch(pki: &Pki, files: &BrokerFiles, issued: &Issued) -> anyhow::Result<Watcher> {
    let endpoint = Endpoint::Mesh {
        address: files.address.to_string(),
        server_name: Some(SERVER_NAME.to_owned()),
        material: pki.material_of(issued)?,
    };
    let options = ChannelOptions { limits: Limits::control(), ..ChannelOptions::new(Connections::new()) };
    let channel: Channel<tonic::body::Body> = Channel::new(endpoint, options);
    let (say, said) = mpsc::channel(1);
    say.send(WatchRightsRequest { event: Some(Said::Hello(Hello::default())) }).await?;
    let mut heard =
        RightsServiceClient::new(channel).watch_rights(ReceiverStream::new(said)).await?.into_inner();
    while let Some(message) = heard.message().await? {
        let whole = match message.event {
            Some(Heard::Snapshot(_)) => true,
            Some(Heard::Part(part)) => !part.signature.is_empty(),
            _ => false,
        };
        if whole {
            return Ok(Watcher { heard, _say: say });
        }
    }
    anyhow::bail!("the broker ended a watch before it told the rights")
}

impl Watcher {
    /// Hears until the broker ends it: it should not.
    async fn hear(mut self) -> anyhow::Error {
        loop {
            match self.heard.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return anyhow::anyhow!("the broker ended a watch"),
                Err(status) => return status.into(),
            }
        }
    }
}
