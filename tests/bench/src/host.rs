//! This machine: what it is, what a process spent on it, how fast its disk makes bytes durable.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::quantile::quantile;
use crate::threads::cores;

/// Appends that one probe of the disk makes.
const DISK_PROBE_APPENDS: usize = 300;
/// Bytes of each: about one record.
const DISK_PROBE_BYTES: usize = 512;
/// What `statfs` calls a file system in memory (`TMPFS_MAGIC`).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A process and all that it started, itself first: nginx is many.
pub fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut place = 0;
    while let Some(parent) = family.get(place) {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        place += 1;
    }
    family
}

/// CPU time that a process has spent, all its threads together.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ended since it was listed has nothing more to say.
        let Ok(statistics) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let nanoseconds = statistics.split(' ').next().and_then(|number| number.parse().ok());
        total += Duration::from_nanos(nanoseconds.context("this kernel keeps no schedstat")?);
    }
    Ok(total)
}

/// Memory that a process holds, bytes.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    status_bytes(pid, "VmRSS:")
}

fn status_bytes(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib: u64 = line.and_then(|line| line.split_whitespace().next()).context("no such line")?.parse()?;
    Ok(kib * 1024)
}

/// Forgets how much memory a process held at most, so that [`peak_resident_bytes`] tells what it is from now on.
pub fn reset_peak(pid: u32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
        .context("this kernel does not reset a peak of memory")
}

/// Of it pages of the program's file, which all processes that run it share, bytes.
pub fn program_bytes(pid: u32) -> anyhow::Result<u64> {
    status_bytes(pid, "RssFile:")
}

/// Memory that a process held at most since [`reset_peak`], bytes.
pub fn peak_resident_bytes(pid: u32) -> anyhow::Result<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Share of the processors that was busy since an earlier look; taken while nothing of the run works, it is what others
/// take from everybody.
#[derive(Debug, Clone, Copy)]
pub struct Processors {
    busy: u64,
    all: u64,
}

impl Processors {
    /// Looks now.
    pub fn look() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat")?;
        Self::read(&text).context("/proc/stat tells no processor times")
    }

    /// From 0 to 1.
    pub fn busy_since(self, earlier: Self) -> f64 {
        let (busy, all) = (self.busy - earlier.busy, self.all - earlier.all);
        let of = |ticks: u64| f64::from(u32::try_from(ticks).unwrap_or(u32::MAX));
        of(busy) / of(all.max(1))
    }

    /// The line `cpu user nice system idle iowait irq softirq steal …`, in ticks.
    fn read(text: &str) -> Option<Self> {
        let times = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let times: Vec<u64> =
            times.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let all = times.iter().sum();
        let idle = times.get(3)? + times.get(4)?;
        Some(Self { busy: all - idle, all })
    }
}

/// How long the disk takes to make a small append durable.
#[derive(Debug, Clone, Copy)]
pub struct DiskProbe {
    /// Median, microseconds.
    pub p50_us: f64,
    /// 99th percentile, microseconds.
    pub p99_us: f64,
}

/// Appends to a file in `folder`, with `fdatasync` after each. Blocks for about a second.
pub fn probe_disk(folder: &Path) -> anyhow::Result<DiskProbe> {
    let path = folder.join("disk-probe");
    let mut file = File::create(&path)?;
    let bytes = [0x5a; DISK_PROBE_BYTES];
    let mut took = Vec::with_capacity(DISK_PROBE_APPENDS);
    for _ in 0..DISK_PROBE_APPENDS {
        let begun = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        took.push(u64::try_from(begun.elapsed().as_nanos())?);
    }
    std::fs::remove_file(&path)?;
    took.sort_unstable();
    let at = |share| quantile(&took, share).map(|ns| Duration::from_nanos(ns).as_secs_f64() * 1e6);
    let (p50, p99) = (at(0.5), at(0.99));
    Ok(DiskProbe { p50_us: p50.context("no append")?, p99_us: p99.context("no append")? })
}

/// Refuses a folder that is in memory: journals there would be durable in name only.
pub fn check_durable(folder: &Path) -> anyhow::Result<()> {
    let file_system = rustix::fs::statfs(folder)?;
    anyhow::ensure!(
        file_system.f_type != TMPFS_MAGIC,
        "{} is in memory, where nothing is durable; choose a folder on a disk with --data",
        folder.display()
    );
    Ok(())
}

/// One line each about machine and versions.
pub fn facts() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    vec![
        ("processor", format!("{} × {}", cores(), field(&read("/proc/cpuinfo"), "model name"))),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("compiler", said("rustc", &["--version"])),
        ("project", format!("commit {}", said("git", &["rev-parse", "--short=12", "HEAD"]))),
        ("libraries", locked(include_str!("../../../Cargo.lock"))),
    ]
}

/// What a tool prints, if it is there.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { "unknown".to_owned() } else { text }
}

/// Versions, from the lock file, of the libraries that carry the traffic.
fn locked(lock: &str) -> String {
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
        let (version, _) = rest.split_once('"')?;
        Some(format!("{name} {version}"))
    };
    let names = ["tonic", "hyper", "h2", "rustls", "aws-lc-rs", "tokio", "mimalloc"];
    names.iter().filter_map(|name| version(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_spends_time() {
        let pid = std::process::id();
        let before = cpu_time(pid).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        assert!(cpu_time(pid).unwrap() > before);
        assert!(resident_bytes(pid).unwrap() > 100_000);
        reset_peak(pid).unwrap();
        let held = vec![1u8; 64 * 1024 * 1024];
        assert!(peak_resident_bytes(pid).unwrap() > held.len() as u64);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let of = |text: &str| Processors::read(text).unwrap();
        let earlier = of("cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let later = of("cpu  20 0 10 120 5 0 5 10 0 0\n");
        assert!((later.busy_since(earlier) - 0.5).abs() < 1e-9);
        assert!(Processors::read("intr 1 2 3").is_none());
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "\n[[package]]\nname = \"h2\"\nversion = \"0.4.20\"\n\n[[package]]\nname = \"tonic\"\nversion = \"0.14.9\"\n";
        assert_eq!(locked(lock), "tonic 0.14.9, h2 0.4.20");
    }

    #[test]
    fn memory_is_no_disk() {
        if Path::new("/dev/shm").exists() {
            assert!(check_durable(Path::new("/dev/shm")).is_err());
        }
    }
}
