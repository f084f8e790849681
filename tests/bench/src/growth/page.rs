//! The page `docs/benchmarks-growth.md`: a table for each series, a column for each size. Pure.

use std::fmt::Write;

use crate::cli::GrowthPart;
use crate::goal::Goal;

/// Writes it.
pub(super) fn markdown(date: &str, series: &[(GrowthPart, Vec<Goal>)], facts: &[(&str, String)]) -> String {
    let mut page = format!(
        "# Cost as it grows\n\nWritten on {date} by\n\n```sh\ntests/bench/run growth --write\n```\n\nOne machine does \
         everything, the load generator too: compare the columns of a table, not its numbers with those of another machine. \
         Throughput is of exchanges through two nodes, everything on, 256 calls under way (see \
         [benchmarks.md](benchmarks.md)); shown is the median of several rounds.\n"
    );
    for (part, goals) in series {
        let _ = write!(page, "\n## {}\n\n{}", title(*part), table(goals));
    }
    page.push_str("\n## Machine and versions\n\n");
    for (name, value) in facts {
        let _ = writeln!(page, "- {name}: {value}");
    }
    page
}

const fn title(part: GrowthPart) -> &'static str {
    match part {
        GrowthPart::Agencies => "Agencies",
        GrowthPart::Rights => "Rights in the provider's bundle",
        GrowthPart::Log => "Entries of the log",
        GrowthPart::Nodes => "Nodes that watch their rights",
        GrowthPart::Connections => "Connections that are only held",
    }
}

/// Names are "growth: what, size": a row for each what, a column for each size; what has no size comes behind, as a line.
fn table(goals: &[Goal]) -> String {
    let (mut rows, mut sizes, mut lines) = (Vec::<(&str, &str)>::new(), Vec::<&str>::new(), String::new());
    for goal in goals {
        match parts(goal) {
            (what, Some(size)) => {
                if !rows.iter().any(|(row, _)| *row == what) {
                    rows.push((what, goal.unit()));
                }
                if !sizes.contains(&size) {
                    sizes.push(size);
                }
            }
            (what, None) => {
                let _ = writeln!(lines, "- {what}: {}{}", goal.number(), goal.verdict());
            }
        }
    }
    let mut table = format!("| | {} |\n|---|{}\n", sizes.join(" | "), "---:|".repeat(sizes.len()));
    for (what, unit) in rows {
        let cell = |size: &&str| {
            let of = |goal: &&Goal| parts(goal) == (what, Some(size));
            goals.iter().find(of).map_or_else(|| "–".to_owned(), Goal::number)
        };
        let cells: Vec<String> = sizes.iter().map(cell).collect();
        let _ = writeln!(table, "| {what}, {unit} | {} |", cells.join(" | "));
    }
    if lines.is_empty() { table } else { format!("{table}\n{lines}") }
}

fn parts(goal: &Goal) -> (&str, Option<&str>) {
    let name = goal.name().strip_prefix("growth: ").unwrap_or(goal.name());
    match name.rsplit_once(", ") {
        Some((what, size))
            if size.starts_with(|first: char| first.is_ascii_digit()) || size.starts_with("log of") =>
        {
            (what, Some(size))
        }
        _ => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_a_table_with_a_column_for_each_size() {
        let goals = [
            Goal::told("growth: start, 4 nodes", 1.0, "ms"),
            Goal::told("growth: memory, 4 nodes", 22.26, "MiB"),
            Goal::told("growth: start, 100 nodes", 1_234.5, "ms"),
            Goal::at_least("growth: throughput, 100 → 1000 rights", 0.95, "ratio", 0.9),
        ];
        let page =
            markdown("2026-11-23", &[(GrowthPart::Nodes, goals.to_vec())], &[("disk", "a disk".to_owned())]);
        assert!(page.contains("| | 4 nodes | 100 nodes | 100 → 1000 rights |"), "{page}");
        assert!(page.contains("| start, ms | 1.00 | 1234 | – |"), "{page}");
        assert!(page.contains("| memory, MiB | 22.3 | – | – |"), "{page}");
        assert!(page.contains("- disk: a disk"), "{page}");
    }
}
