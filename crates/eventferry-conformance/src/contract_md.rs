//! The contract as a page for people.

use std::fmt::Write as _;

use crate::clause::{Declared, PROMISES, clauses};

/// Renders the contract in Markdown: under each promise a table of its clauses, with a column for each back end that
/// says whether the clause applies to it.
///
/// "yes" is what a back end declares and its own run of the clauses proves; whoever renders the page runs them too.
pub fn render_contract_md(back_ends: &[(&str, Declared)]) -> String {
    let mut page = String::from("# The contract\n");
    for promise in &PROMISES {
        let _ = write!(page, "\n## {}. {}\n\n{}\n\n", promise.number, promise.name, promise.sentence);
        page.push_str("| clause | what holds |");
        for (name, _) in back_ends {
            let _ = write!(page, " {} |", cell(name));
        }
        page.push_str("\n|---|---|");
        page.push_str(&"---|".repeat(back_ends.len()));
        page.push('\n');
        for clause in clauses().filter(|clause| clause.promise == promise.number) {
            let _ = write!(page, "| `{}` | {} |", clause.id, cell(clause.sentence));
            for (_, declared) in back_ends {
                match clause.lacking(declared) {
                    None => page.push_str(" yes |"),
                    Some(reason) => {
                        let _ = write!(page, " not applicable: {} |", cell(reason));
                    }
                }
            }
            page.push('\n');
        }
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    #[test]
    fn every_clause_has_a_row_and_every_back_end_a_column() {
        let whole = Model::default().declared().clone();
        let mut lesser = whole.clone();
        lesser.capabilities.savepoints = false;
        let page = render_contract_md(&[("whole", whole), ("less|er", lesser)]);
        for clause in clauses() {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{}` | ", clause.id))).unwrap();
            assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
        }
        assert!(page.contains("| clause | what holds | whole | less\\|er |\n|---|---|---|---|\n"));
        assert!(page.contains(" yes | not applicable: the database has no savepoints |\n"));
        assert_eq!(page.matches("\n## ").count(), 10);
    }
}
