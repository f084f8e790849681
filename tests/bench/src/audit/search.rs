//! The first page of each kind of question, out of an index of ten million records made on the spot: blocks built and merged
//! as the broker does it. What is read from the log for it, fifty entries with their proofs, is measured by `ingest`.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use lienthong_audit::record;
use lienthong_broker::index::blocks::{BLOCK_ENTRIES, Block, BlockFolder};
use lienthong_broker::index::indexer::Indexed;
use lienthong_hotpaths::story::{Story, mix};
use lienthong_index::segment::build;
use lienthong_index::{Clause, Dimension, Query, Row, Term, Want};

use super::{Site, bytes_below, float};
use crate::goal::Goal;
use crate::out;
use crate::quantile::quantile;

const RECORDS: u64 = 10_000_000;
const RECORDS_SMALL: u64 = 3 * BLOCK_ENTRIES as u64;
/// A page, and one more to know whether there are more.
const PAGE: usize = 51;
/// Questions of each kind.
const QUESTIONS: u64 = 100;
/// The goal for each of them, milliseconds.
const PAGE_MS_MAX: f64 = 200.0;

/// Measures it.
pub fn run(site: &Site) -> anyhow::Result<Vec<Goal>> {
    let blocks = if site.small { RECORDS_SMALL } else { RECORDS } / u64::from(BLOCK_ENTRIES);
    let dir = site.dir("search")?;
    let begun = Instant::now();
    let indexed = index(&dir, blocks)?;
    let records = blocks * u64::from(BLOCK_ENTRIES);
    let seconds = begun.elapsed().as_secs_f64();
    out::note(&format!("{records} records indexed in {} files' worth of blocks", indexed.blocks.len()));
    let mut goals = vec![
        Goal::told("search: records/s indexed on one core", float(records) / seconds, "records/s"),
        Goal::told("search: index bytes a record", float(bytes_below(&dir)?) / float(records), "bytes"),
    ];
    for (name, question) in questions() {
        let (mut times, mut found) = (Vec::new(), 0);
        for number in 0..QUESTIONS {
            let query = question(&Story::of(mix(number) % records));
            let begun = Instant::now();
            found += indexed.search(&query, u64::MAX, PAGE)?.len();
            times.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        ensure!(found > 0, "the question by {name} finds nothing");
        times.sort_unstable();
        let worst = float(quantile(&times, 1.0).unwrap_or(0)) / 1000.0;
        goals.push(Goal::at_most(
            &format!("search: first page by {name}, slowest of 100"),
            worst,
            "ms",
            PAGE_MS_MAX,
        ));
    }
    Ok(goals)
}

/// Builds and merges.
fn index(dir: &std::path::Path, blocks: u64) -> anyhow::Result<Indexed> {
    let folder = BlockFolder::open(dir, BLOCK_ENTRIES)?;
    let mut indexed = Indexed::default();
    for block in 0..blocks {
        let first = block * u64::from(BLOCK_ENTRIES);
        let rows: Vec<Row> = (first..first + u64::from(BLOCK_ENTRIES)).map(row).collect();
        indexed.blocks.push(Arc::new(folder.put(first, &build(first, &rows))?));
        while let Some((begin, merged)) = folder.merge(&indexed.blocks, u64::MAX)? {
            let behind = indexed.blocks.iter().position(|block| block.first_index() >= merged.end());
            let behind = behind.unwrap_or(indexed.blocks.len());
            let gone: Vec<Arc<Block>> = indexed.blocks.splice(begin..behind, [Arc::new(merged)]).collect();
            folder.drop_merged(&gone)?;
        }
        if block % 16 == 15 {
            out::note(&format!("{} of {blocks} blocks", block + 1));
        }
    }
    Ok(indexed)
}

/// A record as the indexer sees it, with its subject's token.
fn row(number: u64) -> Row {
    let story = Story::of(number);
    let (entry, _) = story.record("agencies/G01/nodes/n1", number);
    let mut row = record::decode(&entry).map_or_else(|_| Row::unreadable(), |record| Row::of(&record));
    row.extend([token(&story.person)]);
    row
}

/// What stands for a person here: sixteen bytes that look like a keyed hash.
fn token(person: &str) -> Term {
    let number = person.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
    Term::bytes(Dimension::Subject, &[number.to_be_bytes(), mix(number).to_be_bytes()].concat())
}

type Question = fn(&Story) -> Query;

fn questions() -> [(&'static str, Question); 13] {
    [
        ("nothing: the newest", |_| of([])),
        ("consumer", |story| of([text(Dimension::Consumer, &story.consumer)])),
        ("agency on either side", |story| {
            of([Clause(vec![
                exactly(Dimension::Consumer, &story.consumer),
                exactly(Dimension::Provider, &story.consumer),
            ])])
        }),
        ("system", |story| of([text(Dimension::System, &story.system)])),
        ("dataset", |story| of([text(Dimension::Dataset, &story.dataset)])),
        ("end user", |story| of([text(Dimension::User, &story.user)])),
        ("end users by prefix", |_| {
            of([Clause(vec![Want::Beginning(Term::text(Dimension::User, "canbo.77"))])])
        }),
        ("dossier", |story| of([text(Dimension::Dossier, &story.dossier)])),
        ("purpose", |story| {
            of([Clause(vec![Want::Exactly(Term::number(Dimension::Purpose, story.purpose.into()))])])
        }),
        ("exchange id", |story| {
            of([Clause(vec![Want::Exactly(Term::bytes(Dimension::Exchange, &story.exchange_id))])])
        }),
        ("subject", |story| of([Clause(vec![Want::Exactly(token(&story.person))])])),
        ("time", |story| Query { times_ms: Some(story.time_ms..story.time_ms + 60_000), ..of([]) }),
        ("dataset, purpose and time together", |story| Query {
            times_ms: Some(story.time_ms..story.time_ms + 600_000),
            ..of([
                text(Dimension::Dataset, &story.dataset),
                Clause(vec![Want::Exactly(Term::number(Dimension::Purpose, story.purpose.into()))]),
            ])
        }),
    ]
}

fn of(clauses: impl IntoIterator<Item = Clause>) -> Query {
    Query { clauses: clauses.into_iter().collect(), times_ms: None }
}

fn text(dimension: Dimension, text: &str) -> Clause {
    Clause(vec![exactly(dimension, text)])
}

fn exactly(dimension: Dimension, text: &str) -> Want {
    Want::Exactly(Term::text(dimension, text))
}
