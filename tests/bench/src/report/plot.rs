//! A small plot in plain text: it is read wherever the page is. Pure.

use std::fmt::Write as _;

/// Cells of the longest bar.
const CELLS: f64 = 50.0;

/// One bar a row, the longest of all [`CELLS`] long.
pub(super) fn bars(title: &str, rows: &[(&str, f64)]) -> String {
    let most = rows.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{title}\n");
    for (name, value) in rows {
        let share = if most > 0.0 { value / most } else { 0.0 };
        // Between 0 and the number of cells.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let cells = (share * CELLS).round() as usize;
        let _ = writeln!(text, "{name:<width$}  {value:>7.0}  {}", "█".repeat(cells));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let plot = bars("Bảng", &[("a", 100.0), ("đĩa", 50.0), ("không", 0.0)]);
        let lengths: Vec<_> = plot.lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(lengths, [0, 50, 25, 0]);
        assert!(plot.lines().nth(2).unwrap().starts_with("đĩa         50  █"));
    }
}
