//! The broker and its witnesses, all real: what is published is cosigned, and a broker that was set back signs nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Mesh, PATIENCE};
use lienthong_audit::log::LogReader;
use lienthong_audit::note::{KeyKind, SigningKey};
use lienthong_audit::policy::{Accepted, Policy};
use lienthong_broker::config::WitnessesConfig;
use lienthong_broker::{Broker, BrokerConfig, BrokerError, mesh_keys, state};
use lienthong_trust::{Witness as Trusted, Witnesses};
use lienthong_witness::{Witness, WitnessConfig};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const WITNESSES: usize = 3;

/// A mesh whose log has three witnesses, two of which must cosign.
struct Witnessed {
    mesh: Mesh,
    configs: Vec<WitnessConfig>,
    running: Vec<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
    policy: Policy,
}

impl Witnessed {
    async fn new() -> Witnessed {
        let mesh = Mesh::new();
        let log = mesh_keys::log_key(&mesh.path("log.key")).unwrap();
        let (mut configs, mut known) = (Vec::new(), Vec::new());
        for number in 1..=WITNESSES {
            // A port that was free a moment ago: a witness must come back where it was.
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let key = SigningKey::generate(&format!("w{number}"), KeyKind::CosignatureV1).unwrap();
            let file = mesh.path(&format!("w{number}.key"));
            lienthong_certs::files::create_private(&file, key.to_skey().unwrap().as_bytes()).unwrap();
            known.push(Trusted { key: key.verifier().clone(), url: Some(format!("http://{free}")) });
            configs.push(WitnessConfig {
                listen: free,
                data_dir: mesh.path(&format!("w{number}")),
                key: file,
                logs: vec![log.verifier().to_string()],
                ..WitnessConfig::sample()
            });
        }
        mesh.next_trust(|parts| parts.witnesses = Witnesses { quorum: 2, known });
        let running = (0..WITNESSES).map(|_| None).collect();
        let policy = mesh.trust_file().trust().witness_policy().clone();
        let mut witnessed = Witnessed { mesh, configs, running, policy };
        for place in 0..WITNESSES {
            witnessed.start(place).await;
        }
        witnessed
    }

