//! How much of each node's journal the log holds. The log is the truth: a batch and its seal enter it in one append,
//! and these positions are what the seals say. The `Store` holds a copy, so that a start need not read the whole log.
//!
//! A crash between the append and the save of the copy loses nothing: at start the seals behind the saved mark are
//! read from the log. It doubles nothing either: a node that never got its receipt is told the position, and what is
//! on record is answered, not appended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lienthong_audit::batch::Position;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{BatchHeader, BatchSeal, Record};
use prost::Message;

use crate::limits::LATE_OPENINGS_REMEMBERED_MAX;
use crate::records::RECORDER;
use crate::stored::{StoredJournal, StoredMark};

/// What the log holds of one journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Up to where.
    pub position: Position,
    /// Log index of the newest batch's first entry.
    pub first_index: u64,
    /// Entries of the newest batch in the log, without its seal.
    pub entries: u64,
    /// Leaf hashes of the last openings that came late: they lie outside the chain, so that a batch that is sent
    /// again would double them.
    pub late: VecDeque<Hash>,
}

impl Journal {
    /// A journal of which nothing but this position is known.
    pub fn at(position: Position) -> Journal {
        Journal { position, first_index: 0, entries: 0, late: VecDeque::new() }
    }

    fn remember_late(&mut self, hashes: impl IntoIterator<Item = Hash>) {
        self.late.extend(hashes);
        while self.late.len() > LATE_OPENINGS_REMEMBERED_MAX {
            self.late.pop_front();
        }
    }
}

/// What one batch changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the journal stands now.
    pub position: Position,
    /// Log index of the batch's first entry.
    pub first_index: u64,
    /// Its entries in the log, without its seal.
    pub entries: u64,
    /// Leaf hashes of the late openings among them.
    pub late: Vec<Hash>,
}

/// Whether a journal, of which `held` is on record, stands at `here`, so that a batch that goes on from there is the
/// next one. A journal of a new epoch begins once the node has given up the old one.
pub fn stands(held: Option<Position>, here: Position) -> bool {
    match held {
        Some(held) if held.epoch >= here.epoch => held == here,
        _ => here == Position::start(here.epoch),
    }
}

/// The journals of all nodes. Only the ledger moves them, in log order.
#[derive(Debug, Default)]
pub struct Positions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    journals: BTreeMap<String, Journal>,
    /// Nodes whose journal moved since the last save.
    changed: BTreeSet<String>,
    /// Log entries whose seals are all reflected.
    reflected: u64,
    /// The highest epoch that the log says was published.
    epoch: u64,
}

impl Positions {
    /// Positions as they were saved.
    pub fn saved(journals: BTreeMap<String, Journal>, mark: &StoredMark) -> Positions {
        let table = Table { journals, reflected: mark.size, epoch: mark.epoch, ..Table::default() };
        Positions(Mutex::new(table))
    }

    /// `node`'s journal, if any of it is on record.
    pub fn journal(&self, node: &str) -> Option<Journal> {
        self.lock().journals.get(node).cloned()
    }

    /// Where `node`'s journal stands, if any of it is on record.
    pub fn of(&self, node: &str) -> Option<Position> {
        self.lock().journals.get(node).map(|journal| journal.position)
    }

    /// Whether this late opening of `node` is remembered.
    pub fn holds_late(&self, node: &str, hash: &Hash) -> bool {
        self.lock().journals.get(node).is_some_and(|journal| journal.late.contains(hash))
    }

    /// Nodes with a journal on record.
    pub fn len(&self) -> usize {
        self.lock().journals.len()
    }

    /// True while no journal is on record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Log entries whose seals are all reflected.
    pub fn reflected(&self) -> u64 {
        self.lock().reflected
    }

    /// The highest epoch that the log says was published; 0: none.
    pub fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Takes in one entry that is read from the log, in log order.
    pub fn replay(&self, index: u64, entry: &[u8]) {
        let mut table = self.lock();
        table.replay(entry);
        table.reflected = table.reflected.max(index + 1);
    }

    /// Takes in what one append made durable; the log then holds `log_size` entries.
    pub fn advance(&self, steps: impl IntoIterator<Item = (String, Step)>, epoch: u64, log_size: u64) {
        let mut table = self.lock();
        for (node, step) in steps {
            table.advance(&node, step);
        }
        table.epoch = table.epoch.max(epoch);
        table.reflected = table.reflected.max(log_size);
    }

