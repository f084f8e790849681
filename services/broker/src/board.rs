//! The acknowledgement board: which node decides by which epoch, judges by which revocation lists, and since when; and
//! when the last connection was gone that may not go on.
//!
//! Kept in memory only: whenever a node connects it says again what it holds and what it last cut. What of that is on
//! record already is known from the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lienthong_proto::lienthong::control::v1::RevocationState;
use lienthong_proto::lienthong::control::v1::watch_rights_request::Acknowledgement;
use prost_types::Timestamp;
use time::OffsetDateTime;

use crate::bundle::sha256;
use crate::limits::{BOARD_LISTS_MAX, BOARD_TEXT_BYTES_MAX, BOARD_TIME_AHEAD_S_MAX};
use crate::receipts::Effect;
use crate::stored::StoredReceipt;
use crate::text;

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Watch streams that it holds open now.
    pub watches: usize,
    /// Version of its software, as it says.
    pub software_version: String,
    /// Epoch of the newest bundle that was handed to it.
    pub sent_epoch: u64,
    /// Epoch by which it decides, as it acknowledged; 0: unknown.
    pub applied_epoch: u64,
    /// When it began to decide by it, by its clock.
    pub applied_time: Option<Timestamp>,
    /// Why it did not take the bundle last handed to it; empty when it did.
    pub error: String,
    /// Version of the mesh trust file that it holds, as it says; 0: unknown.
    pub trust_version: u64,
    /// Why it did not take the trust file last handed to it; empty when it did.
    pub trust_error: String,
    /// The revocation lists by which it judges.
    pub revocation: Vec<InForce>,
    /// What it cut when it last took a bundle that made it cut something.
    pub cut: Option<Cut>,
    /// End of validity of the certificate with which it last began to watch.
    pub certificate_not_after: Option<OffsetDateTime>,
    /// The newest epoch there was when it said hello, or that it was handed: it can speak of no later one.
    known_epoch: u64,
    /// What of its receipts is on record.
    on_record: StoredReceipt,
}

/// A revocation list by which a node judges.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// Which.
    pub list: RevocationState,
    /// Since when, by the node's clock.
    pub since: Option<Timestamp>,
}

/// Connections that a node cut because a bundle no longer let their peer in.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// Epoch of the bundle.
    pub epoch: u64,
    /// How many.
    pub connections: u32,
    /// When the last of them was gone, with its streams, by the node's clock; `None`: not yet.
    pub gone: Option<Timestamp>,
}

/// What one node has made of a revocation list.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Resource name of the node.
    pub node: String,
    /// Whether it watches now.
    pub connected: bool,
    /// Since when it judges by that list or a newer one of the same authority; `None`: not yet.
    pub since: Option<Timestamp>,
    /// What it last cut.
    pub cut: Option<Cut>,
}

/// The board. Cheap to clone; all clones show the same rows.
#[derive(Clone, Debug, Default)]
pub struct Board {
    rows: Arc<Mutex<BTreeMap<String, Row>>>,
    /// What was on record when the broker started.
    on_record: Arc<BTreeMap<String, StoredReceipt>>,
}

impl Board {
    /// An empty board, which knows what of the nodes' receipts is on record.
    pub fn knowing(on_record: BTreeMap<String, StoredReceipt>) -> Board {
        Board { rows: Arc::default(), on_record: Arc::new(on_record) }
    }

    /// Every node that has watched since the broker started, by resource name.
    pub fn rows(&self) -> BTreeMap<String, Row> {
        self.lock().clone()
    }

    /// One node's row.
    pub fn row(&self, node: &str) -> Option<Row> {
        self.lock().get(node).cloned()
    }

    /// Nodes that hold a watch stream open now.
    pub fn connected(&self) -> usize {
        self.lock().values().filter(|row| row.watches > 0).count()
    }

    /// Nodes that are connected and decide by an epoch older than `epoch`.
    pub fn behind(&self, epoch: u64) -> usize {
        self.lock().values().filter(|row| row.watches > 0 && row.applied_epoch < epoch).count()
    }

