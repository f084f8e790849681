//! From samples to medians, from medians to ratios, from ratios to goals. Pure.
//!
//! A ratio is taken within each round, between measurements made side by side, and the median of those is reported:
//! what disturbs the machine for a while disturbs both.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::alone::Alone;
use crate::contestant::Contestant;
use crate::host::DiskProbe;
use crate::load::Measured;
use crate::plan::{Case, STREAM_BYTES, Turn};
use crate::quantile::Spread;

/// One measurement, with what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which.
    pub turn: Turn,
    /// What the load generator saw.
    pub measured: Measured,
    /// CPU time that each process between consumer and backend spent on one exchange, microseconds; the consumer's side
    /// first, a broker last.
    pub hop_cpu_us: Vec<f64>,
    /// Memory that each of them took at most, beyond what it held before, MiB.
    pub hop_memory_mib: Vec<f64>,
    /// What became of the records, where there are records.
    pub recorded: Option<Recorded>,
}

/// The records of one measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recorded {
    /// Records that came to the broker's log: two an exchange.
    pub records: u64,
    /// Those that were still on their way when the last call was answered.
    pub backlog: u64,
    /// Seconds until the log had them all.
    pub drain_seconds: f64,
}

/// All that one run saw.
#[derive(Debug, Default)]
pub struct Results {
    /// Measurements.
    pub samples: Vec<Sample>,
    /// The disk, once a round.
    pub disk: Vec<DiskProbe>,
    /// Share of the processors that others kept busy while nothing of the run worked, once a round.
    pub others_busy: Vec<f64>,
    /// Our mesh with nobody beside it, where it took part.
    pub alone: Option<Alone>,
}

impl Results {
    /// A number of the measurements of one contestant in one case.
    pub fn spread(
        &self,
        contestant: Contestant,
        case: Case,
        number: impl Fn(&Sample) -> f64,
    ) -> Option<Spread> {
        Spread::of(self.by_round(contestant, case).into_values().map(number))
    }

    /// Throughput of one contestant over that of another.
    pub fn ratio(&self, of: Contestant, to: Contestant, case: Case) -> Option<Spread> {
        self.compare(of, to, case, |of, to| of.measured.per_second / to.measured.per_second)
    }

    /// Median and 99th percentile of the disk's `fdatasync`, microseconds.
    pub fn disk_us(&self) -> Option<(Spread, Spread)> {
        let p50 = Spread::of(self.disk.iter().map(|probe| probe.p50_us))?;
        let p99 = Spread::of(self.disk.iter().map(|probe| probe.p99_us))?;
        Some((p50, p99))
    }

    /// A number of two contestants measured side by side, round by round.
    fn compare(
        &self,
        of: Contestant,
        to: Contestant,
        case: Case,
        number: impl Fn(&Sample, &Sample) -> f64,
    ) -> Option<Spread> {
        let to = self.by_round(to, case);
        let pairs = self.by_round(of, case).into_iter();
        Spread::of(pairs.filter_map(|(round, of)| Some(number(of, to.get(&round)?))))
    }

    fn by_round(&self, contestant: Contestant, case: Case) -> BTreeMap<u16, &Sample> {
        let of_both = |sample: &&Sample| sample.turn.contestant == contestant && sample.turn.case == case;
        let samples = self.samples.iter().filter(of_both);
        samples.map(|sample| (sample.turn.round, sample)).collect()
    }
}

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

/// A goal, and how it came out. Names never change: others compare runs by them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// Name.
    pub name: String,
    /// Value, the median of all rounds.
    pub value: f64,
    /// What it must be.
    #[serde(rename = "goal")]
    pub bound: String,
    /// Unit of both.
    pub unit: &'static str,
    /// Whether it is.
    pub ok: bool,
    /// Smallest and largest of the rounds.
    #[serde(skip)]
    pub spread: Spread,
}

impl Goal {
    /// Judges a value.
    pub fn new(name: String, spread: Spread, bound: Bound, unit: &'static str) -> Self {
        // Judged as shown, so that no one reads "1.5, goal ≥ 1.5, not met".
        let value = (spread.median * 1000.0).round() / 1000.0;
        Self { name, value, bound: bound.to_string(), unit, ok: bound.holds(value), spread }
    }
}

