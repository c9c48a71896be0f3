//! A table as lines of fixed width. Columns are measured as terminals do (a CJK character is two wide).

use pulldown_cmark::Alignment;
use unicode_width::UnicodeWidthStr;

/// Cells beyond which nothing is aligned: padding could make much text out of little.
const CELLS: usize = 2_000;
/// Widest column that others are aligned with; a longer cell only pushes its own line.
const WIDEST: usize = 40;

/// A table that is being read.
#[derive(Default)]
pub(super) struct Table {
    alignment: Vec<Alignment>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(alignment: &[Alignment]) -> Self {
        Self { alignment: alignment.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self) {
        self.rows.push(Vec::new());
    }

    pub fn cell(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            row.push(String::new());
        }
    }

    /// Adds to the last cell.
    pub fn say(&mut self, text: &str) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            cell.extend(text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }));
        }
    }

    /// The last cell from there on.
    pub fn text(&self, from: usize) -> &str {
        self.rows.last().and_then(|row| row.last()).and_then(|cell| cell.get(from..)).unwrap_or_default()
    }

    /// Head, rule, rows.
    pub fn lines(&self) -> String {
        // Short rows were filled up with empty cells; those carry nothing.
        let length = |row: &Vec<String>| row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |at| at + 1);
        let columns = self.rows.iter().map(length).max().unwrap_or(0);
        if columns * self.rows.len() > CELLS {
            let lines: Vec<String> = self.rows.iter().map(|row| row[..length(row)].join(" │ ")).collect();
            return lines.join("\n");
        }
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0).min(WIDEST)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        for (at, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let space = width.saturating_sub(cell.width());
                let before = match self.alignment.get(column) {
                    Some(Alignment::Right) => space,
                    Some(Alignment::Center) => space / 2,
                    _ => 0,
                };
                if column > 0 {
                    line.push_str(" │ ");
                }
                line.push_str(&" ".repeat(before));
                line.push_str(cell);
                line.push_str(&" ".repeat(space - before));
            }
            line.truncate(line.trim_end().len());
            lines.push(line);
            if at == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                lines.push(rules.join("─┼─"));
            }
        }
        lines.join("\n")
    }
}
