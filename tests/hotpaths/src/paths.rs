//! The hot paths by name. Inputs are fixed, so that the same code takes the same instructions.

use std::hint::black_box;

use anyhow::Context as _;
use lienthong_audit::digest::{ExchangeKey, MessageDigest};
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::merkle::{Frontier, inclusion_proof, verify_inclusion};
use lienthong_audit::{chain, record};
use lienthong_certs::pki::{Holder, Request};
use lienthong_certs::{DevPki, Judge, Profile, Usage};
use lienthong_filter::Report;
use rustls_pki_types::UnixTime;

use crate::answers::{Answer, page};
use crate::asked::{Asked, CONDITION, admitted};
use crate::story::Story;

/// Rights of the index that is asked.
const RIGHTS: usize = 10_000;
/// An answer about one person, and a page of them, bytes.
const SMALL_BYTES: usize = 256;
const PAGE_BYTES: usize = 4096;
/// Leaves of the tree in which an entry is proven. Reading from memory costs the hashes below, so it is small.
const LEAVES: usize = 256;

/// One turn of a path.
pub type Turn = Box<dyn FnMut() -> anyhow::Result<()>>;

/// A path: what is prepared once, and then taken again and again.
#[derive(Debug, Clone, Copy)]
pub struct HotPath {
    /// Its name; baselines go by it.
    pub name: &'static str,
    /// Makes its inputs, and what one turn does.
    pub prepare: fn() -> anyhow::Result<Turn>,
}

/// All of them, in the order of an exchange.
pub const ALL: [HotPath; 11] = [
    HotPath { name: "identity: a chain that was accepted before", prepare: identity },
    HotPath { name: "identity: the place of a caller", prepare: place },
    HotPath { name: "decision", prepare: decision },
    HotPath { name: "decision with a condition, one record judged", prepare: decision_with_condition },
    HotPath { name: "filter, one record", prepare: || filter(page(SMALL_BYTES)?) },
    HotPath { name: "filter, page of 4 KiB", prepare: || filter(page(PAGE_BYTES)?) },
    HotPath { name: "filter, page of 4 KiB, masked", prepare: || filter(page(PAGE_BYTES)?.masked()?) },
    HotPath { name: "digest of 256 bytes", prepare: digest },
    HotPath { name: "record encoded, hashed, chained", prepare: record_written },
    HotPath { name: "Merkle append", prepare: merkle_append },
    HotPath { name: "inclusion proof made and checked", prepare: merkle_proof },
];

/// The path of this name.
pub fn named(name: &str) -> Option<HotPath> {
    ALL.into_iter().find(|path| path.name == name)
}

fn identity() -> anyhow::Result<Turn> {
    let folder = tempfile::tempdir()?;
    let pki = DevPki::create(folder.path(), "do-lenh")?;
    let holder = Holder::Node {
        agency_code: "G01".to_owned(),
        agency_name: "DEMO – Đo số lệnh".to_owned(),
        node_id: "n1".to_owned(),
    };
    let chain = pki.issue(&Request::new(holder))?.credentials()?.chain().to_vec();
    let judge = Judge::new(pki.anchors()?, pki.lists()?, Profile::development())?;
    let now = UnixTime::now();
    judge.judge(&chain, Usage::Client, now)?;
    Ok(Box::new(move || {
        black_box(judge.judge(black_box(&chain), Usage::Client, now)?);
        Ok(())
    }))
}

fn place() -> anyhow::Result<Turn> {
    let asked = Asked::of(RIGHTS, "")?;
    let mut number = 0_u32;
    Ok(Box::new(move || {
        number = number.wrapping_add(1);
        let (consumer, system) = asked.who(number);
        black_box(asked.index.place(black_box(consumer), Some(system)).context("a stranger")?);
        Ok(())
    }))
}

fn decision() -> anyhow::Result<Turn> {
    let asked = Asked::of(RIGHTS, "")?;
    let mut number = 0_u32;
    Ok(Box::new(move || {
        number = number.wrapping_add(1);
        asked.decide(number)
    }))
}

fn decision_with_condition() -> anyhow::Result<Turn> {
    // One condition is enough: its cost does not depend on how many others there are.
    let (asked, record) = (Asked::of(crate::registry::PURPOSES, CONDITION)?, admitted());
    let mut number = 0_u32;
    Ok(Box::new(move || {
        number = number.wrapping_add(1);
        asked.decide_and_admit(number, &record)
    }))
}

fn filter(answer: Answer) -> anyhow::Result<Turn> {
    let plan = answer.plan()?;
    let (mut out, mut report) = (Vec::new(), Report::new());
    Ok(Box::new(move || {
        out.clear();
        report.reset();
        plan.apply(black_box(&answer.bytes), &mut out, &mut report)?;
        black_box(&out);
        Ok(())
    }))
}

fn digest() -> anyhow::Result<Turn> {
    let (key, message) = (ExchangeKey::from_bytes([7; _]), [9; SMALL_BYTES]);
    Ok(Box::new(move || {
        let mut digest = MessageDigest::new(&key);
        digest.message(black_box(&message));
        black_box(digest.finish());
        Ok(())
    }))
}

/// What a journal does with a record before it is written: its bytes, their hash, the chain's next head.
fn record_written() -> anyhow::Result<Turn> {
    let (bytes, _) = Story::of(1).record("agencies/G01/nodes/n1", 1);
    let record = record::decode(&bytes)?;
    let mut head = chain::START;
    Ok(Box::new(move || {
        let bytes = record::encode(black_box(&record))?;
        head = chain::step(&head, &leaf_hash(&bytes));
        black_box(bytes);
        Ok(())
    }))
}

fn merkle_append() -> anyhow::Result<Turn> {
    let (entry, _) = Story::of(1).record("agencies/G01/nodes/n1", 1);
    let mut frontier = Frontier::new();
    Ok(Box::new(move || {
        black_box(frontier.push_entry(black_box(&entry)));
        Ok(())
    }))
}

fn merkle_proof() -> anyhow::Result<Turn> {
    let leaves: Vec<Hash> = (0..LEAVES).map(|number| leaf_hash(&number.to_be_bytes())).collect();
    let size = leaves.len() as u64;
    let mut frontier = Frontier::new();
    for leaf in &leaves {
        frontier.push(*leaf);
    }
    let root = frontier.root();
    let mut index = 0;
    Ok(Box::new(move || {
        index = (index + 1) % LEAVES;
        let Ok(path) = inclusion_proof(index as u64, size, &leaves[..]);
        let path = path.context("a leaf is missing")?;
        Ok(verify_inclusion(&leaves[index], index as u64, size, &path, &root)?)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_can_be_taken_and_has_a_name_of_its_own() {
        for path in ALL {
            assert_eq!(named(path.name).map(|found| found.prepare as usize), Some(path.prepare as usize));
            let mut turn = (path.prepare)().unwrap();
            for _ in 0..3 {
                turn().unwrap();
            }
        }
    }
}
