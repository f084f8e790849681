//! What the log has shown: a fold over its records, kept as rows. The same records in the same order give the same rows,
//! so that whoever saves rows and position together can crash and go on.

use std::collections::{BTreeMap, BTreeSet};

use lienthong_proto::lienthong::audit::v1::{Closing, Exchange, Record, Side, Status};
use lienthong_proto::lienthong::options::v1::MethodKind;
use prost::Message;
use time::Date;

use crate::day;
use crate::sign::{self, About, Said, Sign, is_answered};
use crate::tally::{DayCount, LastHeard, OpenStream, Pair, Standing, Tally};

/// Pairs of one year that are told apart; of more, the consumers count together as [`OTHERS`].
pub const PAIRS_MAX: usize = 200_000;
/// Consumers that found no row of their own.
pub const OTHERS: &str = "*";
/// Synchronisations under way that are followed at once; of more, the newest are not.
pub const OPEN_STREAMS_MAX: usize = 100_000;
/// Agencies whose last sign is kept.
pub const AGENCIES_MAX: usize = 100_000;
/// Years that are kept: this one, and those before.
pub const YEARS_KEPT: i32 = 3;

/// A provider and a dataset of it.
pub type Holding = (String, String);

/// What the log has shown.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    tallies: BTreeMap<(i32, Pair), Tally>,
    pub(crate) standings: BTreeMap<(i32, Holding), Standing>,
    pub(crate) days: BTreeMap<(Date, Pair), DayCount>,
    open: BTreeMap<Vec<u8>, OpenStream>,
    heard: BTreeMap<String, LastHeard>,
    /// Rows that records changed: they belong to a position in the log.
    counted: BTreeSet<String>,
    /// Rows that time alone changed.
    timed: BTreeSet<String>,
}

/// Rows to be kept, by key; `None`: one that is gone.
pub type Changes = Vec<(String, Option<Vec<u8>>)>;

/// How a provider's method exchanges records, by provider and gRPC path; `None` for one that is not known.
pub type KindOf<'k> = &'k dyn Fn(&str, &str) -> Option<MethodKind>;

impl Observed {
    /// Takes a record in. `now_ms` is the broker's clock, Unix milliseconds.
    pub fn take(&mut self, record: &Record, kind: KindOf<'_>, now_ms: i64) {
        let Some(Sign { agency, time_ms, said }) = sign::read(record, now_ms) else { return };
        self.hear(agency, time_ms);
        match said {
            Said::Lives => {}
            Said::Denied { about, count } => {
                let tally = self.tally(about.day.year(), about.pair);
                tally.requested = tally.requested.saturating_add(count);
                tally.denied = tally.denied.saturating_add(count);
            }
            Said::Opened { exchange, about } => self.opened(exchange, about, time_ms, kind),
            Said::GoesOn(id) => {
                if let Some(stream) = self.open.get(id).cloned() {
                    let key = self.alive(&stream, time_ms);
                    self.counted.extend(key);
                }
            }
            Said::Closed { closing, exchange, about } => {
                self.count_day(closing, &about);
                match about.side {
                    Side::Provider => self.provided(closing, exchange, about, time_ms, kind),
                    _ => self.consumed(closing, about),
                }
            }
        }
    }

    /// Streams whose provider's node is connected now are alive now, though nothing may flow in them.
    pub fn beat(&mut self, is_connected: &dyn Fn(&str) -> bool, now_ms: i64) {
        let alive: Vec<OpenStream> =
            self.open.values().filter(|stream| is_connected(&stream.node)).cloned().collect();
        for stream in alive {
            if let Some(key) = self.alive(&stream, now_ms) {
                self.timed.insert(key);
            }
        }
    }

