//! Columns that stand below one another.

/// A table whose rows may come bit by bit: a column that has become wider stays so.
#[derive(Debug)]
pub(crate) struct Table {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a header.
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        let mut table = Self { widths: vec![0; N], rows: Vec::new() };
        table.add(header.map(str::to_owned));
        table
    }

    /// The same with columns of at least these widths, for rows that come one by one.
    pub(crate) fn at_least<const N: usize>(mut self, widths: [usize; N]) -> Self {
        self.widths.iter_mut().zip(widths).for_each(|(width, least)| *width = (*width).max(least));
        self
    }

    /// Adds a row. What has line breaks is put on one line.
    pub(crate) fn add<const N: usize>(&mut self, cells: [String; N]) {
        let cells = cells.map(|cell| cell.split('\n').map(str::trim_end).collect::<Vec<_>>().join(" "));
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(cells.into());
    }

    /// The lines of the rows added since the last call.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        let line = |cells: Vec<String>| {
            let padded = cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        std::mem::take(&mut self.rows).into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_stay_so() {
        let mut table = Table::new(["ID", "STATUS", "USER"]);
        table.add(["größer".into(), "Running".into(), String::new()]);
        assert_eq!(table.take_lines(), ["ID      STATUS   USER", "größer  Running"]);
        table.add(["b".into(), "two\nlines".into(), "u".into()]);
        assert_eq!(table.take_lines(), ["b       two lines  u"]);
        let mut table = Table::new(["ID", "STATUS"]).at_least([4, 0]);
        assert_eq!(table.take_lines(), ["ID    STATUS"]);
    }
}
