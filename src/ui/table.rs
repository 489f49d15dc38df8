//! Rows for people: columns as wide as their widest cell, nothing else.

use std::fmt;

/// Two spaces between columns, so that one space inside a cell divides nothing.
const GAP: &str = "  ";

/// A table, with a line of headings or (for one record) without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn headed<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// One record: a line for each field, its name before its value.
    pub fn record<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let rows = fields.into_iter().map(|(name, value)| vec![format!("{name}:"), printable(&value)]).collect();
        Self { rows }
    }

    /// Adds a row; what could move a terminal's cursor is left out of it.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl fmt::Display>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell.to_string()).replace('\n', " ")).collect());
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
        (0..columns).map(|column| width(column).unwrap_or_default()).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join(GAP).trim_end())?;
        }
        Ok(())
    }
}

/// `text` without control characters (and so without terminal escapes), line ends and tabs apart.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::headed(["NAME", "STATE"]);
        table.row(["development", "healthy"]);
        table.row(["d", ""]);
        assert_eq!(table.to_string(), "NAME         STATE\ndevelopment  healthy\nd\n");
    }

    #[test]
    fn a_record_is_a_line_for_each_field() {
        let record = Table::record([("name", "dev".to_owned()), ("state", "healthy".to_owned())]);
        assert_eq!(record.to_string(), "name:   dev\nstate:  healthy\n");
    }

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        let mut table = Table::headed(["NAME"]);
        table.row(["a\u{1b}[2J\u{7}b\nc"]);
        assert_eq!(table.to_string(), "NAME\na[2Jb c\n");
    }
}
