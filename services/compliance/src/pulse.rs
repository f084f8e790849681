//! What time brings to what was observed: data goes stale and flows again, copies grow too old, days are reconciled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use time::{Date, OffsetDateTime};

use crate::day;
use crate::observed::{Holding, Observed, YEARS_KEPT, holding};
use crate::tally::{DayCount, Pair};

/// Days after which a day's counts are closed for good. Until then records that come late still count.
pub const DAYS_OPEN: i64 = 8;
/// How long after its end a day is first looked at, milliseconds: journals ship within seconds.
pub const SETTLE_MS: i64 = 60 * 60 * 1_000;

/// What the data of one provider and dataset is held to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The furthest that it may lag; `None`: nothing is demanded.
    pub lag_max: Option<Duration>,
    /// The oldest that a consumer's copy may be; `None`: nothing is demanded.
    pub copy_age_max: Option<Duration>,
    /// Whether an outage is announced for now.
    pub is_planned: bool,
}

/// Something that began or ended, to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Data is stale.
    Stale {
        /// Whose, and which.
        of: Holding,
        /// Since when, Unix milliseconds: tells this time from others.
        since_ms: i64,
        /// How far it lags, milliseconds.
        lag_ms: i64,
        /// How far it may, milliseconds.
        allowed_ms: i64,
    },
    /// Data flows again.
    Fresh {
        /// Whose, and which.
        of: Holding,
        /// Since when it had been stale.
        since_ms: i64,
    },
    /// A consumer's copy is too old.
    InvalidCopy {
        /// Whose.
        pair: Pair,
        /// When it was last fed, Unix milliseconds: tells this time from others.
        alive_ms: i64,
        /// How old it may be, milliseconds.
        allowed_ms: i64,
    },
    /// Both sides have counted a day differently.
    CountsDiffer {
        /// Whose.
        pair: Pair,
        /// Which day.
        day: Date,
        /// What they counted.
        count: DayCount,
    },
    /// They agree now: a record came late.
    CountsAgree {
        /// Whose.
        pair: Pair,
        /// Which day.
        day: Date,
    },
    /// A day was closed for good: of so many pairs, so many differ.
    DayClosed {
        /// Which.
        day: Date,
        /// Pairs.
        pairs: usize,
        /// Of them those whose counts differ.
        differing: usize,
    },
}

impl Observed {
    /// Lets time pass. What is told of a state is told again each time as long as it lasts, under the same since and
    /// day: whoever listens keeps what is new.
    pub fn pulse(&mut self, demands: &BTreeMap<Holding, Demand>, now: OffsetDateTime) -> Vec<News> {
        let (today, now_ms) = (day::of(now), day::unix_ms(now));
        let mut news = Vec::new();
        for of in self.synchronised(today.year()) {
            if let Some(demand) = demands.get(&of) {
                self.look_at(&of, demand, today, now_ms, &mut news);
                self.look_at_copies(&of, demand, today, now_ms, &mut news);
            }
        }
        self.reconcile(now_ms, today, &mut news);
        self.forget_before(today.year() - YEARS_KEPT + 1);
        news
    }

    fn look_at(&mut self, of: &Holding, demand: &Demand, today: Date, now_ms: i64, news: &mut Vec<News>) {
        let Some(allowed_ms) = demand.lag_max.map(millis) else { return };
        let Some(alive_ms) = self.sync_alive_ms(today.year(), &of.0, &of.1) else { return };
        let lag_ms = now_ms.saturating_sub(alive_ms).max(0);
        let is_stale = lag_ms > allowed_ms && !demand.is_planned;
        let year = today.year();
        let mut standing = self.standing(year, &of.0, &of.1);
        let before = standing.clone();
        let written = day::written(today);
        if standing.day != written {
            if !standing.day.is_empty() {
                standing.due_days += 1;
                standing.live_days += u32::from(!standing.day_was_stale);
            }
            standing.day = written;
            standing.day_was_stale = false;
        }
        if !demand.is_planned {
            standing.longest_ms = standing.longest_ms.max(if is_stale { lag_ms } else { 0 });
        }
        if is_stale {
            standing.day_was_stale = true;
            if standing.stale_since_ms == 0 {
                standing.stale_since_ms = alive_ms.saturating_add(allowed_ms);
                standing.episodes += 1;
            }
            let since_ms = standing.stale_since_ms;
            news.push(News::Stale { of: of.clone(), since_ms, lag_ms, allowed_ms });
        } else if standing.stale_since_ms != 0 {
            let since_ms = std::mem::take(&mut standing.stale_since_ms);
            news.push(News::Fresh { of: of.clone(), since_ms });
        }
        // The year's last episode may end in the next one.
        if standing.stale_since_ms == 0 && !is_stale {
            let last = self.standing(year - 1, &of.0, &of.1).stale_since_ms;
            if last != 0 {
                self.change_standing(year - 1, of, |standing| standing.stale_since_ms = 0);
                news.push(News::Fresh { of: of.clone(), since_ms: last });
            }
        }
        if standing != before {
            self.change_standing(year, of, |kept| *kept = standing);
        }
    }

