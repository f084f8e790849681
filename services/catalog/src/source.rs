//! The declarative catalog: YAML files, read with every mistake named by file, line, column and rule.
//!
//! A file is a mapping with any of the keys `agencies`, `outside_parties`, `databases`, `entries`, `guardrails`,
//! `invariants`, `dictionary` and `contracts`, so that a catalog may be one file or many. The registry, which changes with every certificate,
//! is a file of its own ([`Catalog::with_registry`]).
//!
//! Reading is in two steps, so that as many mistakes as possible are seen at once: each object by itself (its keys,
//! types and formats), then what the objects say about each other. No catalog comes out of files with
//! a mistake.

mod agencies;
mod canonical;
mod check;
mod compare;
mod contracts;
mod databases;
mod dictionary;
mod entries;
mod entry_rules;
mod guardrails;
mod mistake;
mod object;
mod options;
mod registry;
mod tree;
mod values;

use crate::catalog::{Catalog, Entry};
use object::{Draft, Drafts};
use tree::Located;

pub use compare::{Difference, ObjectDifference, differences};
pub use dictionary::Dictionary;
pub use mistake::Mistake;

/// A file as it was read: its name, for mistakes, and its text.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Name.
    pub name: String,
    /// Text, YAML 1.2.
    pub text: String,
}

impl Catalog {
    /// Reads a catalog from all its files. On failure: every mistake of every file, sorted by place.
    pub fn read(files: &[SourceFile]) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let trees: Vec<(&str, Located)> = files
            .iter()
            .filter_map(|file| match tree::parse(file) {
                Ok(tree) => Some((file.name.as_str(), tree)),
                Err(mistake) => {
                    mistakes.push(mistake);
                    None
                }
            })
            .collect();
        let mut drafts = Drafts::default();
        for (file, tree) in &trees {
            mistakes.extend(tree::not_nfc(file, tree));
            sections(file, tree, &mut drafts, &mut mistakes);
        }
        // What is missing from a file that is not YAML would look like mistakes of all others.
        if trees.len() == files.len() {
            mistakes.extend(check::check(&drafts));
        }
        if mistakes.is_empty() {
            return Ok(drafts.into_catalog());
        }
        mistakes.sort();
        mistakes.dedup();
        Err(mistakes)
    }
}

impl Entry {
    /// Reads one entry from its canonical JSON ([`Entry::content`]), by itself: what it refers to is not looked up.
    ///
    /// # Errors
    /// Every mistake.
    pub fn read(content: &str) -> Result<Self, Vec<Mistake>> {
        let file = SourceFile { name: "entry".to_owned(), text: content.to_owned() };
        let tree = tree::parse(&file).map_err(|mistake| vec![mistake])?;
        let mut mistakes = Vec::new();
        let entry = entries::entry(&mut object::Reader::new(&file.name, &mut mistakes), &tree);
        entry.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }
}

fn sections<'a>(file: &'a str, tree: &'a Located, drafts: &mut Drafts<'a>, mistakes: &mut Vec<Mistake>) {
    let mut reader = object::Reader::new(file, mistakes);
    let Some(mut root) = reader.object(tree, "the file") else {
        return;
    };
    let mut read = |key: &'static str| -> Vec<&'a Located> { root.items(key) };
    let (agencies, parties, databases) = (read("agencies"), read("outside_parties"), read("databases"));
    let (entries, dictionary, contracts) = (read("entries"), read("dictionary"), read("contracts"));
    let (prohibitions, invariants) = (read("guardrails"), read("invariants"));
    root.finish();
    drafts.declare(&agencies, &databases);
    drafts.agencies.extend(
        agencies
            .into_iter()
            .filter_map(|node| Some(Draft { file, node, value: agencies::agency(&mut reader, node)? })),
    );
    drafts.outside_parties.extend(
        parties.into_iter().filter_map(|node| {
            Some(Draft { file, node, value: agencies::outside_party(&mut reader, node)? })
        }),
    );
    drafts.databases.extend(
        databases
            .into_iter()
            .filter_map(|node| Some(Draft { file, node, value: databases::database(&mut reader, node)? })),
    );
    drafts.entries.extend(
        entries
            .into_iter()
            .filter_map(|node| Some(Draft { file, node, value: entries::entry(&mut reader, node)? })),
    );
    drafts.guardrails.extend(
        prohibitions
            .into_iter()
            .filter_map(|node| Some(Draft { file, node, value: guardrails::guardrail(&mut reader, node)? })),
    );
    drafts.invariants.extend(
        invariants
            .into_iter()
            .filter_map(|node| Some(Draft { file, node, value: guardrails::invariant(&mut reader, node)? })),
    );
    drafts.dictionary.extend(
        dictionary
            .into_iter()
            .filter_map(|node| Some(Draft { file, node, value: dictionary::entry(&mut reader, node)? })),
    );
    drafts.contracts.extend(
        contracts
            .into_iter()
            .filter_map(|node| Some(Draft { file, node, value: contracts::contract(&mut reader, node)? })),
    );
}