    /// Nodes that are connected and hold a mesh trust file older than `version`.
    pub fn behind_trust(&self, version: u64) -> usize {
        self.lock().values().filter(|row| row.watches > 0 && row.trust_version < version).count()
    }

    /// What every node has made of a revocation list: who judges by it or a newer one, and since when.
    pub fn receipts(&self, list: &RevocationState) -> Vec<Receipt> {
        let rank = |list: &RevocationState| (list.crl_number.len(), list.crl_number.clone());
        let since = |row: &Row| {
            let same = row.revocation.iter().find(|held| held.list.authority == list.authority)?;
            if rank(&same.list) >= rank(list) { same.since } else { None }
        };
        let receipt = |(node, row): (&String, &Row)| Receipt {
            node: node.clone(),
            connected: row.watches > 0,
            since: since(row),
            cut: row.cut.clone(),
        };
        self.lock().iter().map(receipt).collect()
    }

    /// Enters a watch stream of `node`, while `newest_epoch` is in force; it leaves when the entry is dropped.
    pub(crate) fn enter(
        &self,
        node: &str,
        software_version: &str,
        held_epoch: u64,
        newest_epoch: u64,
    ) -> Entry {
        let mut rows = self.lock();
        let row = rows.entry(node.to_owned()).or_insert_with(|| {
            let on_record = self.on_record.get(node).cloned().unwrap_or_default();
            Row { on_record, ..Row::default() }
        });
        row.watches += 1;
        row.known_epoch = row.known_epoch.max(newest_epoch);
        cut(software_version).clone_into(&mut row.software_version);
        // What a node says of itself is believed as far as there is such an epoch.
        row.applied_epoch = held_epoch.min(row.known_epoch);
        drop(rows);
        Entry { board: self.clone(), node: node.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        // Rows are plain values; a panic elsewhere cannot leave one half written.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One watch stream on the board.
#[derive(Debug)]
pub(crate) struct Entry {
    board: Board,
    node: String,
}

impl Entry {
    /// Notes that a bundle was handed over.
    pub(crate) fn sent(&self, epoch: u64) {
        self.with(|row| {
            row.sent_epoch = row.sent_epoch.max(epoch);
            row.known_epoch = row.known_epoch.max(epoch);
        });
    }

    /// Notes what the node says about a bundle. Returns what is worth a place on record: that another revocation list
    /// is in force, or that what had to be cut is gone. Each once for an epoch that there is, whatever the node says and
    /// however often, so that no node fills the log.
    ///
    /// # Errors
    /// What cannot be: nothing of it is noted but that.
    pub(crate) fn acknowledged(
        &self,
        said: &Acknowledgement,
        now: Timestamp,
    ) -> Result<Option<Effect>, &'static str> {
        self.with(|row| row.acknowledged(said, now)).unwrap_or(Ok(None))
    }

    /// Notes until when the certificate is valid with which the node watches.
    pub(crate) fn certified_until(&self, not_after: OffsetDateTime) {
        self.with(|row| row.certificate_not_after = Some(not_after));
    }

    /// Notes which mesh trust file the node holds, and why not a newer one.
    pub(crate) fn trusts(&self, version: u64, error: &str) {
        self.with(|row| {
            row.trust_version = version;
            cut(error).clone_into(&mut row.trust_error);
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Row) -> T) -> Option<T> {
        self.board.lock().get_mut(&self.node).map(change)
    }
}

impl Row {
    fn acknowledged(
        &mut self,
        said: &Acknowledgement,
        now: Timestamp,
    ) -> Result<Option<Effect>, &'static str> {
        if !said.error.is_empty() {
            cut(&said.error).clone_into(&mut self.error);
            return Ok(None);
        }
        if let Err(why) = can_be(said, self.known_epoch, now) {
            why.clone_into(&mut self.error);
            return Err(why);
        }
        if said.epoch >= self.applied_epoch {
            self.error.clear();
            self.applied_epoch = said.epoch;
            self.applied_time = said.applied_time;
            self.judge_by(said);
        }
        // What an earlier bundle made it cut is told later than what the newest one did, where the stream broke between.
        let gone = said.cut_time;
        if said.connections_cut > 0 && self.cut.as_ref().is_none_or(|held| held.epoch <= said.epoch) {
            let told = self.cut.as_ref().filter(|held| held.epoch == said.epoch).and_then(|held| held.gone);
            let gone = gone.or(told);
            self.cut = Some(Cut { epoch: said.epoch, connections: said.connections_cut, gone });
        }
        let what = match (said.connections_cut, gone) {
            (0, _) => "revocation lists in force".to_owned(),
            (count, Some(_)) => format!("{count} connections cut and gone"),
            // Told once they are gone.
            (_, None) => return Ok(None),
        };
        let Some(on_record) = self.due(said) else { return Ok(None) };
        self.on_record.clone_from(&on_record);
        Ok(Some(Effect { epoch: said.epoch, what, on_record }))
    }

    /// What is on record once this receipt is, if it is not yet, and there is such an epoch.
    fn due(&self, said: &Acknowledgement) -> Option<StoredReceipt> {
        let before = &self.on_record;
        let lists = digest(said);
        let listed = said.epoch > before.lists_epoch;
        if said.epoch > self.known_epoch {
            return None;
        }
        if said.connections_cut > 0 {
            let (lists_epoch, lists) =
                if listed { (said.epoch, lists) } else { (before.lists_epoch, before.lists.clone()) };
            let due = StoredReceipt { lists_epoch, lists, cut_epoch: said.epoch };
            return (said.epoch > before.cut_epoch && said.epoch != before.lists_epoch).then_some(due);
        }
        (listed && lists != before.lists).then_some(StoredReceipt {
            lists_epoch: said.epoch,
            lists,
            ..before.clone()
        })
    }

    /// Which lists are in force, and since when: a list that was in force before is since then.
    fn judge_by(&mut self, said: &Acknowledgement) {
        let before = std::mem::take(&mut self.revocation);
        for list in said.revocation.iter().take(BOARD_LISTS_MAX) {
            let same = |held: &&InForce| {
                held.list.authority == list.authority && held.list.crl_number == list.crl_number
            };
            let held = before.iter().find(same);
            let list = RevocationState { issuer: cut(&list.issuer).to_owned(), ..list.clone() };
            let since = held.map_or(said.applied_time, |held| held.since);
            self.revocation.push(InForce { list, since });
        }
    }
}

/// SHA-256 over the lists that a node says it judges by.
fn digest(said: &Acknowledgement) -> Vec<u8> {
    let mut lists: Vec<_> = said.revocation.iter().take(BOARD_LISTS_MAX).collect();
    lists.sort_by_key(|list| &list.authority);
    let mut bytes = Vec::new();
    for part in lists.iter().flat_map(|list| [&list.authority, &list.crl_number]) {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    sha256(&bytes).to_vec()
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.with(|row| row.watches = row.watches.saturating_sub(1));
    }
}

/// Whether an acknowledgement can be: there is such an epoch, it has taken effect at some time, and nothing happens later than
/// now.
fn can_be(said: &Acknowledgement, known_epoch: u64, now: Timestamp) -> Result<(), &'static str> {
    if said.epoch > known_epoch {
        return Err("the acknowledgement names an epoch that this broker never gave");
    }
    let possible = |time: &Timestamp| {
        (0..1_000_000_000).contains(&time.nanos)
            && (0..=now.seconds.saturating_add(BOARD_TIME_AHEAD_S_MAX)).contains(&time.seconds)
    };
    match (&said.applied_time, &said.cut_time) {
        (None, _) => Err("the acknowledgement does not say since when the bundle is in effect"),
        (Some(applied), cut) if !possible(applied) || !cut.iter().all(possible) => {
            Err("the acknowledgement names a time that cannot be; see the clock of the node")
        }
        _ => Ok(()),
    }
}

/// The beginning of a text that somebody else wrote.
fn cut(text: &str) -> &str {
    text::cut(text, BOARD_TEXT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "agencies/G01/nodes/n1";

    fn time(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    fn applied(epoch: u64, seconds: i64) -> Acknowledgement {
        Acknowledgement { epoch, applied_time: Some(time(seconds)), ..Acknowledgement::default() }
    }

    /// What is worth a place on record, an hour into 1970.
    fn heard(entry: &Entry, said: &Acknowledgement) -> Option<String> {
        entry.acknowledged(said, time(3_600)).unwrap().map(|effect| effect.what)
    }

    fn list(number: u8) -> RevocationState {
        RevocationState { authority: vec![7; 32], issuer: "CN=DEMO".to_owned(), crl_number: vec![number] }
    }

    #[test]
    fn a_receipt_that_is_said_again_is_put_on_record_once_also_by_the_next_broker() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 0, 4);
        entry.sent(4);
        let cut = Acknowledgement { revocation: vec![list(5)], connections_cut: 2, ..applied(4, 20) };
        assert_eq!(heard(&entry, &cut), None);
        // The stream breaks before the node says that they are gone; meanwhile another epoch comes.
        drop(entry);
        let entry = board.enter(NODE, "0.1.0", 4, 5);
        entry.sent(5);
        let newest = Acknowledgement { revocation: vec![list(5)], ..applied(5, 30) };
        assert_eq!(heard(&entry, &newest).as_deref(), Some("revocation lists in force"));
        let gone = Acknowledgement { cut_time: Some(time(21)), ..cut };
        let effect = entry.acknowledged(&gone, time(3_600)).unwrap().unwrap();
        assert_eq!((effect.epoch, effect.what.as_str()), (4, "2 connections cut and gone"));
        let row = board.row(NODE).unwrap();
        assert_eq!((row.applied_epoch, row.cut.unwrap().gone), (5, Some(time(21))));
        drop(entry);

        let next = Board::knowing([(NODE.to_owned(), effect.on_record)].into());
        let entry = next.enter(NODE, "0.1.0", 5, 5);
        for _ in 0..3 {
            assert_eq!((heard(&entry, &gone), heard(&entry, &newest)), (None, None));
        }
        let receipt = &next.receipts(&list(5))[0];
        assert_eq!(receipt.cut.as_ref().and_then(|cut| cut.gone), Some(time(21)), "the board shows it again");
        // A broker that does not know it puts it on record.
        let other = Board::default().enter(NODE, "0.1.0", 5, 5);
        assert!(heard(&other, &newest).is_some());
    }

    #[test]
    fn a_revocation_is_in_effect_where_a_node_says_so_and_since_then() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 0, 0);
        let idle = board.enter("agencies/G02/nodes/n1", "0.1.0", 0, 0);
        entry.sent(3);
        let first = Acknowledgement { revocation: vec![list(4)], ..applied(3, 10) };
        assert_eq!(heard(&entry, &first).as_deref(), Some("revocation lists in force"));
        assert_eq!(heard(&entry, &first), None, "once an epoch");

