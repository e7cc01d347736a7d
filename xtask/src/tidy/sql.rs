//! Every SQL file says what it is for and what its parameters are.

use super::{Finding, SourceFile};

pub(crate) fn sql_headers(file: &SourceFile) -> Vec<Finding> {
    if !file.has_extension("sql") {
        return Vec::new();
    }
    let header: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("--")).collect();
    let mut findings = Vec::new();
    if !header.iter().any(|line| line.trim_start_matches('-').trim_start().starts_with("purpose:")) {
        findings.push(Finding::of_file(file, "begins with no comment that says `-- purpose: ...`"));
    }
    let body = file.text.lines().skip(header.len());
    let takes_parameters = body.clone().any(has_first_parameter) && is_a_statement(file);
    if takes_parameters && !header.iter().any(|line| has_first_parameter(line)) {
        findings
            .push(Finding::of_file(file, "takes parameters that its header does not name: say what $1 is"));
    }
    findings
}

/// A migration's functions have parameters of their own, named or numbered, which are not the file's.
fn is_a_statement(file: &SourceFile) -> bool {
    file.path.split('/').any(|folder| folder == "sql")
}

fn has_first_parameter(line: &str) -> bool {
    line.match_indices("$1")
        .any(|(at, found)| !line[at + found.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        sql_headers(&SourceFile::new(path, text)).len()
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        assert_eq!(found("a/sql/read.sql", "SELECT 1"), 1);
        assert_eq!(found("a/sql/read.sql", "-- reads\nSELECT 1 -- purpose: none"), 1);
        assert_eq!(found("a/sql/read.sql", "-- purpose: read.\nSELECT 1"), 0);
        assert_eq!(found("a/migrations/1.sql", "-- Licence.\n-- purpose: the outbox.\nCREATE ..."), 0);
        assert_eq!(found("a/read.rs", "SELECT 1"), 0);
    }

    #[test]
    fn a_parameter_that_the_header_does_not_name_is_found() {
        assert_eq!(found("a/sql/read.sql", "-- purpose: read.\nSELECT $1"), 1);
        assert_eq!(found("a/sql/read.sql", "-- purpose: read.\n-- $1 lane\nSELECT $1, $2"), 0);
        assert_eq!(found("a/migrations/1.sql", "-- purpose: make.\nCREATE FUNCTION f(int) ... $1"), 0);
    }
}
