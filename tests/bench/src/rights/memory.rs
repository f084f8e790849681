//! What a node holds once it has loaded a million rights: the resident growth of a process that does nothing else, after
//! the bundle's bytes were let go.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lienthong_catalog::RightsIndex;
use lienthong_proto::lienthong::control::v1::RightsBundle;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::goal::Goal;
use crate::out;
use lienthong_hotpaths::registry::{PURPOSES, bundle};

const RIGHTS: usize = 1_000_000;
const RIGHTS_SMALL: usize = 1_000;
/// How long the allocator may take to give back what was let go; it does so while it is used.
const SETTLES: Duration = Duration::from_secs(2);
const BYTES_PER_MB: f64 = 1e6;

/// What the process saw of itself, bytes.
#[derive(Debug, Deserialize, Serialize)]
struct Seen {
    before: u64,
    after: u64,
    peak: u64,
}

/// Measures it.
pub fn run(small: bool) -> anyhow::Result<Vec<Goal>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bundle.binpb");
    let rights = if small { RIGHTS_SMALL } else { RIGHTS };
    std::fs::write(&file, bundle(rights / PURPOSES, "").encode_to_vec())?;
    let output = Command::new(std::env::current_exe()?).arg("load-rights").arg(&file).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the process that loads the rights failed: {said}");
    let seen: Seen = serde_json::from_slice(&output.stdout).context("what it says is no result")?;
    let grown = |bytes: u64| megabytes(bytes.saturating_sub(seen.before));
    Ok(vec![
        Goal::at_most("memory: 1,000,000 rights", grown(seen.after), "MB", 300.0),
        Goal::told("memory: most while they are loaded", grown(seen.peak), "MB"),
    ])
}

/// `bench load-rights`: loads one bundle, and says how the process has grown.
#[allow(clippy::disallowed_methods)] // a process of its own, without a runtime
pub fn load(file: &Path) -> anyhow::Result<()> {
    let before = status_bytes("VmRSS:")?;
    let index = {
        let bytes = std::fs::read(file)?;
        let bundle = RightsBundle::decode(bytes.as_slice())?;
        RightsIndex::from_bundle(&bundle)?
    };
    let (begun, mut after) = (Instant::now(), u64::MAX);
    while begun.elapsed() < SETTLES {
        drop(std::hint::black_box(vec![1_u8; 1 << 20]));
        std::thread::sleep(Duration::from_millis(50));
        after = after.min(status_bytes("VmRSS:")?);
    }
    ensure!(index.problems().is_empty(), "{:?}", index.problems());
    let seen = Seen { before, after, peak: status_bytes("VmHWM:")? };
    out::line(&serde_json::to_string(&seen)?);
    Ok(())
}

/// A line of what the kernel says of this process.
fn status_bytes(key: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
    Ok(kib.with_context(|| format!("the kernel tells no {key}"))?.parse::<u64>()? * 1024)
}

#[allow(clippy::cast_precision_loss)] // far below 2⁵³
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / BYTES_PER_MB
}