/// Throughput ratios: whose, to whose, in which case, and the goal.
const RATIOS: [(Contestant, Contestant, Case, f64); 14] = [
    (Contestant::Ours, Contestant::Naive, Case::closed(256, 256), 1.5),
    (Contestant::Ours, Contestant::Naive, Case::closed(4096, 256), 1.5),
    (Contestant::Ours, Contestant::Naive, Case::closed(256, 64), 1.25),
    (Contestant::Ours, Contestant::Naive, Case::closed(4096, 64), 1.25),
    (Contestant::Ours, Contestant::Nginx, Case::closed(256, 256), 1.1),
    (Contestant::Ours, Contestant::Nginx, Case::closed(4096, 256), 1.1),
    (Contestant::Ours, Contestant::Nginx, Case::closed(256, 64), 0.95),
    (Contestant::Ours, Contestant::Nginx, Case::closed(4096, 64), 0.95),
    (Contestant::Ours, Contestant::Notarised, Case::closed(256, 256), 10.0),
    (Contestant::Receipted, Contestant::Ours, Case::closed(256, 256), 0.7),
    (Contestant::Receipted, Contestant::Ours, Case::closed(4096, 256), 0.7),
    (Contestant::Ours, Contestant::Bare, Case::closed(256, 256), 0.75),
    (Contestant::Ours, Contestant::Bare, Case::closed(4096, 256), 0.75),
    (Contestant::Ours, Contestant::Naive, Case::stream(STREAM_BYTES), 0.85),
];

/// What the baselines must reach against the direct call for the run to be valid: a good build of them does 0.18, 0.25
/// and 0.38, and nobody shall win against a bad one.
const VALIDITY: [(Contestant, f64); 3] =
    [(Contestant::Naive, 0.15), (Contestant::Nginx, 0.21), (Contestant::Bare, 0.32)];
/// The case in which they must.
const VALIDITY_CASE: Case = Case::closed(256, 64);

/// Memory that a node may take beyond what it holds while idle, for one stream, MiB.
const STREAM_MEMORY_MIB_MAX: f64 = 32.0;

/// CPU microseconds that a node may spend on one exchange beyond bare forwarding.
const NODE_CPU_BEYOND_BARE_US_MAX: f64 = 12.0;
/// The case in which it is measured.
const NODE_CPU_CASE: Case = Case::closed(256, 64);

/// Latency beyond the naive proxies, in units of the disk's own `fdatasync`.
const LATENCY_P50_MAX: f64 = 1.2;
/// As above, of the 99th percentiles.
const LATENCY_P99_MAX: f64 = 2.0;
/// The case in which it is measured.
const LATENCY_CASE: Case = Case::open(256);

/// Whether the baselines were good builds; only of contestants that took part.
pub fn validity(results: &Results) -> Vec<Goal> {
    let goal = |(baseline, least): (Contestant, f64)| {
        let spread = results.ratio(baseline, Contestant::Direct, VALIDITY_CASE)?;
        let (of, to) = (baseline.letter(), Contestant::Direct.letter());
        let name = format!("valid {of}/{to} {VALIDITY_CASE}");
        Some(Goal::new(name, spread, Bound::AtLeast(least), "ratio"))
    };
    VALIDITY.into_iter().filter_map(goal).collect()
}

/// Every goal that the contestants of this run allow.
pub fn goals(results: &Results) -> Vec<Goal> {
    let ratio = |(of, to, case, least): (Contestant, Contestant, Case, f64)| {
        let name = format!("{}/{} {case}", of.letter(), to.letter());
        let spread = results.ratio(of, to, case)?;
        Some(Goal::new(name, spread, Bound::AtLeast(least), "ratio"))
    };
    let mut goals: Vec<Goal> = RATIOS.into_iter().filter_map(ratio).collect();
    goals.extend(node_cpu(results));
    goals.extend(stream_memory(results));
    goals.extend(latency(results).into_iter().flatten());
    goals.extend(results.alone.iter().flat_map(Alone::goals));
    goals
}

fn node_cpu(results: &Results) -> Option<Goal> {
    let of_a_hop = |sample: &Sample| sample.hop_cpu_us.iter().take(2).sum::<f64>() / 2.0;
    let beyond = |ours: &Sample, bare: &Sample| of_a_hop(ours) - of_a_hop(bare);
    let spread = results.compare(Contestant::Ours, Contestant::Bare, NODE_CPU_CASE, beyond)?;
    let name = format!("node cpu d-g {NODE_CPU_CASE}");
    Some(Goal::new(name, spread, Bound::AtMost(NODE_CPU_BEYOND_BARE_US_MAX), "µs"))
}

fn stream_memory(results: &Results) -> Option<Goal> {
    let case = Case::stream(STREAM_BYTES);
    let of_a_node = |sample: &Sample| sample.hop_memory_mib.iter().take(2).copied().fold(0.0, f64::max);
    let spread = results.spread(Contestant::Ours, case, of_a_node)?;
    Some(Goal::new(
        format!("node memory d {case}"),
        spread,
        Bound::AtMost(STREAM_MEMORY_MIB_MAX),
        "MiB beyond idle",
    ))
}

