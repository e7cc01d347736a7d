//! No file and no line too long to read at a glance.

use super::{Finding, SourceFile};

const FILE_LINES_MAX: usize = 600;
/// Rust files that may be longer, each with the reason. The way out is to look for the second idea in the file.
const LONG_FILES: &[(&str, &str)] = &[];

/// rustfmt keeps code within 110. What it cannot break, a sentence in a comment or a string, gets a little more.
const RUST_COLUMNS_MAX: usize = 120;
/// SQL and prose wrap on the screen, and a table's row cannot be broken.
const PROSE_COLUMNS_MAX: usize = 400;

pub(crate) fn file_lengths(file: &SourceFile) -> Vec<Finding> {
    file_lengths_but(file, LONG_FILES)
}

fn file_lengths_but(file: &SourceFile, long_files: &[(&str, &str)]) -> Vec<Finding> {
    let lines = file.text.lines().count();
    let is_listed = long_files.iter().any(|(path, _)| *path == file.path);
    match (file.is_rust() && lines > FILE_LINES_MAX, is_listed) {
        (true, false) => vec![Finding::of_file(
            file,
            format!("{lines} lines, more than {FILE_LINES_MAX}: look for the second idea and give it a file"),
        )],
        (false, true) => {
            vec![Finding::of_file(file, "no longer too long: take it off the list of long files")]
        }
        _ => Vec::new(),
    }
}

pub(crate) fn line_lengths(file: &SourceFile) -> Vec<Finding> {
    (1..).zip(file.text.lines()).filter_map(|(number, line)| line_length(file, number, line)).collect()
}

fn line_length(file: &SourceFile, number: usize, line: &str) -> Option<Finding> {
    let columns_max = if file.is_rust() {
        RUST_COLUMNS_MAX
    } else if file.has_extension("sql") || file.has_extension("md") {
        PROSE_COLUMNS_MAX
    } else {
        return None;
    };
    let columns = line.chars().count();
    let is_too_long = columns > columns_max && !line.contains("://");
    is_too_long.then(|| Finding::of_line(file, number, format!("{columns} columns, more than {columns_max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, text: String) -> usize {
        line_lengths(&SourceFile::new(path, text)).len()
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_listed() {
        let file = SourceFile::new("a.rs", "x\n".repeat(601));
        assert_eq!(file_lengths_but(&file, &[]).len(), 1);
        assert_eq!(file_lengths_but(&file, &[("a.rs", "one table")]).len(), 0);
        assert_eq!(file_lengths_but(&SourceFile::new("a.rs", "x\n".repeat(600)), &[]).len(), 0);
        assert_eq!(file_lengths_but(&SourceFile::new("a.sql", "x\n".repeat(601)), &[]).len(), 0);
    }

    #[test]
    fn a_file_that_became_short_leaves_the_list() {
        assert_eq!(file_lengths_but(&SourceFile::new("a.rs", "x\n"), &[("a.rs", "one table")]).len(), 1);
    }

    #[test]
    fn a_long_line_is_found_by_what_it_is() {
        assert_eq!(line("a.rs", "x".repeat(121)), 1);
        assert_eq!(line("a.rs", "x".repeat(120)), 0);
        assert_eq!(line("a.md", "x".repeat(400)), 0);
        assert_eq!(line("a.sql", "x".repeat(401)), 1);
        assert_eq!(line("a.lock", "x".repeat(999)), 0);
    }

    #[test]
    fn a_url_is_not_broken_and_columns_are_characters() {
        assert_eq!(line("a.rs", format!("// see https://{}", "x".repeat(200))), 0);
        assert_eq!(line("a.rs", "\u{2192}".repeat(120)), 0);
    }
}