    /// What was counted of a dataset of a provider in one year, by consumer.
    pub fn tallies<'o>(
        &'o self,
        year: i32,
        provider: &str,
        dataset: &str,
    ) -> impl Iterator<Item = (&'o str, &'o Tally)> + use<'o> {
        let first =
            Pair { provider: provider.to_owned(), dataset: dataset.to_owned(), consumer: String::new() };
        let (provider, dataset) = (first.provider.clone(), first.dataset.clone());
        self.tallies
            .range((year, first)..)
            .take_while(move |((of, pair), _)| {
                *of == year && pair.provider == provider && pair.dataset == dataset
            })
            .map(|((_, pair), tally)| (pair.consumer.as_str(), tally))
    }

    /// How a provider has kept a dataset in one year.
    pub fn standing(&self, year: i32, provider: &str, dataset: &str) -> Standing {
        self.standings.get(&(year, holding(provider, dataset))).cloned().unwrap_or_default()
    }

    /// Days of a dataset that are counted and not yet closed, the oldest first.
    pub fn days(&self, provider: &str, dataset: &str) -> Vec<(Date, DayCount)> {
        let first =
            Pair { provider: provider.to_owned(), dataset: dataset.to_owned(), consumer: String::new() };
        let mut found = Vec::new();
        let mut next = self.days.keys().next().map(|(day, _)| *day);
        while let Some(day) = next {
            let of_day = self.days.range((day, first.clone())..).take_while(|((of, pair), _)| {
                *of == day && pair.provider == provider && pair.dataset == dataset
            });
            found.extend(of_day.map(|((day, _), count)| (*day, *count)));
            let nobody = Pair { provider: String::new(), dataset: String::new(), consumer: String::new() };
            next = day
                .next_day()
                .and_then(|day| self.days.range((day, nobody)..).next())
                .map(|((day, _), _)| *day);
        }
        found
    }

    /// When a node of the agency was last heard, Unix milliseconds.
    pub fn heard_ms(&self, agency: &str) -> Option<i64> {
        self.heard.get(agency).map(|heard| heard.time_ms)
    }

    /// When a synchronisation of a dataset was last alive, whoever it was with; Unix milliseconds. Years are one.
    pub fn sync_alive_ms(&self, year: i32, provider: &str, dataset: &str) -> Option<i64> {
        let of = |year| self.tallies(year, provider, dataset).map(|(_, tally)| tally.sync_alive_ms).max();
        of(year).into_iter().chain(of(year - 1)).max().filter(|alive| *alive > 0)
    }

    /// Every provider and dataset that a synchronisation was seen of, this year or the last.
    pub fn synchronised(&self, year: i32) -> BTreeSet<Holding> {
        let recent =
            self.tallies.iter().filter(|((of, _), tally)| *of >= year - 1 && tally.sync_alive_ms > 0);
        recent.map(|((_, pair), _)| holding(&pair.provider, &pair.dataset)).collect()
    }

    /// Forgets years that are no longer kept.
    pub fn forget_before(&mut self, year: i32) {
        let old: Vec<(i32, Pair)> = self.tallies.keys().take_while(|(of, _)| *of < year).cloned().collect();
        for key in old {
            self.timed.insert(tally_key(key.0, &key.1));
            self.tallies.remove(&key);
        }
        let old: Vec<(i32, Holding)> =
            self.standings.keys().take_while(|(of, _)| *of < year).cloned().collect();
        for key in old {
            self.timed.insert(standing_key(key.0, &key.1));
            self.standings.remove(&key);
        }
    }

    /// Rows that records have changed since they were last taken: as many as the caller lets pile up.
    pub fn changes(&self) -> usize {
        self.counted.len()
    }

    /// All rows that records have changed, by key; `None` for one that is gone. They are to be kept together with the
    /// position up to which records were taken in.
    pub fn take_counted(&mut self) -> Changes {
        let keys = std::mem::take(&mut self.counted);
        self.timed.retain(|key| !keys.contains(key));
        keys.into_iter().map(|key| (self.row(&key), key)).map(|(row, key)| (key, row)).collect()
    }

    /// At most so many of the rows that time alone has changed: standings before the days that went into them. They may
    /// be kept whenever nothing is left of [`Self::take_counted`].
    pub fn take_timed(&mut self, max: usize) -> Changes {
        let keys: Vec<String> = self.timed.iter().rev().take(max).cloned().collect();
        for key in &keys {
            self.timed.remove(key);
        }
        keys.into_iter().map(|key| (self.row(&key), key)).map(|(row, key)| (key, row)).collect()
    }

    /// Takes back what [`Self::take_counted`] gave and could not be kept.
    pub fn untake_counted(&mut self, changes: Changes) {
        self.counted.extend(changes.into_iter().map(|(key, _)| key));
    }

    /// Takes back what [`Self::take_timed`] gave and could not be kept.
    pub fn untake_timed(&mut self, changes: Changes) {
        self.timed.extend(changes.into_iter().map(|(key, _)| key));
    }

    /// Takes up a row as it was kept; false for one that nobody can have written.
    pub fn restore(&mut self, key: &str, row: &[u8]) -> bool {
        self.read_row(key, row).is_some()
    }

    fn read_row(&mut self, key: &str, row: &[u8]) -> Option<()> {
        let (kind, rest) = key.split_once('/')?;
        match kind {
            "tally" => {
                let (year, pair) = rest.split_once('/')?;
                self.tallies.insert((year.parse().ok()?, Pair::read(pair)?), Tally::decode(row).ok()?);
            }
            "standing" => {
                let (year, of) = rest.split_once('/')?;
                let (provider, dataset) = of.split_once('/')?;
                let key = (year.parse().ok()?, holding(provider, dataset));
                self.standings.insert(key, Standing::decode(row).ok()?);
            }
            "day" => {
                let (date, pair) = rest.split_once('/')?;
                self.days.insert((day::read(date)?, Pair::read(pair)?), DayCount::decode(row).ok()?);
            }
            "open" => {
                self.open.insert(unhex(rest)?, OpenStream::decode(row).ok()?);
            }
            "heard" => {
                self.heard.insert(rest.to_owned(), LastHeard::decode(row).ok()?);
            }
            _ => return None,
        }
        Some(())
    }

    fn row(&self, key: &str) -> Option<Vec<u8>> {
        let (kind, rest) = key.split_once('/')?;
        match kind {
            "tally" => {
                let (year, pair) = rest.split_once('/')?;
                self.tallies.get(&(year.parse().ok()?, Pair::read(pair)?)).map(Message::encode_to_vec)
            }
            "standing" => {
                let (year, of) = rest.split_once('/')?;
                let (provider, dataset) = of.split_once('/')?;
                let key = (year.parse().ok()?, holding(provider, dataset));
                self.standings.get(&key).map(Message::encode_to_vec)
            }
            "day" => {
                let (date, pair) = rest.split_once('/')?;
                self.days.get(&(day::read(date)?, Pair::read(pair)?)).map(Message::encode_to_vec)
            }
            "open" => self.open.get(&unhex(rest)?).map(Message::encode_to_vec),
            "heard" => self.heard.get(rest).map(Message::encode_to_vec),
            _ => None,
        }
    }

    fn hear(&mut self, agency: &str, time_ms: i64) {
        if self.heard.len() >= AGENCIES_MAX && !self.heard.contains_key(agency) {
            return;
        }
        let heard = self.heard.entry(agency.to_owned()).or_default();
        if heard.time_ms < time_ms {
            heard.time_ms = time_ms;
            self.counted.insert(format!("heard/{agency}"));
        }
    }

    fn opened(&mut self, exchange: &Exchange, about: About, time_ms: i64, kind: KindOf<'_>) {
        let Some(copy) = synchronises(exchange, kind).filter(|_| about.side == Side::Provider) else {
            return;
        };
        if self.open.len() >= OPEN_STREAMS_MAX {
            return;
        }
        let Pair { provider, dataset, consumer } = about.pair;
        let node = exchange.provider_node.clone();
        let stream = OpenStream { provider, dataset, consumer, node, copy, begin_ms: time_ms };
        let key = self.alive(&stream, time_ms);
        self.counted.extend(key);
        self.counted.insert(open_key(&exchange.id));
        self.open.insert(exchange.id.clone(), stream);
    }

    fn provided(
        &mut self,
        closing: &Closing,
        exchange: &Exchange,
        about: About,
        time_ms: i64,
        kind: KindOf<'_>,
    ) {
        let status = closing.status();
        if self.open.remove(&exchange.id).is_some() {
            self.counted.insert(open_key(&exchange.id));
        }
        let flowed = is_answered(status) || status == Status::Partial;
        let copy = synchronises(exchange, kind).filter(|_| flowed);
        let tally = self.tally(about.day.year(), about.pair);
        if is_answered(status) {
            tally.answered_within(closing.duration_us);
        }
        if let Some(quality) = &closing.quality {
            tally.sampled(quality);
        }
        if let Some(copy) = copy {
            tally.sync_alive_ms = tally.sync_alive_ms.max(time_ms);
            if copy {
                tally.copy_alive_ms = tally.copy_alive_ms.max(time_ms);
            }
        }
    }

    fn consumed(&mut self, closing: &Closing, about: About) {
        let tally = self.tally(about.day.year(), about.pair);
        tally.requested += 1;
        tally.records = tally.records.saturating_add(closing.records);
        match closing.status() {
            Status::Delivered | Status::Empty | Status::Partial => tally.served += 1,
            Status::Denied => tally.denied += 1,
            Status::Refused => tally.refused += 1,
            Status::Failed | Status::UnknownAfterCrash | Status::Unspecified => tally.failed += 1,
        }
    }

    fn count_day(&mut self, closing: &Closing, about: &About) {
        let pair = self.room_of(about.day.year(), about.pair.clone());
        self.counted.insert(day_key(about.day, &pair));
        let count = self.days.entry((about.day, pair)).or_default();
        let answered = u64::from(is_answered(closing.status()));
        if about.side == Side::Consumer {
            count.consumer_all += 1;
            count.consumer_answered += answered;
        } else {
            count.provider_all += 1;
            count.provider_answered += answered;
        }
    }

    /// Notes that a synchronisation is alive; answers the key of the row that says so.
    fn alive(&mut self, stream: &OpenStream, time_ms: i64) -> Option<String> {
        let pair = Pair::new(&stream.provider, &stream.dataset, &stream.consumer)?;
        let year = day::of_ms(time_ms).year();
        let pair = self.room_of(year, pair);
        let key = tally_key(year, &pair);
        let tally = self.tallies.entry((year, pair)).or_default();
        tally.sync_alive_ms = tally.sync_alive_ms.max(time_ms);
        if stream.copy {
            tally.copy_alive_ms = tally.copy_alive_ms.max(time_ms);
        }
        Some(key)
    }

    fn tally(&mut self, year: i32, pair: Pair) -> &mut Tally {
        let pair = self.room_of(year, pair);
        self.counted.insert(tally_key(year, &pair));
        self.tallies.entry((year, pair)).or_default()
    }

    /// The pair under which something counts: its own, while there is room.
    fn room_of(&self, year: i32, pair: Pair) -> Pair {
        if self.tallies.len() < PAIRS_MAX || self.tallies.contains_key(&(year, pair.clone())) {
            return pair;
        }
        Pair { consumer: OTHERS.to_owned(), ..pair }
    }

    pub(crate) fn change_standing(&mut self, year: i32, of: &Holding, change: impl FnOnce(&mut Standing)) {
        self.timed.insert(standing_key(year, of));
        change(self.standings.entry((year, of.clone())).or_default());
    }

    pub(crate) fn drop_day(&mut self, key: &(Date, Pair)) {
        self.timed.insert(day_key(key.0, &key.1));
        self.days.remove(key);
    }
}

/// Whether an exchange synchronises: `Some(true)` the consumer's own copy, `Some(false)` the National General Database.
fn synchronises(exchange: &Exchange, kind: KindOf<'_>) -> Option<bool> {
    match kind(&exchange.provider, &exchange.method)? {
        MethodKind::SyncToConsumer => Some(true),
        MethodKind::SyncToNationalDb => Some(false),
        _ => None,
    }
}

pub(crate) fn holding(provider: &str, dataset: &str) -> Holding {
    (provider.to_owned(), dataset.to_owned())
}

fn tally_key(year: i32, pair: &Pair) -> String {
    format!("tally/{year}/{pair}")
}

fn standing_key(year: i32, (provider, dataset): &Holding) -> String {
    format!("standing/{year}/{provider}/{dataset}")
}

fn day_key(day: Date, pair: &Pair) -> String {
    format!("day/{}/{pair}", day::written(day))
}

fn open_key(id: &[u8]) -> String {
    use std::fmt::Write as _;
    id.iter().fold("open/".to_owned(), |mut key, byte| {
        // INVARIANT: writing to a String does not fail.
        let _ = write!(key, "{byte:02x}");
        key
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
