//! A number, what it should be, and whether it is: how everything but `bench run` tells what it saw.

use serde::Serialize;

use crate::out;
use crate::quantile::Spread;

/// One number, and the goal that it has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// What was measured: the same name in every run.
    name: String,
    /// How much: the median, where it was measured several times.
    value: f64,
    /// Smallest.
    min: f64,
    /// Largest.
    max: f64,
    /// Of what.
    unit: &'static str,
    /// What it should be; empty where it is only told.
    wanted: String,
    /// Whether it is so; `None` where it is only told, or the run is small.
    holds: Option<bool>,
}

impl Goal {
    /// A number that is only told.
    pub fn told(name: &str, value: impl Into<Spread>, unit: &'static str) -> Self {
        let Spread { median, min, max } = value.into();
        Self { name: name.to_owned(), value: median, min, max, unit, wanted: String::new(), holds: None }
    }

    /// A number that should be at least this much.
    pub fn at_least(name: &str, value: impl Into<Spread>, unit: &'static str, least: f64) -> Self {
        let told = Self::told(name, value, unit);
        Self { wanted: format!("≥ {least}"), holds: Some(told.value >= least), ..told }
    }

    /// A number that should be at most this much.
    pub fn at_most(name: &str, value: impl Into<Spread>, unit: &'static str, most: f64) -> Self {
        let told = Self::told(name, value, unit);
        Self { wanted: format!("≤ {most}"), holds: Some(told.value <= most), ..told }
    }

    /// The same of a run that is too small to be judged by.
    #[must_use]
    pub fn not_judged(self) -> Self {
        Self { holds: None, ..self }
    }

    /// What was measured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of what it is.
    pub const fn unit(&self) -> &'static str {
        self.unit
    }

    /// The number, with as many digits as say something.
    pub fn number(&self) -> String {
        match self.value {
            value if value >= 1_000.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        }
    }

    /// Whether it is as it should be, in words; nothing where it is only told.
    pub fn verdict(&self) -> String {
        match self.holds {
            Some(true) => format!(" (goal {}: holds)", self.wanted),
            Some(false) => format!(" (goal {}: missed)", self.wanted),
            None => String::new(),
        }
    }

    /// False where it is missed.
    pub fn is_met(&self) -> bool {
        self.holds != Some(false)
    }

    /// Prints it: one JSON object, or a line for people.
    pub fn show(&self, json: bool) -> anyhow::Result<()> {
        if json {
            out::line(&serde_json::to_string(self)?);
            return Ok(());
        }
        let Self { name, value, min, max, unit, wanted, holds } = self;
        let spread = if min < max { format!("({min:.3} – {max:.3})") } else { String::new() };
        let verdict = match holds {
            Some(true) => format!("goal {wanted}: holds"),
            Some(false) => format!("goal {wanted}: MISSED"),
            None if wanted.is_empty() => String::new(),
            None => format!("goal {wanted}, not judged"),
        };
        let line = format!("{name:<64} {value:>12.3} {unit:<9} {spread:<24} {verdict}");
        out::line(line.trim_end());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_judged_and_a_small_run_is_not() {
        let spread = Spread { median: 2.0, min: 1.0, max: 4.0 };
        assert_eq!(Goal::at_most("x", spread, "µs", 2.0).holds, Some(true));
        assert_eq!(Goal::at_most("x", spread, "µs", 1.9).holds, Some(false));
        assert_eq!(Goal::at_least("x", 2.0, "µs", 2.0).holds, Some(true));
        let missed = Goal::at_least("x", spread, "µs", 3.0);
        assert!(!missed.is_met() && missed.clone().not_judged().is_met());
        assert_eq!(missed.not_judged().wanted, "≥ 3");
        assert_eq!(Goal::told("x", 1.5, "").holds, None);
    }
}