    /// What must be written to save the positions: the changed ones and the mark. `None` when nothing changed.
    pub fn take_changes(&self) -> Option<Changes> {
        let mut table = self.lock();
        if table.changed.is_empty() {
            return None;
        }
        let changed = std::mem::take(&mut table.changed);
        let journals = changed
            .into_iter()
            .filter_map(|node| {
                table.journals.get(&node).map(|journal| (node.clone(), StoredJournal::from(journal)))
            })
            .collect();
        let mark =
            StoredMark { size: table.reflected, journals: table.journals.len() as u64, epoch: table.epoch };
        Some(Changes { journals, mark })
    }

    /// Takes back changes that could not be saved: the next save tries again.
    pub fn untake(&self, changes: Changes) {
        self.lock().changed.extend(changes.journals.into_iter().map(|(node, _)| node));
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn replay(&mut self, entry: &[u8]) {
        let Ok(Record { recorder, body: Some(body), .. }) = Record::decode(entry) else {
            return;
        };
        match body {
            // Nodes' records pass through the log as well. Ingest lets none in whose recorder is not that node, so
            // that nobody but the broker can speak of seals and bundles.
            Body::BatchSeal(seal) if recorder == RECORDER => {
                if let Some((node, step)) = step_of(&seal) {
                    self.advance(&node, step);
                }
            }
            Body::BundlePublished(published) if recorder == RECORDER => {
                self.epoch = self.epoch.max(published.epoch);
            }
            Body::Opening(_) => {
                let journal =
                    self.journals.entry(recorder).or_insert_with(|| Journal::at(Position::start(0)));
                journal.remember_late([leaf_hash(entry)]);
            }
            _ => {}
        }
    }

    fn advance(&mut self, node: &str, step: Step) {
        let journal = self
            .journals
            .entry(node.to_owned())
            .or_insert_with(|| Journal::at(Position::start(step.position.epoch)));
        if (step.position.epoch, step.position.last_seq)
            >= (journal.position.epoch, journal.position.last_seq)
        {
            journal.position = step.position;
            journal.first_index = step.first_index;
            journal.entries = step.entries;
        }
        journal.remember_late(step.late);
        self.changed.insert(node.to_owned());
    }
}

/// What a seal says; `None` where it is not one that a broker writes. Late openings are told by the entries before.
fn step_of(seal: &BatchSeal) -> Option<(String, Step)> {
    let header = BatchHeader::decode(seal.header.as_slice()).ok()?;
    let position = Position {
        epoch: header.journal_epoch,
        last_seq: header.last_seq,
        head: Hash::from_slice(&header.head)?,
    };
    let step = Step { position, first_index: seal.first_index, entries: seal.entries, late: Vec::new() };
    Some((header.node, step))
}

/// What a save writes in one atomic batch.
#[derive(Debug, PartialEq)]
pub struct Changes {
    /// The journals that moved, by node.
    pub journals: Vec<(String, StoredJournal)>,
    /// How much of the log they reflect, together with those saved before.
    pub mark: StoredMark,
}

impl From<&Journal> for StoredJournal {
    fn from(journal: &Journal) -> Self {
        StoredJournal {
            epoch: journal.position.epoch,
            last_seq: journal.position.last_seq,
            head: journal.position.head.0.to_vec(),
            first_index: journal.first_index,
            entries: journal.entries,
            late: journal.late.iter().map(|hash| hash.0.to_vec()).collect(),
        }
    }
}

impl StoredJournal {
    /// The journal; `None` where a hash has not its length.
    pub fn journal(&self) -> Option<Journal> {
        let position =
            Position { epoch: self.epoch, last_seq: self.last_seq, head: Hash::from_slice(&self.head)? };
        let late = self.late.iter().map(|hash| Hash::from_slice(hash)).collect::<Option<_>>()?;
        Some(Journal { position, first_index: self.first_index, entries: self.entries, late })
    }
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::audit::v1::{BundlePublished, Opening};
    use proptest::prelude::*;

    use super::*;

    const NODE: &str = "agencies/G01/nodes/n1";

    fn head(seq: u64) -> Hash {
        leaf_hash(&seq.to_be_bytes())
    }