    fn look_at_copies(
        &mut self,
        of: &Holding,
        demand: &Demand,
        today: Date,
        now_ms: i64,
        news: &mut Vec<News>,
    ) {
        let Some(allowed_ms) = demand.copy_age_max.map(millis) else { return };
        let mut fed: BTreeMap<String, i64> = BTreeMap::new();
        for year in [today.year() - 1, today.year()] {
            for (consumer, tally) in self.tallies(year, &of.0, &of.1) {
                let alive = fed.entry(consumer.to_owned()).or_default();
                *alive = tally.copy_alive_ms.max(*alive);
            }
        }
        for (consumer, alive_ms) in fed {
            if alive_ms > 0 && now_ms.saturating_sub(alive_ms) > allowed_ms {
                let pair = Pair { provider: of.0.clone(), dataset: of.1.clone(), consumer };
                news.push(News::InvalidCopy { pair, alive_ms, allowed_ms });
            }
        }
    }

    fn reconcile(&mut self, now_ms: i64, today: Date, news: &mut Vec<News>) {
        let settled: Vec<((Date, Pair), DayCount)> = self
            .days
            .iter()
            .take_while(|((day, _), _)| day::end_ms(*day).saturating_add(SETTLE_MS) <= now_ms)
            .map(|(key, count)| (key.clone(), *count))
            .collect();
        let mut closed: BTreeMap<Date, (usize, usize)> = BTreeMap::new();
        let mut holdings: BTreeMap<(Date, Holding), bool> = BTreeMap::new();
        for (key, count) in settled {
            let (day, pair) = &key;
            let agrees = count.agrees();
            let (day, pair) = (*day, pair.clone());
            news.push(if agrees {
                News::CountsAgree { pair: pair.clone(), day }
            } else {
                News::CountsDiffer { pair: pair.clone(), day, count }
            });
            if (today - day).whole_days() >= DAYS_OPEN {
                let of_day = closed.entry(day).or_default();
                of_day.0 += 1;
                of_day.1 += usize::from(!agrees);
                *holdings.entry((day, holding(&pair.provider, &pair.dataset))).or_insert(true) &= agrees;
                self.drop_day(&key);
            }
        }
        for ((day, of), agrees) in holdings {
            let written = day::written(day);
            if self.standing(day.year(), &of.0, &of.1).closed_day < written {
                self.change_standing(day.year(), &of, |standing| {
                    standing.reconciled_days += 1;
                    standing.differing_days += u32::from(!agrees);
                    standing.closed_day = written;
                });
            }
        }
        for (day, (pairs, differing)) in closed {
            news.push(News::DayClosed { day, pairs, differing });
        }
    }

    /// The last day that has settled, of one dataset: its counts, and how many days were reconciled and differ this year.
    pub fn reconciled(&self, provider: &str, dataset: &str, now: OffsetDateTime) -> Reconciled {
        let (now_ms, year) = (day::unix_ms(now), day::of(now).year());
        let standing = self.standing(year, provider, dataset);
        let mut last: BTreeMap<Date, (DayCount, bool)> = BTreeMap::new();
        for (day, count) in self.days(provider, dataset) {
            if day::end_ms(day).saturating_add(SETTLE_MS) > now_ms {
                continue;
            }
            let (sum, agrees) = last.entry(day).or_insert((DayCount::default(), true));
            sum.consumer_all += count.consumer_all;
            sum.consumer_answered += count.consumer_answered;
            sum.provider_all += count.provider_all;
            sum.provider_answered += count.provider_answered;
            *agrees &= count.agrees();
        }
        let of_year: BTreeSet<(Date, bool)> = last
            .iter()
            .filter(|(day, _)| day.year() == year)
            .map(|(day, (_, agrees))| (*day, *agrees))
            .collect();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Reconciled {
            last: last.iter().next_back().map(|(day, (sum, _))| (*day, *sum)),
            days: standing.reconciled_days + count(of_year.len()),
            differing: standing.differing_days + count(of_year.iter().filter(|(_, agrees)| !agrees).count()),
        }
    }
}

/// What both sides have counted of one dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reconciled {
    /// The last day, and its sums.
    pub last: Option<(Date, DayCount)>,
    /// Days of this year.
    pub days: u32,
    /// Of them those on which a pair's counts differ.
    pub differing: u32,
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
