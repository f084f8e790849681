//! Agencies of a nation, each of which provides five datasets to twenty others. In this process: what the broker does when the
//! catalog is read, and what the node does that it concerns most.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Context;
use lienthong_catalog::{RightsIndex, compile, compile::Issue};
use prost::Message;
use time::OffsetDateTime;

use crate::audit::float;
use crate::cli::GrowthArgs;
use crate::goal::Goal;
use crate::out;
use crate::pki::MESH;
use crate::quantile::Spread;
use crate::rights::nation::{Nation, largest_node};

const AGENCIES: [usize; 3] = [10, 100, 1_000];
const AGENCIES_QUICK: [usize; 2] = [10, 100];
/// Times that each is done.
const TIMES: usize = 5;

/// Measures it.
pub(super) fn run(arguments: &GrowthArgs) -> anyhow::Result<Vec<Goal>> {
    let sizes: &[usize] = if arguments.quick { &AGENCIES_QUICK } else { &AGENCIES };
    let mut goals = Vec::new();
    for agencies in sizes {
        out::note(&format!("a nation of {agencies} agencies"));
        goals.extend(of(*agencies)?);
    }
    Ok(goals)
}

fn of(agencies: usize) -> anyhow::Result<Vec<Goal>> {
    let nation = Nation::of(agencies, 1)?;
    let issue = Issue {
        mesh: MESH.to_owned(),
        epoch: 1,
        time: OffsetDateTime::UNIX_EPOCH,
        revocation_lists: Vec::new(),
    };
    let [mut compiled, mut made, mut read] = [const { Vec::new() }; 3];
    let (mut rights, mut bytes) = (0, 0);
    for _ in 0..TIMES {
        let published = nation.published();
        let begun = Instant::now();
        let all = compile(&nation.catalog, &published);
        compiled.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        let bundle = all.bundle_for(&largest_node(), &issue).context("the node has no bundle")?;
        made.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        black_box(RightsIndex::from_bundle(&bundle)?);
        read.push(begun.elapsed().as_secs_f64() * 1e3);
        (rights, bytes) = (all.rights().len(), bundle.encoded_len());
    }
    let name = |what: &str| format!("growth: {what}, {agencies} agencies");
    let spread = |values: Vec<f64>| Spread::of(values).context("nothing was measured");
    Ok(vec![
        Goal::told(&name("rights that the catalog grants"), float(rights as u64), "rights"),
        Goal::told(&name("catalog compiled"), spread(compiled)?, "ms"),
        Goal::told(&name("largest bundle made"), spread(made)?, "ms"),
        Goal::told(&name("largest bundle"), float(bytes as u64) / 1e6, "MB"),
        Goal::told(&name("a node decides by it after"), spread(read)?, "ms"),
    ])
}
