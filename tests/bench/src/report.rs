//! How results are shown: aligned text for a terminal, the same tables in Markdown for `docs/benchmarks.md`, JSON for
//! machines. Pure.

mod plot;
mod table;

use std::fmt::Write;

use crate::alone::Alone;
use crate::contestant::Contestant;
use crate::exchange::{GRANTED, PAYLOADS_BYTES};
use crate::plan::{CONCURRENCIES, Case, FRESH_CONCURRENCY, Plan, size};
use crate::quantile::Spread;
use crate::summary::{Goal, Recorded, Results, Sample};
use table::Table;

/// Percent of the processors that others may keep busy before a run counts as disturbed.
const OTHERS_BUSY_PERCENT_MAX: f64 = 10.0;

/// Everything that a report tells.
pub struct Report<'a> {
    /// How the run went.
    pub plan: &'a Plan,
    /// What it saw.
    pub results: &'a Results,
    /// Whether the baselines were good builds.
    pub validity: &'a [Goal],
    /// Goals.
    pub goals: &'a [Goal],
    /// Rights in the provider's bundle.
    pub rights: u32,
    /// Memory of each process of our mesh at the end, MiB.
    pub memory_mib: &'a [(String, f64)],
}

impl Report<'_> {
    /// For a terminal.
    pub fn text(&self) -> String {
        let tables = self.tables().into_iter().map(|table| table.text());
        tables.chain([self.remarks().join("\n")]).collect::<Vec<_>>().join("\n")
    }

    /// One JSON object a goal, one a line.
    pub fn json(&self) -> serde_json::Result<String> {
        let lines = self.validity.iter().chain(self.goals).map(serde_json::to_string);
        Ok(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
    }

    /// The page `docs/benchmarks.md`, with the machine's facts.
    pub fn markdown(&self, date: &str, facts: &[(&str, String)]) -> String {
        let mut page = format!(
            "# Benchmarks\n\nOne exchange: a consumer's backend asks, a provider's backend answers, mutual TLS 1.3 on \
             every hop. Written on {date} by\n\n```sh\ntests/bench/run --write\n```\n\nEverything runs on one machine, \
             the load generator too: compare ratios, not numbers, and only of one run. Where the time goes, and why some goals \
             are not met: [benchmarks-profile.md](benchmarks-profile.md).\n\n## Who takes part\n\n"
        );
        for contestant in &self.plan.contestants {
            let _ = writeln!(page, "- **{}**: {}.", contestant.title(), contestant.description());
        }
        let _ = write!(page, "\n## Fair play\n\n{}\n\n## What came out\n", self.fair_play());
        for bytes in PAYLOADS_BYTES {
            let _ = write!(page, "\n```text\n{}```\n", self.plot(Case::closed(bytes, 256)));
        }
        for table in self.tables() {
            let _ = write!(page, "\n{}", table.markdown());
        }
        page.push('\n');
        for remark in self.remarks() {
            let _ = writeln!(page, "- {remark}");
        }
        page.push_str("\n## Machine and versions\n\n");
        for (name, value) in facts {
            let _ = writeln!(page, "- {name}: {value}");
        }
        page
    }

    fn fair_play(&self) -> String {
        let Plan { rounds, warmup, window, open_window, .. } = self.plan;
        format!(
            "The same load generator, backend (the typed service on tonic, as an agency would write it), certificates \
             (ECDSA P-256), allocator (mimalloc) and release profile for all; real processes; nobody is pinned to a core. Every answer is compared byte for byte. For d and e the expected \
             answer holds the granted fields only ({}), and after each measurement nodes and log must have gained one \
             pair of records an answered call (two pairs behind the gate), no more and no fewer.\n\n\
             {rounds} rounds. In each, every contestant is measured in every case, side by side, another one first each \
             time: {window:?} (open loop: {open_window:?}) after {warmup:?} of warm-up, over at most 16 connections. Shown \
             is the median over the rounds, with the smallest and the largest. Ratios are taken within each round. After \
             each measurement of d the others wait until the broker has all its records; its CPU time includes that. \
             Against d speaks that both journals and the broker's log share one disk here, and one pair of processors with \
             broker, load generator and backend.",
            GRANTED.join(", "),
        )
    }

    /// The throughput of everybody in one case, as bars.
    fn plot(&self, case: Case) -> String {
        let of = |contestant: &Contestant| {
            let spread = self.results.spread(*contestant, case, |sample| sample.measured.per_second)?;
            Some((contestant.title(), spread.median))
        };
        let rows: Vec<_> = self.plan.contestants.iter().filter_map(of).collect();
        plot::bars(&format!("{case}: answers a second"), &rows)
    }

    fn tables(&self) -> Vec<Table> {
        let mut tables: Vec<Table> = PAYLOADS_BYTES.iter().map(|bytes| self.throughput(*bytes)).collect();
        tables.extend([self.fresh(), self.stream(), self.latency(), self.cpu()]);
        let goals = [("Valid baselines", self.validity), ("Goals", self.goals)];
        let judged = goals.into_iter().filter(|(_, goals)| !goals.is_empty());
        tables.extend(judged.map(|(title, goals)| of_goals(title, goals)));
        tables
    }

    fn throughput(&self, bytes: usize) -> Table {
        let cases = CONCURRENCIES.map(|concurrency| Case::closed(bytes, concurrency));
        let title = format!("{}: answers a second, by calls under way", size(bytes));
        let columns = CONCURRENCIES.map(|concurrency| concurrency.to_string());
        self.table(title, columns.to_vec(), |contestant| {
            let per_second = |sample: &Sample| sample.measured.per_second;
            let cell = |case| number(self.results.spread(contestant, case, per_second), 0);
            cases.map(cell).to_vec()
        })
    }

    fn fresh(&self) -> Table {
        let case = Case::fresh(PAYLOADS_BYTES[0]);
        let title = format!(
            "{}: a new connection for every call, full handshakes, {FRESH_CONCURRENCY} under way",
            size(case.payload_bytes)
        );
        self.table(title, ["a second", "p50, µs", "p99, µs"].map(str::to_owned).to_vec(), |contestant| {
            let of = |number: fn(&Sample) -> f64| self.results.spread(contestant, case, number);
            vec![
                number(of(|sample| sample.measured.per_second), 0),
                number(of(|sample| sample.measured.p50_us), 0),
                number(of(|sample| sample.measured.p99_us), 0),
            ]
        })
    }

    fn stream(&self) -> Table {
        let case = Case::stream(self.plan.stream_bytes);
        let title = format!(
            "One answer of {} in messages of {}, all sizes in MiB",
            size_of_stream(self.plan.stream_bytes),
            size(case.payload_bytes)
        );
        let columns = ["a second", "memory beyond idle, consumer side", "provider side"].map(str::to_owned);
        self.table(title, columns.to_vec(), |contestant| {
            let of = |number: &dyn Fn(&Sample) -> f64| self.results.spread(contestant, case, number);
            let mib_per_message =
                f64::from(u32::try_from(case.payload_bytes).unwrap_or(u32::MAX)) / 1_048_576.0;
            let memory = |hop: usize| {
                move |sample: &Sample| sample.hop_memory_mib.get(hop).copied().unwrap_or(f64::NAN)
            };
            vec![
                number(of(&|sample| sample.measured.per_second * mib_per_message), 0),
                number(of(&memory(0)), 0),
                number(of(&memory(1)), 0),
            ]
        })
    }

    fn latency(&self) -> Table {
        let cases = PAYLOADS_BYTES.map(Case::open);
        let columns =
            cases.iter().flat_map(|case| ["p50", "p99"].map(|percentile| format!("{case} {percentile}")));
        let title = "Latency at a steady rate, µs from the moment a call was due".to_owned();
        let mut table = self.table(title, columns.collect(), |contestant| {
            let of = |case, number: fn(&Sample) -> f64| self.results.spread(contestant, case, number);
            let percentiles = cases.iter().flat_map(|case| {
                [of(*case, |sample| sample.measured.p50_us), of(*case, |sample| sample.measured.p99_us)]
            });
            percentiles.map(|spread| number(spread, 0)).collect()
        });
        if let Some((p50, p99)) = self.results.disk_us() {
            let cells = vec![number(Some(p50), 0), number(Some(p99), 0)];
            table.push("the disk's own fdatasync", cells);
        }
        table
    }

    fn cpu(&self) -> Table {
        let cases = PAYLOADS_BYTES.map(|bytes| Case::closed(bytes, 64));
        let hops = ["consumer side", "provider side", "broker"];
        let columns = cases.iter().flat_map(|case| hops.map(|hop| format!("{case} {hop}")));
        let title = "CPU time of one exchange, µs".to_owned();
        self.table(title, columns.collect(), |contestant| {
            let cell = |(case, hop): (Case, usize)| {
                let spent = |sample: &Sample| sample.hop_cpu_us.get(hop).copied().unwrap_or(f64::NAN);
                number(self.results.spread(contestant, case, spent), 1)
            };
            let cells = cases.iter().flat_map(|case| (0..hops.len()).map(|hop| (*case, hop)));
            cells.map(cell).collect()
        })
    }

    /// One row a contestant.
    fn table(&self, title: String, columns: Vec<String>, row: impl Fn(Contestant) -> Vec<String>) -> Table {
        let mut table = Table::new(title, columns);
        for contestant in &self.plan.contestants {
            table.push(contestant.title(), row(*contestant));
        }
        table
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![self.verdict().to_owned()];
        let others = Spread::of(self.results.others_busy.iter().map(|share| share * 100.0));
        if let Some(Spread { median, min, max }) = others {
            let whether = if max > OTHERS_BUSY_PERCENT_MAX { "DISTURBED" } else { "QUIET" };
            remarks.push(format!(
                "{whether}: before the rounds, while nothing of the run worked, others kept the processors {median:.0} % \
                 busy ({min:.0}–{max:.0})."
            ));
        }
        let recorded: Vec<Recorded> =
            self.results.samples.iter().filter_map(|sample| sample.recorded).collect();
        let drain = Spread::of(recorded.iter().map(|recorded| recorded.drain_seconds));
        if let Some(Spread { median, min, max }) = drain {
            let records: u64 = recorded.iter().map(|recorded| recorded.records).sum();
            let backlog = recorded.iter().map(|recorded| recorded.backlog).max().unwrap_or(0);
            remarks.push(format!(
                "d, e: {records} records on the broker's log, two an answered call (four behind the gate), none missing, none \
                 too many; {} right(s) \
                 in the provider's bundle; at most {backlog} records under way at the end of a measurement, all on the \
                 log {median:.2} s later ({min:.2}–{max:.2}).",
                self.rights
            ));
        }
        remarks.extend(self.results.alone.as_ref().map(Alone::remark));
        if !self.memory_mib.is_empty() {
            let each = self.memory_mib.iter().map(|(name, mib)| format!("{name} {mib:.0}"));
            remarks.push(format!("d, e: memory at the end, MiB: {}.", each.collect::<Vec<_>>().join(", ")));
        }
        remarks
    }

    fn verdict(&self) -> &'static str {
        if self.validity.len() < 3 {
            "NOT A WHOLE RUN: a baseline did not take part, so that nothing says whether the numbers are worth anything."
        } else if self.validity.iter().all(|goal| goal.ok) {
            "VALID: the baselines are good builds."
        } else {
            "INVALID: a baseline is slower than a good build of it; do not use these numbers."
        }
    }
}

