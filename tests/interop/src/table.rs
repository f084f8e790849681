//! Language by scenario, for people.

use crate::{scenarios::Item, verdict::Verdict};

/// Narrowest cell, characters.
const CELL_CHARS_MIN: usize = 7;

/// The table.
pub struct Table {
    clients: Vec<String>,
    rows: Vec<Row>,
}

/// One scenario.
struct Row {
    scenario: String,
    what: String,
    verdicts: Vec<Verdict>,
}

impl Table {
    /// With a column for each client.
    pub fn new(clients: Vec<String>) -> Self {
        Self { clients, rows: Vec::new() }
    }

    /// Adds the next client's verdict to a scenario's row.
    pub fn put(&mut self, item: &Item, verdict: Verdict) {
        let scenario = item.id();
        match self.rows.last_mut() {
            Some(row) if row.scenario == scenario => row.verdicts.push(verdict),
            _ => {
                let (scenario, what) = (scenario.to_owned(), item.what.clone());
                self.rows.push(Row { scenario, what, verdicts: vec![verdict] });
            }
        }
    }

    /// Prints it, then each failure and each thing that a library cannot do. True where nothing failed.
    pub fn show(&self) -> bool {
        let width = self.rows.iter().map(|row| row.scenario.len()).max().unwrap_or_default();
        let cells = |client: &String| client.len().max(CELL_CHARS_MIN + 4);
        let head: Vec<_> =
            self.clients.iter().map(|client| format!("{client:<width$}", width = cells(client))).collect();
        println!("{:width$}  {}", "", head.join("  "));
        for Row { scenario, verdicts, .. } in &self.rows {
            let row: Vec<_> = verdicts
                .iter()
                .zip(&self.clients)
                .map(|(verdict, client)| format!("{:<width$}", verdict.to_string(), width = cells(client)))
                .collect();
            println!("{scenario:width$}  {}", row.join("  ").trim_end());
        }
        let (mut passed, mut failed, mut cannot) = (0, 0, 0);
        let mut notes = Vec::new();
        for Row { scenario, what, verdicts } in &self.rows {
            for (verdict, client) in verdicts.iter().zip(&self.clients) {
                match verdict {
                    Verdict::Passed(_) => passed += 1,
                    Verdict::Differs(why) => {
                        passed += 1;
                        notes.push(format!("*       {client} {scenario}: {why}"));
                    }
                    Verdict::Unsupported(why) => {
                        cannot += 1;
                        notes.push(format!("cannot  {client} {scenario}: {why}"));
                    }
                    Verdict::Failed(how) => {
                        failed += 1;
                        notes.push(format!("FAILED  {client} {scenario}: {how} (it shows: {what})"));
                    }
                }
            }
        }
        notes.sort();
        println!();
        for note in notes {
            println!("{note}");
        }
        println!("{passed} passed, {failed} failed, {cannot} that a library cannot do");
        failed == 0
    }
}
