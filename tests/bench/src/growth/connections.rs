//! Connections of the agency's own systems that say nothing.

use anyhow::Context;

use super::{CASE, backend, order, plan, ratio, resident_mib, rounds, told};
use crate::cli::GrowthArgs;
use crate::contestant::{Chain, Contestant, Site};
use crate::goal::Goal;
use crate::hold::holders;
use crate::out;
use crate::pki::Pki;
use crate::quantile::Spread;
use crate::run::{load, temporary_folder};

const CONNECTIONS: [usize; 3] = [10, 1_000, 10_000];
const CONNECTIONS_QUICK: [usize; 2] = [10, 500];
/// Rights in the provider's bundle.
const RIGHTS: u32 = 100;

/// At one mesh.
pub(super) async fn run(arguments: &GrowthArgs) -> anyhow::Result<Vec<Goal>> {
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
    let site = Site { program, lienthong, pki: path, data, rights: RIGHTS, holders: holders(most) };
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