/// A large size: `1GiB`, `64MiB`.
fn size_of_stream(bytes: usize) -> String {
    let mib = bytes / 1_048_576;
    if mib.is_multiple_of(1024) { format!("{}GiB", mib / 1024) } else { format!("{mib}MiB") }
}

fn of_goals(title: &str, goals: &[Goal]) -> Table {
    let columns = ["value", "goal", "unit", "met"].map(str::to_owned);
    let mut table = Table::new(title.to_owned(), columns.to_vec());
    for goal in goals {
        let met = if goal.ok { "yes" } else { "no" };
        let value = number(Some(goal.spread), 2);
        let cells = vec![value, goal.bound.clone(), goal.unit.to_owned(), met.to_owned()];
        table.push(&goal.name, cells);
    }
    table
}

/// `12345 (11000–13000)`; a dash where there is nothing.
fn number(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_a_baseline_says_so() {
        let plan = Plan::quick(vec![Contestant::Direct]);
        let results = Results::default();
        let report =
            Report { plan: &plan, results: &results, validity: &[], goals: &[], rights: 1, memory_mib: &[] };
        assert!(report.text().contains("NOT A WHOLE RUN"));
        assert_eq!(report.json().unwrap(), "");
        let page = report.markdown("2026-11-21", &[("processor", "2 × test".into())]);
        assert!(page.contains("## Who takes part") && page.ends_with("- processor: 2 × test\n"), "{page}");
    }

    #[test]
    fn a_spread_is_shown_with_its_extremes() {
        let spread = Spread { median: 1.25, min: 1.0, max: 2.0 };
        assert_eq!(number(Some(spread), 1), "1.2 (1.0–2.0)");
        assert_eq!(number(None, 1), "–");
    }
}