        entry.sent(4);
        let told = Acknowledgement { revocation: vec![list(5)], connections_cut: 2, ..applied(4, 20) };
        assert_eq!(heard(&entry, &told), None, "they are not gone yet");
        let receipts = board.receipts(&list(5));
        assert_eq!(receipts[0].since, Some(time(20)));
        assert_eq!(receipts[0].cut, Some(Cut { epoch: 4, connections: 2, gone: None }));
        assert_eq!((receipts[1].node.as_str(), receipts[1].since), ("agencies/G02/nodes/n1", None));
        let gone = Acknowledgement { cut_time: Some(time(21)), ..told };
        assert_eq!(heard(&entry, &gone).as_deref(), Some("2 connections cut and gone"));
        assert_eq!(heard(&entry, &gone), None, "once an epoch");
        assert_eq!(board.receipts(&list(4))[0].cut.as_ref().and_then(|cut| cut.gone), Some(time(21)));

        // The same list under a later epoch: in force since it came.
        entry.sent(5);
        let later = Acknowledgement { revocation: vec![list(5)], ..applied(5, 30) };
        assert_eq!(heard(&entry, &later), None);
        assert_eq!(board.receipts(&list(5))[0].since, Some(time(20)));
        assert_eq!(board.receipts(&list(6))[0].since, None);
        drop((entry, idle));
        assert!(!board.receipts(&list(5))[0].connected);
    }

    #[test]
    fn a_node_that_makes_up_epochs_gets_no_place_on_record_nor_on_the_board() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 77, 0);
        entry.sent(3);
        for epoch in 4..100 {
            let made_up = Acknowledgement { revocation: vec![list(1); 1_000], ..applied(epoch, 1) };
            let why = entry.acknowledged(&made_up, time(3_600)).unwrap_err();
            let row = board.row(NODE).unwrap();
            assert_eq!((row.applied_epoch, row.revocation.len(), row.error.as_str()), (0, 0, why));
        }
        assert_eq!(board.behind(3), 1);
        let many = Acknowledgement { revocation: vec![list(1); 1_000], ..applied(3, 1) };
        assert!(heard(&entry, &many).is_some());
        assert_eq!(board.row(NODE).unwrap().revocation.len(), BOARD_LISTS_MAX);
    }

    #[test]
    fn a_node_gets_one_place_on_record_an_epoch_whatever_it_says() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 0, 0);
        let mut records = 0;
        for epoch in 1..=3 {
            entry.sent(epoch);
            for number in 0..200 {
                let cut = u32::from(number % 3);
                let cut_time = (number % 2 == 0).then(|| time(20));
                let said = Acknowledgement {
                    revocation: vec![list(number)],
                    connections_cut: cut,
                    cut_time,
                    ..applied(epoch, 10)
                };
                records += usize::from(heard(&entry, &said).is_some());
            }
            // A node that connects again says the same again.
            let again = board.enter(NODE, "0.1.0", 0, 0);
            records += usize::from(heard(&again, &applied(epoch, 10)).is_some());
        }
        assert_eq!((records, board.row(NODE).unwrap().on_record.lists_epoch), (3, 3));
    }

    #[test]
    fn what_cannot_be_is_refused_and_shown() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 0, 0);
        entry.sent(1);
        let now = time(1_000_000);
        let at = |seconds: i64, nanos: i32| Some(Timestamp { seconds, nanos });
        let said = |applied_time, cut_time| Acknowledgement {
            revocation: vec![list(1)],
            applied_time,
            cut_time,
            ..applied(1, 0)
        };
        for (applied_time, cut_time) in [
            (None, None),
            (None, at(5, 0)),
            (at(-1, 0), None),
            (at(i64::MAX, 0), None),
            (at(1_000_000 + BOARD_TIME_AHEAD_S_MAX + 1, 0), None),
            (at(5, -1), None),
            (at(5, 1_000_000_000), None),
            (at(5, 0), at(i64::MAX, 0)),
        ] {
            let why = entry.acknowledged(&said(applied_time, cut_time), now).unwrap_err();
            let row = board.row(NODE).unwrap();
            assert_eq!((row.error.as_str(), row.applied_epoch, row.revocation.len()), (why, 0, 0));
        }
        assert!(entry.acknowledged(&said(at(999_999, 0), None), now).unwrap().is_some());
        assert_eq!(board.row(NODE).unwrap().error, "");
    }

    #[test]
    fn a_node_is_behind_until_it_says_otherwise() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 0, 0);
        entry.sent(3);
        assert_eq!((board.connected(), board.behind(3)), (1, 1));
        heard(&entry, &applied(3, 9));
        assert_eq!(board.behind(3), 0);
        assert_eq!(board.row(NODE).unwrap().applied_time.unwrap().seconds, 9);
        drop(entry);
        assert_eq!((board.connected(), board.behind(4)), (0, 0));
    }

    #[test]
    fn a_refused_bundle_leaves_the_epoch_and_shows_why() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 2, 2);
        heard(&entry, &Acknowledgement { error: "lỗi ".repeat(200), ..applied(3, 9) });
        let row = board.row(NODE).unwrap();
        assert_eq!(row.applied_epoch, 2);
        assert!(row.error.starts_with("lỗi") && row.error.len() <= BOARD_TEXT_BYTES_MAX);
    }
}
