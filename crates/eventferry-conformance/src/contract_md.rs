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
