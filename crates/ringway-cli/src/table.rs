//! Columns for a terminal.

use std::fmt::Write as _;

/// A longer cell moves the rest of its own row, not of all of them.
const WIDEST: usize = 32;

/// What somebody else may have written, without characters that a terminal obeys, or that look like others.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.escape_debug() {
            escaped if escaped.len() > 1 && !matches!(character, '\'' | '"' | '\\') => shown.extend(escaped),
            _ => shown.push(character),
        }
    }
    shown
}

/// One line a row, each column as wide as its widest cell: words to the left, figures to the right.
///
/// The first line names the columns. A column holds figures if its first cell below the name begins with a digit.
pub(crate) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let column = |index: usize| lines.iter().filter_map(move |line| line.get(index));
    let shapes: Vec<_> = (0..columns)
        .map(|index| {
            let width =
                column(index).map(|cell| cell.chars().count()).filter(|&width| width <= WIDEST).max().unwrap_or(0);
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

    #[test]
    fn one_wide_cell_does_not_widen_the_table() {
        let wide = "w".repeat(33);
        let lines = [["a", "b"], [&wide, "1"], ["c", "2"]].map(|line| line.map(str::to_owned).to_vec());
        assert_eq!(aligned(&lines), format!("a  b\n{wide}  1\nc  2\n"));
    }

    #[test]
    fn nothing_that_is_printed_is_obeyed() {
        assert_eq!(printable("it's \"a\\b\" \u{e4}"), "it's \"a\\b\" \u{e4}");
        assert_eq!(printable("\u{1b}[31m\r\n\t\u{9b}\u{202e}"), "\\u{1b}[31m\\r\\n\\t\\u{9b}\\u{202e}");
    }
}
