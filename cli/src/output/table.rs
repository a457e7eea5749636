//! Tables for people: left-aligned columns, two spaces between them, no lines.

use std::fmt;

use super::text;

/// Rows of equally many cells under a head. Cells are escaped when they are printed; without rows, nothing is.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new<const N: usize>(head: [&'static str; N]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the columns are dropped, missing ones are empty.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let mut cells = cells.to_vec();
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<Vec<String>> = vec![self.head.iter().map(|name| (*name).to_owned()).collect()];
        lines.extend(self.rows.iter().map(|row| row.iter().map(|cell| text::line(cell)).collect()));
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        for line in &lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                text.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cells_are_escaped() {
        let mut table = Table::new(["KEY", "VALUE"]);
        table.row(["a".to_owned(), "1\n2".to_owned()]);
        table.row(["größer".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "KEY     VALUE\na       1\\n2\ngrößer\n");
    }
}