fn latency(results: &Results) -> Option<[Goal; 2]> {
    let (disk_p50, disk_p99) = results.disk_us()?;
    let beyond = |number: fn(&Measured) -> f64, unit: f64| {
        let difference =
            |ours: &Sample, naive: &Sample| (number(&ours.measured) - number(&naive.measured)) / unit;
        results.compare(Contestant::Ours, Contestant::Naive, LATENCY_CASE, difference)
    };
    let p50 = beyond(|measured| measured.p50_us, disk_p50.median)?;
    let p99 = beyond(|measured| measured.p99_us, disk_p99.median)?;
    let name = |which| format!("latency d-b {which} {LATENCY_CASE}");
    Some([
        Goal::new(name("p50"), p50, Bound::AtMost(LATENCY_P50_MAX), "fdatasync p50"),
        Goal::new(name("p99"), p99, Bound::AtMost(LATENCY_P99_MAX), "fdatasync p99"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(contestant: Contestant, case: Case, round: u16, per_second: f64, hop_cpu_us: &[f64]) -> Sample {
        Sample {
            turn: Turn { round, case, contestant },
            measured: Measured {
                answered: 1,
                per_second,
                p50_us: 1e6 / per_second,
                p99_us: 2e6 / per_second,
            },
            hop_cpu_us: hop_cpu_us.to_vec(),
            hop_memory_mib: vec![5.0, 7.0, 100.0],
            recorded: None,
        }
    }

    fn results(samples: Vec<Sample>) -> Results {
        let probe = DiskProbe { p50_us: 500.0, p99_us: 1_000.0 };
        Results { samples, disk: vec![probe], others_busy: vec![0.0], alone: None }
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let case = Case::closed(256, 64);
        let results = results(vec![
            // The machine is twice as fast in the second round; the ratio is the same.
            sample(Contestant::Direct, case, 0, 100.0, &[]),
            sample(Contestant::Naive, case, 0, 20.0, &[]),
            sample(Contestant::Direct, case, 1, 200.0, &[]),
            sample(Contestant::Naive, case, 1, 40.0, &[]),
            // Nothing to compare it with.
            sample(Contestant::Naive, case, 2, 1.0, &[]),
        ]);
        let ratio = results.ratio(Contestant::Naive, Contestant::Direct, case).unwrap();
        assert!([ratio.median, ratio.min, ratio.max].iter().all(|value| (value - 0.2).abs() < 1e-9));
        let valid = validity(&results);
        assert_eq!(valid.len(), 1);
        assert!(valid[0].ok && valid[0].name == "valid b/a 256B c64", "{valid:?}");
    }

    #[test]
    fn a_bad_baseline_makes_the_run_invalid() {
        let case = Case::closed(256, 64);
        let results = results(vec![
            sample(Contestant::Direct, case, 0, 100.0, &[]),
            sample(Contestant::Bare, case, 0, 31.0, &[]),
        ]);
        assert!(!validity(&results)[0].ok);
    }

    #[test]
    fn goals_compare_ours_with_the_others() {
        let mut samples = Vec::new();
        for case in Case::all(STREAM_BYTES) {
            samples.push(sample(Contestant::Naive, case, 0, 1_000.0, &[50.0, 50.0]));
            samples.push(sample(Contestant::Bare, case, 0, 2_000.0, &[20.0, 22.0]));
            samples.push(sample(Contestant::Nginx, case, 0, 1_400.0, &[40.0, 40.0]));
            samples.push(sample(Contestant::Receipted, case, 0, 1_200.0, &[30.0, 40.0, 5.0]));
            samples.push(sample(Contestant::Notarised, case, 0, 100.0, &[500.0, 500.0]));
            samples.push(sample(Contestant::Ours, case, 0, 1_600.0, &[30.0, 40.0, 5.0]));
        }
        let goals = goals(&results(samples));
        let of = |name: &str| goals.iter().find(|goal| goal.name == name).unwrap();
        assert_eq!(goals.len(), 18);
        assert!(of("d/b stream of 64KiB").ok);
        let memory = of("node memory d stream of 64KiB");
        assert!((memory.value - 7.0).abs() < 1e-9 && memory.ok, "the broker is no node: {memory:?}");
        assert!(of("d/b 256B c256").ok && of("d/b 4KiB c64").ok && of("d/g 256B c256").ok);
        assert!(of("d/c 256B c256").ok && of("d/f 256B c256").ok && of("e/d 4KiB c256").ok);
        let cpu = of("node cpu d-g 256B c64");
        assert!((cpu.value - 14.0).abs() < 1e-9 && !cpu.ok, "{cpu:?}");
        // 625 µs against 1,000 µs: sooner than the naive ones.
        let latency = of("latency d-b p50 256B 1000/s");
        assert!((latency.value + 0.75).abs() < 1e-9 && latency.ok, "{latency:?}");
    }

    #[test]
    fn a_goal_reads_as_others_parse_it() {
        let spread = Spread { median: 1.6204, min: 1.0, max: 2.0 };
        let goal = Goal::new("d/b 256B c256".into(), spread, Bound::AtLeast(1.5), "ratio");
        assert_eq!(
            serde_json::to_string(&goal).unwrap(),
            r#"{"name":"d/b 256B c256","value":1.62,"goal":"≥ 1.5","unit":"ratio","ok":true}"#
        );
    }
}