    fn step(epoch: u64, last_seq: u64) -> Step {
        let position = Position { epoch, last_seq, head: head(last_seq) };
        Step { position, first_index: 0, entries: 0, late: Vec::new() }
    }

    fn record(recorder: &str, body: Body) -> Vec<u8> {
        Record { version: 1, recorder: recorder.to_owned(), body: Some(body), ..Record::default() }
            .encode_to_vec()
    }

    fn seal(recorder: &str, node: &str, journal_epoch: u64, last_seq: u64) -> Vec<u8> {
        let header = BatchHeader {
            node: node.to_owned(),
            journal_epoch,
            last_seq,
            head: head(last_seq).0.to_vec(),
            ..BatchHeader::default()
        };
        record(
            recorder,
            Body::BatchSeal(BatchSeal { header: header.encode_to_vec(), ..BatchSeal::default() }),
        )
    }

    #[test]
    fn replaying_the_log_gives_what_was_saved() {
        let opening = record(NODE, Body::Opening(Opening::default()));
        let live = Positions::default();
        live.advance([(NODE.to_owned(), step(1, 3))], 0, 4);
        live.advance([(NODE.to_owned(), Step { late: vec![leaf_hash(&opening)], ..step(1, 5) })], 2, 7);
        let replayed = Positions::default();
        let published = Body::BundlePublished(BundlePublished { epoch: 2, ..BundlePublished::default() });
        let entries =
            [seal(RECORDER, NODE, 1, 3), record(RECORDER, published), opening, seal(RECORDER, NODE, 1, 5)];
        for (index, entry) in (3..).zip(&entries) {
            replayed.replay(index, entry);
        }
        assert_eq!(replayed.journal(NODE), live.journal(NODE));
        assert_eq!(replayed.take_changes(), live.take_changes());
        assert_eq!(live.take_changes(), None);
    }

    #[test]
    fn a_saved_journal_is_read_as_it_was() {
        let positions = Positions::default();
        positions.advance([(NODE.to_owned(), Step { late: vec![head(9)], ..step(1, 3) })], 0, 4);
        let Changes { journals, .. } = positions.take_changes().unwrap();
        let (node, stored) = &journals[0];
        assert_eq!(node, NODE);
        assert_eq!(stored.journal(), positions.journal(NODE));
        assert_eq!(StoredJournal { head: vec![1], ..stored.clone() }.journal(), None);
    }

    #[test]
    fn changes_that_were_not_saved_are_offered_again() {
        let positions = Positions::default();
        positions.advance([(NODE.to_owned(), step(1, 3))], 0, 4);
        let changes = positions.take_changes().unwrap();
        positions.untake(changes);
        assert_eq!(positions.take_changes().unwrap().journals.len(), 1);
    }

    #[test]
    fn a_node_cannot_speak_for_the_broker() {
        let positions = Positions::default();
        positions.replay(0, &seal(NODE, "agencies/G12/nodes/n1", 1, 9));
        assert_eq!(positions.of("agencies/G12/nodes/n1"), None);
        assert_eq!(positions.reflected(), 1);
    }

    #[test]
    fn a_journal_goes_on_or_begins_anew() {
        let held = step(2, 5).position;
        assert!(stands(Some(held), held));
        assert!(stands(None, Position::start(1)) && stands(Some(held), Position::start(3)));
        assert!(!stands(Some(held), Position::start(2)) && !stands(Some(held), Position::start(1)));
        assert!(!stands(Some(held), step(2, 4).position) && !stands(Some(held), step(3, 5).position));
        assert!(!stands(None, held));
    }

    proptest! {
        #[test]
        fn a_position_never_goes_back(moves in proptest::collection::vec((1u64..4, 1u64..50), 1..40)) {
            let positions = Positions::default();
            let mut best = (0, 0);
            for (size, (epoch, last_seq)) in (1..).zip(moves) {
                positions.advance([(NODE.to_owned(), step(epoch, last_seq))], 0, size);
                best = best.max((epoch, last_seq));
                let held = positions.of(NODE).unwrap();
                prop_assert_eq!((held.epoch, held.last_seq, positions.reflected()), (best.0, best.1, size));
            }
        }

        #[test]
        fn any_entry_is_replayed_without_a_panic(entry in proptest::collection::vec(any::<u8>(), 0..200)) {
            Positions::default().replay(0, &entry);
        }
    }
}
