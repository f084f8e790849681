//! What only our own mesh is asked, with nobody beside it: a long window of load with its backlog, the memory of a node, how
//! soon one serves again, and the size of the program. Pure.

use std::time::Duration;

use crate::load::Measured;
use crate::plan::Case;
use crate::quantile::Spread;
use crate::summary::{Bound, Goal, Recorded};

/// The case of the long window.
pub const LONG_CASE: Case = Case::closed(256, 256);
/// How often a node is started for its start time.
pub const STARTS: usize = 7;

/// Memory of a node that nobody calls, MiB.
const IDLE_MIB_MAX: f64 = 20.0;
/// Memory of a node at most under the load of the long window, with its connections and rights, MiB.
const LOADED_MIB_MAX: f64 = 64.0;
/// From the start of a node that has a bundle on disk until it serves, milliseconds.
const START_MS_MAX: f64 = 150.0;
/// The release program, MB (10⁶ bytes).
const BINARY_MB_MAX: f64 = 40.0;

/// What was seen.
#[derive(Debug, Clone)]
pub struct Alone {
    /// The long window.
    pub long: Long,
    /// Memory of the larger node before the first call, MiB.
    pub idle_mib: f64,
    /// Memory of the larger node at most in the long window, MiB.
    pub loaded_mib: f64,
    /// Of both pages of the program's file, which every process that runs it shares, MiB.
    pub shared_mib: f64,
    /// Connections that nobody uses, held open beside the load.
    pub connections: usize,
    /// Rights in the provider's bundle.
    pub rights: u32,
    /// Each start of a node that has a bundle on disk, milliseconds until it is ready.
    pub starts_ms: Vec<f64>,
    /// The same right after the long window: the node reads back what it has journalled and whom it has seen.
    pub starts_after_load_ms: Vec<f64>,
    /// Size of the program, MB.
    pub binary_mb: f64,
}

/// One long measurement.
#[derive(Debug, Clone, Copy)]
pub struct Long {
    /// Warm-up before it.
    pub warmup: Duration,
    /// How long it counted.
    pub window: Duration,
    /// What the load generator saw.
    pub measured: Measured,
    /// What became of the records.
    pub recorded: Recorded,
}

impl Long {
    /// Answers a second at which the backlog would not grow: all that were answered, over the time until the broker had every
    /// record of them.
    pub fn sustained(&self) -> f64 {
        let seconds = (self.warmup + self.window).as_secs_f64() + self.recorded.drain_seconds;
        f64::from(u32::try_from(self.measured.answered).unwrap_or(u32::MAX)) / seconds
    }
}

impl Alone {
    /// The goals, under fixed names.
    pub fn goals(&self) -> Vec<Goal> {
        let most = |name: String, spread: Spread, most: f64, unit| {
            Goal::new(name, spread, Bound::AtMost(most), unit)
        };
        let loaded =
            format!("node memory {} rights {} connections {LONG_CASE}", self.rights, self.connections);
        let starts = Spread::of(self.starts_ms.iter().copied());
        let mut goals = vec![
            most("node memory idle".into(), self.idle_mib.into(), IDLE_MIB_MAX, "MiB"),
            most(loaded, self.loaded_mib.into(), LOADED_MIB_MAX, "MiB"),
        ];
        goals.extend(starts.map(|spread| most("node start to serving".into(), spread, START_MS_MAX, "ms")));
        goals.push(most("release binary".into(), self.binary_mb.into(), BINARY_MB_MAX, "MB"));
        goals
    }

    /// The long window in a sentence, and the starts after it.
    pub fn remark(&self) -> String {
        let Long { window, measured, recorded, .. } = self.long;
        let starts = Spread::of(self.starts_after_load_ms.iter().copied());
        let starts = starts.map_or_else(String::new, |Spread { median, min, max }| {
            format!(" A node that is started then serves {median:.0} ms later ({min:.0}–{max:.0}).")
        });
        format!(
            "d alone, {LONG_CASE}, {} s: window {:.0} answers a second (p50 {:.0} µs, p99 {:.0} µs), the broker durable and \
             receipting meanwhile; {} records under way at its end, all on the log {:.1} s later; sustained, with no backlog \
             growing: {:.0} answers a second. Of a node's memory {:.0} MiB are pages of the program's file, which the processes of \
             a machine share.{starts}",
            window.as_secs(),
            measured.per_second,
            measured.p50_us,
            measured.p99_us,
            recorded.backlog,
            recorded.drain_seconds,
            self.long.sustained(),
            self.shared_mib,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone() -> Alone {
        Alone {
            long: Long {
                warmup: Duration::from_secs(1),
                window: Duration::from_secs(59),
                measured: Measured { answered: 120_000, per_second: 2_000.0, p50_us: 1.0, p99_us: 2.0 },
                recorded: Recorded { records: 240_000, backlog: 9, drain_seconds: 20.0 },
            },
            idle_mib: 21.0,
            loaded_mib: 60.0,
            shared_mib: 29.0,
            connections: 1_000,
            rights: 10_000,
            starts_ms: vec![120.0, 100.0, 180.0],
            starts_after_load_ms: vec![300.0],
            binary_mb: 39.9,
        }
    }

    #[test]
    fn what_is_sustained_counts_until_the_last_record() {
        assert!((alone().long.sustained() - 1_500.0).abs() < 1e-9);
        let remark = alone().remark();
        assert!(remark.contains("sustained, with no backlog growing: 1500 answers"), "{remark}");
        assert!(remark.ends_with("A node that is started then serves 300 ms later (300–300)."), "{remark}");
    }

    #[test]
    fn goals_have_fixed_names() {
        let goals = alone().goals();
        let seen: Vec<_> = goals.iter().map(|goal| (goal.name.as_str(), goal.ok)).collect();
        let loaded = "node memory 10000 rights 1000 connections 256B c256";
        let expected = [
            ("node memory idle", false),
            (loaded, true),
            ("node start to serving", true),
            ("release binary", true),
        ];
        assert_eq!(seen, expected);
    }
}
