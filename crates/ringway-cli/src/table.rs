//! Columns for a terminal.

use std::fmt::Write as _;

/// One line a row, each column as wide as its widest cell: words to the left, figures to the right.
///
/// The first line names the columns. A column holds figures if its first cell below the name begins with a digit.
pub(crate) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let column = |index: usize| lines.iter().filter_map(move |line| line.get(index));
    let shapes: Vec<_> = (0..columns)
        .map(|index| {
            let width = column(index).map(|cell| cell.chars().count()).max().unwrap_or(0);
            let figures = column(index).nth(1).is_some_and(|cell| cell.starts_with(|c: char| c.is_ascii_digit()));
            (width, figures)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, &(width, figures)) in line.iter().zip(&shapes) {
            let _ = if figures { write!(row, "{cell:>width$}  ") } else { write!(row, "{cell:<width$}  ") };
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let line = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let lines = [line(&["a", "bb", "c"]), line(&["aaa", "b", "1000"]), line(&["long", "(broken)"])];
        assert_eq!(aligned(&lines), "a     bb           c\naaa   b         1000\nlong  (broken)\n");
    }
}
