//! The hot paths by name. Inputs are fixed, so that the same code takes the same instructions.

#![allow(clippy::unnecessary_wraps, reason = "every path is prepared alike")]

use std::hint::black_box;

use anyhow::Context as _;
use lienthong_audit::digest::{Digester, ExchangeKey};
use lienthong_audit::hash::{Hash, leaf_hash, node_hash};
use lienthong_audit::merkle::{Frontier, HashReader, inclusion_proof, verify_inclusion};
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
/// Leaves of the tree in which an entry is proven; a power of two.
const LEAVES: usize = 4096;

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
pub const ALL: [HotPath; 13] = [
    HotPath { name: "identity: a chain that was accepted before", prepare: identity },
    HotPath { name: "identity: the place of a caller", prepare: place },
    HotPath { name: "decision", prepare: decision },
    HotPath { name: "decision with a condition, one record judged", prepare: decision_with_condition },
    HotPath { name: "filter, one record", prepare: || filter(page(SMALL_BYTES)?) },
    HotPath { name: "filter, page of 4 KiB", prepare: || filter(page(PAGE_BYTES)?) },
    HotPath { name: "filter, page of 4 KiB, masked", prepare: || filter(page(PAGE_BYTES)?.masked()?) },
    HotPath { name: "digests of an exchange, 256 bytes each", prepare: || digests(SMALL_BYTES) },
    HotPath { name: "digests of an exchange, 4 KiB each", prepare: || digests(PAGE_BYTES) },
    HotPath { name: "record encoded, hashed, chained", prepare: record_written },
    HotPath { name: "Merkle append", prepare: merkle_append },
    HotPath { name: "inclusion proof made", prepare: proof_made },
    HotPath { name: "inclusion proof checked", prepare: proof_checked },
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
    // The rights of one consumer: the first use of each, which makes its scope, is over before anything counts.
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

/// The digests of both directions of an exchange, under one key.
fn digests(bytes: usize) -> anyhow::Result<Turn> {
    let (key, message) = (ExchangeKey::from_bytes([7; _]), vec![9; bytes]);
    Ok(Box::new(move || {
        let digester = Digester::new(black_box(&key));
        for _direction in 0..2 {
            let mut digest = digester.begin();
            digest.message(black_box(&message));
            black_box(digest.finish());
        }
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

/// Every level of a full tree, as tiles hold them: reading a subtree costs no hash.
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    fn new() -> Self {
        let mut levels: Vec<Vec<Hash>> =
            vec![(0..LEAVES).map(|number| leaf_hash(&number.to_be_bytes())).collect()];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            levels.push(below.as_chunks::<2>().0.iter().map(|[one, other]| node_hash(one, other)).collect());
        }
        Self(levels)
    }

    fn root(&self) -> anyhow::Result<Hash> {
        self.0.last().and_then(|top| top.first()).copied().context("a tree without a root")
    }

    fn proof(&self, index: usize) -> anyhow::Result<Vec<Hash>> {
        inclusion_proof(index as u64, LEAVES as u64, self)?.context("a leaf is missing")
    }
}

impl HashReader for Levels {
    type Error = anyhow::Error;

    fn subtree(&self, level: u8, index: u64) -> anyhow::Result<Hash> {
        let level = self.0.get(usize::from(level));
        let hash = level.and_then(|level| level.get(usize::try_from(index).unwrap_or(usize::MAX)));
        hash.copied().context("a subtree is missing")
    }
}

fn proof_made() -> anyhow::Result<Turn> {
    let levels = Levels::new();
    let mut index = 0;
    Ok(Box::new(move || {
        index = (index + 1) % LEAVES;
        black_box(levels.proof(black_box(index))?);
        Ok(())
    }))
}

fn proof_checked() -> anyhow::Result<Turn> {
    let levels = Levels::new();
    let (root, index) = (levels.root()?, LEAVES / 3);
    let (leaf, path) = (levels.subtree(0, index as u64)?, levels.proof(index)?);
    Ok(Box::new(move || {
        let checked = verify_inclusion(black_box(&leaf), index as u64, LEAVES as u64, &path, &root);
        Ok(checked?)
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
