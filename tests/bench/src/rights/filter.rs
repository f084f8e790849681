//! The release filter on answers of 4 KiB that keep half of their fields, beside the slow way: decode, drop, mask, encode.

use std::hint::black_box;

use anyhow::ensure;
use lienthong_filter::Report;
use lienthong_hotpaths::answers::{Answer, flat, page};
use prost_reflect::DynamicMessage;

use super::{ROUNDS, each_us, ratios, spread};
use crate::goal::Goal;

/// Bytes of an answer, about.
const ANSWER_BYTES: usize = 4096;
/// Messages of one turn, and of one of the slow way.
const MESSAGES: u32 = 40_000;
const MESSAGES_SLOW: u32 = 2_000;
const MESSAGES_SMALL: u32 = 100;

/// Measures it.
pub fn run(small: bool) -> anyhow::Result<Vec<Goal>> {
    let (mut goals, page) = (Vec::new(), page(ANSWER_BYTES)?);
    let masked = page.clone().masked()?;
    for (name, answer) in [("page of records", page), ("one record of 190 texts", flat()?)] {
        let Measured { gb_per_s, of_the_slow_way } = measure(&answer, small)?;
        goals.push(Goal::at_least(&format!("filter: {name}"), gb_per_s, "GB/s", 1.0));
        goals.push(Goal::at_least(
            &format!("filter: {name}, of decode–mask–encode"),
            of_the_slow_way,
            "ratio",
            5.0,
        ));
    }
    let Measured { gb_per_s, of_the_slow_way } = measure(&masked, small)?;
    goals.push(Goal::told("filter: page of records, masked", gb_per_s, "GB/s"));
    goals.push(Goal::told(
        "filter: page of records, masked, of decode–mask–encode",
        of_the_slow_way,
        "ratio",
    ));
    Ok(goals)
}

struct Measured {
    gb_per_s: crate::quantile::Spread,
    of_the_slow_way: crate::quantile::Spread,
}

fn measure(answer: &Answer, small: bool) -> anyhow::Result<Measured> {
    let Answer { response, bytes, .. } = answer;
    let plan = answer.plan()?;
    let (mut out, mut report) = (Vec::new(), Report::new());
    plan.apply(bytes, &mut out, &mut report)?;
    let decoded = |bytes: &[u8]| DynamicMessage::decode(response.clone(), bytes);
    ensure!(decoded(&out)? == decoded(&answer.reflected()?)?, "the filter releases something else");
    let [fast, slow] = if small { [MESSAGES_SMALL; 2] } else { [MESSAGES, MESSAGES_SLOW] };
    let [mut fast_us, mut slow_us] = [const { Vec::new() }; 2];
    // The first round warms up.
    for round in 0..=ROUNDS {
        let filtered = each_us(fast, |_| {
            out.clear();
            report.reset();
            plan.apply(black_box(bytes), &mut out, &mut report)?;
            black_box(&out);
            anyhow::Ok(())
        })?;
        let reflected = each_us(slow, |_| black_box(answer).reflected().map(|out| drop(black_box(out))))?;
        if round > 0 {
            fast_us.push(filtered);
            slow_us.push(reflected);
        }
    }
    #[allow(clippy::cast_precision_loss)] // a few thousand
    let bytes = bytes.len() as f64;
    let of_the_slow_way = ratios(&slow_us, &fast_us)?;
    // Bytes a microsecond are megabytes a second.
    Ok(Measured { gb_per_s: spread(fast_us.iter().map(|us| bytes / us / 1e3).collect())?, of_the_slow_way })
}
