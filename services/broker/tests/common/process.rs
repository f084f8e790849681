//! A real broker process, to be killed: this test program once more, in the role of the child.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lienthong_broker::{Broker, BrokerConfig};

use super::{Mesh, soon};

/// Names the configuration that the child process runs with.
const CONFIG: &str = "LIENTHONG_TEST_BROKER_CONFIG";

/// Writes the configuration of `mesh` for a child.
pub fn config_file(mesh: &Mesh) -> PathBuf {
    let config = mesh.path("broker.toml");
    fs::write(&config, toml::to_string(&mesh.config()).unwrap()).unwrap();
    config
}

/// The child: a broker that runs until it is killed. Does nothing when the tests are run as usual. Each file of tests that
/// starts processes has a test called `child` that does just this.
pub async fn child() {
    let Ok(path) = std::env::var(CONFIG) else { return };
    let path = PathBuf::from(path);
    let config: BrokerConfig = lienthong_telemetry::load(&path).unwrap();
    let broker = Broker::start(config).await.unwrap();
    let draft = path.with_extension("draft");
    fs::write(&draft, broker.address().to_string()).unwrap();
    fs::rename(draft, address_file(&path)).unwrap();
    std::future::pending::<()>().await;
}

fn address_file(config: &Path) -> PathBuf {
    config.with_extension("address")
}

/// Killed when dropped, so that no test leaves a process behind.
pub struct Process(Child);

impl Process {
    pub async fn start(config: &Path) -> (Process, SocketAddr) {
        let _ = fs::remove_file(address_file(config));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CONFIG, config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process(child);
        let address = soon(async {
            loop {
                if let Ok(address) = fs::read_to_string(address_file(config)) {
                    return address.parse().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        (process, address.await)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already dead is dead enough.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