    async fn start(&mut self, place: usize) {
        let witness = Witness::open(self.configs[place].clone()).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            witness.serve(async move { drop(stopped.await) }).await.unwrap();
        });
        self.running[place] = Some((stop, task));
    }

    async fn stop(&mut self, place: usize) {
        let (stop, task) = self.running[place].take().unwrap();
        drop(stop);
        task.await.unwrap();
    }

    fn config(&self) -> BrokerConfig {
        let witnesses = WitnessesConfig { start_patience_ms: 500, ..WitnessesConfig::default() };
        BrokerConfig { witnesses, ..self.mesh.config() }
    }

    /// What is published, as the policy judges it.
    fn published(&self) -> Result<Accepted, String> {
        let note = LogReader::new(&self.log_dir()).checkpoint_note().map_err(|error| error.to_string())?;
        self.policy.judge(&note).map_err(|error| error.to_string())
    }

    fn log_dir(&self) -> PathBuf {
        state::log_dir(&self.mesh.data_dir())
    }

    async fn until(&self, what: &str, mut check: impl FnMut(Result<Accepted, String>) -> bool) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !check(self.published()) {
            assert!(tokio::time::Instant::now() < until, "{what}: {:?}", self.published());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Puts something on record: the catalog says something else from now on.
    async fn change(&self, broker: &Broker, from: &str, to: &str) {
        self.mesh.edit("agencies.yaml", from, to);
        assert!(broker.reload().await.unwrap());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_cosigned_by_whoever_is_there() {
    let mut mesh = Witnessed::new().await;
    let broker = Broker::start(mesh.config()).await.unwrap();
    mesh.until("all three cosign", |seen| seen.is_ok_and(|seen| seen.cosigned.len() == 3)).await;
    let size = mesh.published().unwrap().checkpoint.size;
    assert!(size > 0);

    // One is away: two are enough.
    mesh.stop(0).await;
    mesh.change(&broker, "name_vi: Bộ Công an", "name_vi: Bộ Công an (1)").await;
    mesh.until("two cosign", |seen| {
        seen.is_ok_and(|seen| seen.checkpoint.size > size && seen.cosigned.len() == 2)
    })
    .await;
    // Two are away: published all the same, and whoever reads by the policy is told.
    mesh.stop(1).await;
    mesh.change(&broker, "name_vi: Bộ Công an (1)", "name_vi: Bộ Công an (2)").await;
    mesh.until("one cosigns", |seen| seen.is_err_and(|error| error.contains("quorum"))).await;
    // They come back: the same checkpoint is cosigned, though nothing new is recorded.
    let waiting = LogReader::new(&mesh.log_dir()).size().unwrap();
    mesh.start(0).await;
    mesh.start(1).await;
    mesh.until("cosigned again", |seen| {
        seen.is_ok_and(|seen| seen.checkpoint.size == waiting && seen.cosigned.len() >= 2)
    })
    .await;
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restored_from_an_old_copy_does_not_sign() {
    let mesh = Witnessed::new().await;
    Broker::start(mesh.config()).await.unwrap().stop().await.unwrap();
    let old = mesh.mesh.path("backup");
    copy(&mesh.mesh.data_dir(), &old);
    let broker = Broker::start(mesh.config()).await.unwrap();
    mesh.change(&broker, "name_vi: Bộ Công an", "name_vi: Bộ Công an (1)").await;
    broker.stop().await.unwrap();
    let newest = mesh.published().unwrap().checkpoint.size;

    fs::remove_dir_all(mesh.mesh.data_dir()).unwrap();
    copy(&old, &mesh.mesh.data_dir());
    let refused = Broker::start(mesh.config()).await.unwrap_err().to_string();
    assert!(refused.contains(&newest.to_string()) && refused.contains("R-48"), "{refused}");

    // Nor does one whose log is gone begin another.
    fs::remove_dir_all(mesh.mesh.data_dir()).unwrap();
    let refused = Broker::start(mesh.config()).await.unwrap_err();
    assert!(matches!(refused, BrokerError::LogGone { entries, .. } if entries == newest), "{refused}");
    assert!(!mesh.log_dir().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_brokers_with_one_log_the_second_stops() {
    let mesh = Witnessed::new().await;
    Broker::start(mesh.config()).await.unwrap().stop().await.unwrap();
    let twin = mesh.mesh.path("twin");
    copy(&mesh.mesh.data_dir(), &twin);
    let first = Broker::start(mesh.config()).await.unwrap();
    let mut second = Broker::start(BrokerConfig { data_dir: twin, ..mesh.config() }).await.unwrap();
    mesh.change(&first, "name_vi: Bộ Công an", "name_vi: Bộ Công an (1)").await;
    let size = first_size(&mesh).await;
    // The second one records something else and learns from the witnesses that this is no longer its log.
    second.reload().await.unwrap();
    tokio::time::timeout(PATIENCE, second.ended()).await.unwrap();
    let ended = second.stop().await.unwrap_err().to_string();
    assert!(ended.contains("another broker signs for it"), "{ended}");
    // The first one goes on.
    mesh.change(&first, "name_vi: Bộ Công an (1)", "name_vi: Bộ Công an (3)").await;
    mesh.until("the first goes on", |seen| seen.is_ok_and(|seen| seen.checkpoint.size > size)).await;
    first.stop().await.unwrap();
}

/// The size of the log once what was just recorded is published and cosigned.
async fn first_size(mesh: &Witnessed) -> u64 {
    let mut last = 0;
    mesh.until("published", |seen| {
        let size = seen.map_or(0, |seen| seen.checkpoint.size);
        std::mem::replace(&mut last, size) == size && size > 0
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_waits_for_the_word_of_a_witness_before_it_opens_its_log() {
    let mut mesh = Witnessed::new().await;
    for place in 0..WITNESSES {
        mesh.stop(place).await;
    }
    let refused = Broker::start(mesh.config()).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Witnesses { answered: 0, of: 3, .. }), "{refused}");
    assert!(!mesh.log_dir().exists());
    // Two must cosign: what one says, two others may know better.
    mesh.start(2).await;
    let refused = Broker::start(mesh.config()).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Witnesses { answered: 1, of: 3, .. }), "{refused}");
    mesh.start(0).await;
    let broker = Broker::start(mesh.config()).await.unwrap();
    mesh.until("two cosign", |seen| seen.is_ok_and(|seen| seen.cosigned.len() == 2)).await;
    broker.stop().await.unwrap();
    // One that has lost its memory says nothing, though it answers.
    mesh.stop(0).await;
    fs::remove_dir_all(&mesh.configs[0].data_dir).unwrap();
    mesh.start(0).await;
    let refused = Broker::start(mesh.config()).await.unwrap_err();
    assert!(
        matches!(&refused, BrokerError::Witnesses { answered: 1, problems, .. } if problems.contains("forgotten")),
        "{refused}"
    );
    let unheard = WitnessesConfig { start_unheard: true, ..mesh.config().witnesses };
    Broker::start(BrokerConfig { witnesses: unheard, ..mesh.config() }).await.unwrap().stop().await.unwrap();
    mesh.start(1).await;
    Broker::start(mesh.config()).await.unwrap().stop().await.unwrap();
    // A witness without an address is named before anything is touched.
    mesh.mesh.next_trust(|parts| parts.witnesses.known[1].url = None);
    let refused = lienthong_broker::check(&mesh.config()).unwrap_err().to_string();
    assert!(refused.contains("w2") && refused.contains("no address"), "{refused}");
}
