//! `bench growth`: what everything costs as what is around it grows, each series in one run.
//!
//! - [`agencies`]: a nation's catalog, from ten agencies to a thousand: compiled, put into a bundle, read by a node.
//! - [`rights`]: an exchange, from a hundred rights in the provider's bundle to a million.
//! - [`log`]: the audit log, from ten thousand entries on: appends, disk, start, proofs; a hundred million by arithmetic.
//! - [`nodes`]: the broker, from four nodes that watch their rights to a hundred.
//! - [`connections`]: an exchange, from ten connections that are only held to ten thousand.
//!
//! Small and large take turns where one disturbs the other, so that ratios are of one run. `--write` puts it all into
//! `docs/benchmarks-growth.md`.

mod agencies;
mod connections;
mod log;
mod nodes;
mod page;
mod rights;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::cli::{GrowthArgs, GrowthPart};
use crate::contestant::{Contestant, Site};
use crate::goal::Goal;
use crate::host;
use crate::plan::{Case, Plan};
use crate::process::Process;
use crate::quantile::Spread;
use crate::run::mib;
use crate::{out, threads};

/// The case that is measured where an exchange is.
const CASE: Case = Case::closed(256, 256);
/// Rounds; in each, every size has its turn.
const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 2;
/// Throughput of the largest, of the smallest.
const RATIO_MIN: f64 = 0.9;
/// Where `--write` writes.
const REPORT: &str = "docs/benchmarks-growth.md";

/// Measures the parts asked for; prints a line a goal. Whether all hold.
pub fn run(arguments: &GrowthArgs) -> anyhow::Result<ExitCode> {
    let mut series = Vec::new();
    for part in &arguments.parts {
        let goals = match part {
            GrowthPart::Agencies => agencies::run(arguments)?,
            GrowthPart::Log => log::run(arguments)?,
            GrowthPart::Rights => threads::runtime()?.block_on(rights::run(arguments))?,
            GrowthPart::Nodes => threads::runtime()?.block_on(nodes::run(arguments))?,
            GrowthPart::Connections => threads::runtime()?.block_on(connections::run(arguments))?,
        };
        let judged = |goal: Goal| if arguments.quick { goal.not_judged() } else { goal };
        let goals: Vec<Goal> = goals.into_iter().map(judged).collect();
        for goal in &goals {
            goal.show(arguments.json)?;
        }
        series.push((*part, goals));
    }
    if arguments.write {
        let date = OffsetDateTime::now_utc().format(format_description!("[year]-[month]-[day]"))?;
        std::fs::write(REPORT, page::markdown(&date, &series, &host::facts()))
            .with_context(|| format!("cannot write {REPORT}; start the run at the root of the project"))?;
        out::note(&format!("written: {REPORT}"));
    }
    let all = series.iter().flat_map(|(_, goals)| goals).all(Goal::is_met);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn backend(pki: &Path, logs: &Path) -> anyhow::Result<(Process, std::path::PathBuf)> {
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    let site = Site {
        program: program.clone(),
        lienthong: program.clone(),
        pki: pki.to_owned(),
        data: logs.to_owned(),
        rights: 0,
        holders: 0,
    };
    Ok((site.start("backend", &["backend"])?, program))
}

fn plan(arguments: &GrowthArgs) -> Plan {
    let of_ours = vec![Contestant::Ours];
    if arguments.quick { Plan::quick(of_ours) } else { Plan::thorough(of_ours) }
}

const fn rounds(arguments: &GrowthArgs) -> usize {
    if arguments.quick { ROUNDS_QUICK } else { ROUNDS }
}

/// Small to large in one round, large to small in the next: what drifts falls on both.
fn order(round: usize, sizes: usize) -> Vec<usize> {
    let order = 0..sizes;
    if round.is_multiple_of(2) { order.collect() } else { order.rev().collect() }
}

fn told(rates: &[Vec<f64>], names: impl Iterator<Item = String>) -> anyhow::Result<Vec<Goal>> {
    let goal = |(rates, name): (&Vec<f64>, String)| {
        let spread = Spread::of(rates.iter().copied()).context("nothing was measured")?;
        Ok(Goal::told(&format!("growth: answers a second, {name}"), spread, "answers/s"))
    };
    rates.iter().zip(names).map(goal).collect()
}

/// The largest of the smallest, round by round.
fn ratio<T: std::fmt::Display>(
    rates: &[Vec<f64>],
    what: &str,
    from: Option<T>,
    to: Option<T>,
) -> anyhow::Result<Goal> {
    let (Some(small), Some(large), Some(from), Some(to)) = (rates.first(), rates.last(), from, to) else {
        anyhow::bail!("nothing was measured");
    };
    let each = large.iter().zip(small).map(|(large, small)| large / small);
    let spread = Spread::of(each).context("nothing was measured")?;
    Ok(Goal::at_least(&format!("growth: throughput, {from} → {to} {what}"), spread, "ratio", RATIO_MIN))
}

fn resident_mib(process: &Process) -> anyhow::Result<f64> {
    mib(host::resident_bytes(process.pid().context("it ended")?)?)
}
