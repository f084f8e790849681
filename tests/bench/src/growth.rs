//! `bench growth`: what one exchange costs as everything around it grows: agencies and their rights, connections that are held.
//!
//! Small and large run side by side and take turns, so that ratios are of one run. Each right here is the right of one more
//! agency, as the law has it: a local agency is added, and the catalog gives it what all of its kind have.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::GrowthArgs;
use crate::contestant::{Chain, Contestant, Site};
use crate::goal::Goal;
use crate::hold::holders;
use crate::host;
use crate::pki::Pki;
use crate::plan::{Case, Plan};
use crate::process::Process;
use crate::quantile::Spread;
use crate::run::{load, mib, temporary_folder};
use crate::{out, threads};

/// Agencies with a right each.
const RIGHTS: [u32; 4] = [100, 1_000, 10_000, 1_000_000];
const RIGHTS_QUICK: [u32; 2] = [100, 10_000];
/// Connections that say nothing.
const CONNECTIONS: [usize; 3] = [10, 1_000, 10_000];
const CONNECTIONS_QUICK: [usize; 2] = [10, 500];
/// The case that is measured.
const CASE: Case = Case::closed(256, 256);
/// Rounds; in each, every size has its turn.
const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 2;
/// Throughput of the largest, of the smallest.
const RATIO_MIN: f64 = 0.9;

/// Measures it; prints a line a goal. Whether all hold.
pub fn run(arguments: &GrowthArgs) -> anyhow::Result<ExitCode> {
    threads::runtime()?.block_on(async {
        let mut all = true;
        for goal in [rights(arguments).await?, connections(arguments).await?].into_iter().flatten() {
            let goal = if arguments.quick { goal.not_judged() } else { goal };
            all &= goal.is_met();
            goal.show(arguments.json)?;
        }
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// From a hundred rights to a million: a mesh for each, all running.
async fn rights(arguments: &GrowthArgs) -> anyhow::Result<Vec<Goal>> {
    let folder = temporary_folder(arguments.data.as_deref())?;
    host::check_durable(folder.path())?;
    let pki = folder.path().join("pki");
    Pki::create(&pki)?;
    let (mut backend, program) = backend(&pki, folder.path())?;
    let address = backend.address().await?;
    let sizes: &[u32] = if arguments.quick { &RIGHTS_QUICK } else { &RIGHTS };
    let mut meshes = Vec::with_capacity(sizes.len());
    for rights in sizes {
        out::note(&format!("starting a mesh of {rights} rights"));
        let data = folder.path().join(rights.to_string());
        std::fs::create_dir(&data)?;
        let site = Site {
            program: program.clone(),
            lienthong: arguments.lienthong()?,
            pki: pki.clone(),
            data,
            rights: *rights,
            holders: 0,
        };
        let chain = Chain::start(Contestant::Ours, &site, address).await?;
        meshes.push((site, chain));
    }
    let mut rates = vec![Vec::new(); meshes.len()];
    let plan = plan(arguments);
    for round in 0..rounds(arguments) {
        for index in order(round, meshes.len()) {
            let (site, chain) = &mut meshes[index];
            let measured = load(site, chain, &plan, CASE, true).await?;
            let rate = measured.per_second;
            out::note(&format!("round {}: {} rights, {rate:.0} answers a second", round + 1, site.rights));
            rates[index].push(rate);
            if let Chain::Mesh(mesh) = chain {
                mesh.settle(measured.answered).await?;
            }
        }
    }
    let mut goals = told(&rates, sizes.iter().map(|rights| format!("{rights} rights")))?;
    for (site, chain) in &mut meshes {
        let Chain::Mesh(mesh) = chain else { continue };
        let of = |what: &str| format!("growth: {what}, {} rights", site.rights);
        let nodes = mesh.nodes().iter().map(resident_mib).collect::<anyhow::Result<Vec<_>>>()?;
        let node = nodes.into_iter().fold(0.0, f64::max);
        goals.push(Goal::told(&of("memory of a node after load"), node, "MiB"));
        let broker = mesh.processes().last().context("no broker")?;
        goals.push(Goal::told(&of("memory of the broker after load"), resident_mib(broker)?, "MiB"));
        let start = mesh.restart_node().await?.as_secs_f64() * 1e3;
        goals.push(Goal::told(&of("start of a node with its bundle on disk"), start, "ms"));
    }
    goals.push(ratio(&rates, "rights", sizes.first(), sizes.last())?);
    Ok(goals)
}

/// From ten connections that are only held to ten thousand, at one mesh.
async fn connections(arguments: &GrowthArgs) -> anyhow::Result<Vec<Goal>> {
    let folder = temporary_folder(arguments.data.as_deref())?;
    let sizes: &[usize] = if arguments.quick { &CONNECTIONS_QUICK } else { &CONNECTIONS };
    let most = sizes.iter().copied().max().unwrap_or(0);
    let path = folder.path().join("pki");
    let pki = Pki::create(&path)?;
    for number in 0..holders(most) {
        pki.another_holder(number)?;
    }
    let (mut backend, program) = backend(&path, folder.path())?;
    let address = backend.address().await?;
    let data = folder.path().join("data");
    std::fs::create_dir(&data)?;
    let lienthong = arguments.lienthong()?;
    let site = Site { program, lienthong, pki: path, data, rights: RIGHTS[0], holders: holders(most) };
    out::note("starting a mesh for connections");
    let mut chain = Chain::start(Contestant::Ours, &site, address).await?;
    let consumer_node = chain.address().to_string();
    let plan = plan(arguments);
    let mut rates = vec![Vec::new(); sizes.len()];
    let mut memory = vec![Vec::new(); sizes.len()];
    for round in 0..rounds(arguments) {
        for index in order(round, sizes.len()) {
            let count = sizes[index].to_string();
            let holding = ["hold", "--address", &consumer_node, "--connections", &count];
            let mut holder = site.start("hold", &holding)?;
            holder.address().await?;
            let measured = load(&site, &chain, &plan, CASE, true).await?;
            let rate = measured.per_second;
            out::note(&format!("round {}: {count} connections held, {rate:.0} answers a second", round + 1));
            rates[index].push(rate);
            let Chain::Mesh(mesh) = &mut chain else { continue };
            mesh.settle(measured.answered).await?;
            memory[index].push(resident_mib(mesh.nodes().first().context("no node")?)?);
        }
    }
    let mut goals = told(&rates, sizes.iter().map(|count| format!("{count} connections held")))?;
    for (count, memory) in sizes.iter().zip(memory) {
        let spread = Spread::of(memory).context("nothing was measured")?;
        goals.push(Goal::told(&format!("growth: memory of a node, {count} connections held"), spread, "MiB"));
    }
    goals.push(ratio(&rates, "connections held", sizes.first(), sizes.last())?);
    Ok(goals)
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
