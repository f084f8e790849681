//! The law as software, measured: what a decision costs, how large an index is, how long a change of the catalog takes, how
//! fast an answer is filtered. All but the memory in this process and in turns, so that ratios are of one run.
//!
//! - [`decision`]: from a hundred rights to a million; with a condition, beside a bare call of Cedar.
//! - [`memory`]: what a node holds once it has loaded a million rights, in a process of its own.
//! - [`change`]: a catalog of the whole [`nation`] compiled; one entry of it changed, at the broker and at a node.
//! - [`filter`]: answers of 4 KiB, beside decode–mask–encode.
//!
//! `--small` shows that each works and judges nothing.

mod change;
mod decision;
mod filter;
mod memory;
pub mod nation;

use std::time::Instant;

use anyhow::Context;

use crate::cli::RightsArgs;
use crate::quantile::Spread;

pub use memory::load;

/// Rounds; in each, everybody has his turn.
const ROUNDS: usize = 7;

/// Measures all of it; prints a line a goal. Whether all hold.
pub fn run(arguments: &RightsArgs) -> anyhow::Result<bool> {
    let mut all = true;
    for part in [decision::run, memory::run, change::run, filter::run] {
        for goal in part(arguments.small)? {
            let goal = if arguments.small { goal.not_judged() } else { goal };
            all &= goal.is_met();
            goal.show(arguments.json)?;
        }
    }
    Ok(all)
}

/// Microseconds that each of `times` turns takes.
fn each_us<E>(times: u32, mut one: impl FnMut(u32) -> Result<(), E>) -> Result<f64, E> {
    let begun = Instant::now();
    for number in 0..times {
        one(number)?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(times))
}

fn spread(values: Vec<f64>) -> anyhow::Result<Spread> {
    Spread::of(values).context("nothing was measured")
}

/// A ratio within each round, of what was measured side by side.
fn ratios(of: &[f64], to: &[f64]) -> anyhow::Result<Spread> {
    spread(of.iter().zip(to).map(|(of, to)| of / to).collect())
}
