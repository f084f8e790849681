//! Rights in the provider's bundle. Each is the right of one more agency, as the law has it: a local agency is added, and the
//! catalog gives it what all of its kind have.

use anyhow::Context;

use super::{CASE, backend, order, plan, ratio, resident_mib, rounds, told};
use crate::cli::GrowthArgs;
use crate::contestant::{Chain, Contestant, Site};
use crate::goal::Goal;
use crate::pki::Pki;
use crate::run::{load, temporary_folder};
use crate::{host, out};

/// A node takes in a million parties, and the provider is one of them.
const RIGHTS: [u32; 4] = [100, 1_000, 10_000, 999_999];
const RIGHTS_QUICK: [u32; 2] = [100, 10_000];

/// A mesh for each, all running.
pub(super) async fn run(arguments: &GrowthArgs) -> anyhow::Result<Vec<Goal>> {
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
