//! Counts of instructions, as they are on record and as they are now. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far a count may move from the one on record, percent, either way.
pub const DRIFT_PERCENT_MAX: f64 = 5.0;

/// With what counts are made: another compiler makes other code, and valgrind and the processor decide which of several
/// implementations cryptography chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// `rustc --version`.
    pub compiler: String,
    /// `valgrind --version`.
    pub valgrind: String,
    /// Whether the processor has AVX2, the widest that valgrind shows to a program.
    pub avx2: bool,
}

/// What is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// How it was counted; otherwise counted, it is not compared.
    pub tools: Tools,
    /// Instructions of one turn of each path, by name.
    pub instructions: BTreeMap<String, u64>,
}

/// What a count says beside the one on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the bound.
    Same,
    /// More than the bound allows: a regression.
    Worse,
    /// Less by more than the bound: worth a new baseline, so that it is not lost again.
    Better,
    /// Not on record.
    New,
}

/// One path, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Which.
    pub name: String,
    /// Instructions of one turn, now.
    pub instructions: u64,
    /// On record; `None` where it is new.
    pub baseline: Option<u64>,
    /// How much more than on record, percent.
    pub percent: Option<f64>,
    /// What that means.
    pub verdict: Verdict,
}

impl Compared {
    /// Compares a count with the one on record.
    pub fn new(name: &str, instructions: u64, baseline: Option<u64>) -> Self {
        let percent =
            baseline.map(|baseline| (float(instructions) - float(baseline)) * 100.0 / float(baseline.max(1)));
        let verdict = match percent {
            None => Verdict::New,
            Some(percent) if percent > DRIFT_PERCENT_MAX => Verdict::Worse,
            Some(percent) if percent < -DRIFT_PERCENT_MAX => Verdict::Better,
            Some(_) => Verdict::Same,
        };
        Self { name: name.to_owned(), instructions, baseline, percent, verdict }
    }

    /// Whether the run may pass: what is new must be put on record first.
    pub const fn passes(&self) -> bool {
        matches!(self.verdict, Verdict::Same | Verdict::Better)
    }
}

fn float(count: u64) -> f64 {
    // A turn of the slowest path takes some hundred thousand.
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_takes_more_fails_and_one_that_takes_less_is_told() {
        let of = |now, before| Compared::new("a", now, before);
        assert_eq!(of(1_050, Some(1_000)).verdict, Verdict::Same);
        assert_eq!(of(950, Some(1_000)).verdict, Verdict::Same);
        assert_eq!(of(1_051, Some(1_000)).verdict, Verdict::Worse);
        assert_eq!(of(949, Some(1_000)).verdict, Verdict::Better);
        assert_eq!(of(1, None).verdict, Verdict::New);
        assert!(!of(1_051, Some(1_000)).passes() && !of(1, None).passes() && of(949, Some(1_000)).passes());
    }
}
