//! A table in two notations. Pure.

use std::fmt::Write;

/// Rows of cells; the first column names the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub(super) fn new(title: String, columns: Vec<String>) -> Self {
        let header = [String::new()].into_iter().chain(columns).collect();
        Self { title, header, rows: Vec::new() }
    }

    /// One more row; cells that are missing at its end stay empty.
    pub(super) fn push(&mut self, name: &str, cells: Vec<String>) {
        self.rows.push([name.to_owned()].into_iter().chain(cells).collect());
    }

    /// Aligned columns.
    pub(super) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.lines().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = format!("{}\n", self.title);
        for row in self.lines() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match column {
                    0 => write!(line, "  {cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// A heading and a table of Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        for (index, row) in self.lines().enumerate() {
            let empty = " |".repeat(self.header.len().saturating_sub(row.len()));
            let _ = writeln!(text, "| {} |{empty}", row.join(" | "));
            if index == 0 {
                let _ = writeln!(text, "|---|{}", "---:|".repeat(row.len().saturating_sub(1)));
            }
        }
        text
    }

    fn lines(&self) -> impl Iterator<Item = &Vec<String>> {
        [&self.header].into_iter().chain(&self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_in_both_notations() {
        let mut table = Table::new("Bảng".into(), vec!["c1".into(), "c64".into()]);
        table.push("a", vec!["10".into(), "1000".into()]);
        table.push("đĩa", vec!["5".into()]);
        assert_eq!(table.text(), "Bảng\n       c1   c64\n  a    10  1000\n  đĩa   5\n");
        let markdown = "### Bảng\n\n|  | c1 | c64 |\n|---|---:|---:|\n| a | 10 | 1000 |\n| đĩa | 5 | |\n";
        assert_eq!(table.markdown(), markdown);
    }
}
