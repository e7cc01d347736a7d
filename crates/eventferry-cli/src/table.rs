//! Tables and their cells, for people.

use std::fmt::Write;

use crate::output::{grouped, plain};

/// A span as people say it: its largest unit and the next.
pub(crate) fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7_200 => format!("{} min {} s", whole / 60, whole % 60),
        7_200..172_800 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// A number with its noun, in the plural where it must be.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Rows under a head, padded to the widest cell but in the last column.
pub(crate) fn columns(head: &[&str], mut rows: Vec<Vec<String>>) -> String {
    rows.iter_mut().flatten().for_each(|cell| *cell = plain(cell).into_owned());
    let mut widths: Vec<usize> = head.iter().map(|name| name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let padded = write!(line, "{cell:<width$}  ");
            debug_assert!(padded.is_ok(), "a String takes everything");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_the_units_that_matter() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (9.96, "10.0 s"),
            (75.9, "75 s"),
            (125.0, "2 min 5 s"),
            (7_260.0, "2 h 1 min"),
            (180_000.0, "2 d 2 h"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["größe".to_owned(), "1".into()], vec!["b".into(), "22".into()]];
        assert_eq!(columns(&["A", "N"], rows), "A      N\ngröße  1\nb      22\n");
    }
}
