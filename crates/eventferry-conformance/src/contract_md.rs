//! The contract as a page for people.

use std::fmt::Write as _;

use crate::clause::{Declared, PROMISES, clauses};
use crate::publisher;

/// Renders the contract in Markdown: under each promise a table of its clauses, with a column for each back end that
/// says whether the clause applies to it. Clauses for stores and clauses for publishers have tables of their own.
///
/// "yes" is what a back end declares and its own run of the clauses proves; whoever renders the page runs them too.
pub fn render_contract_md(stores: &[(&str, Declared)], publishers: &[(&str, publisher::Declared)]) -> String {
    let mut page = String::from("# The contract\n");
    for promise in &PROMISES {
        let _ = write!(page, "\n## {}. {}\n\n{}\n", promise.number, promise.name, promise.sentence);
        let of_stores = clauses().filter(|clause| clause.promise == promise.number);
        let rows = of_stores.map(|clause| Row {
            id: clause.id,
            sentence: clause.sentence,
            lacking: stores.iter().map(|(_, declared)| clause.lacking(declared)).collect(),
        });
        table(&mut page, "clause for stores", &names(stores), rows.collect());
        let of_publishers = publisher::clauses().filter(|clause| clause.promise == promise.number);
        let rows = of_publishers.map(|clause| Row {
            id: clause.id,
            sentence: clause.sentence,
            lacking: publishers.iter().map(|(_, declared)| clause.lacking(declared)).collect(),
        });
        table(&mut page, "clause for publishers", &names(publishers), rows.collect());
    }
    page
}

/// A clause, and for each back end why it does not apply.
struct Row {
    id: &'static str,
    sentence: &'static str,
    lacking: Vec<Option<&'static str>>,
}

fn names<'a, D>(back_ends: &[(&'a str, D)]) -> Vec<&'a str> {
    back_ends.iter().map(|(name, _)| *name).collect()
}

/// Adds a table, unless it has no row or no back end.
fn table(page: &mut String, title: &str, back_ends: &[&str], rows: Vec<Row>) {
    if rows.is_empty() || back_ends.is_empty() {
        return;
    }
    let _ = write!(page, "\n| {title} | what holds |");
    for name in back_ends {
        let _ = write!(page, " {} |", cell(name));
    }
    page.push_str("\n|---|---|");
    page.push_str(&"---|".repeat(back_ends.len()));
    page.push('\n');
    for Row { id, sentence, lacking } in rows {
        let _ = write!(page, "| `{id}` | {} |", cell(sentence));
        for reason in lacking {
            match reason {
                None => page.push_str(" yes |"),
                Some(reason) => {
                    let _ = write!(page, " not applicable: {} |", cell(reason));
                }
            }
        }
        page.push('\n');
    }
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
        let broker = publisher::model::Model::default().declared().clone();
        let page = render_contract_md(&[("whole", whole), ("less|er", lesser)], &[("broker", broker)]);
        let row = |id| page.lines().find(|line| line.starts_with(&format!("| `{id}` | "))).unwrap();
        let columns = |row: &str| row.replace("\\|", "").matches('|').count() - 3;
        assert!(clauses().all(|clause| columns(row(clause.id)) == 2));
        assert!(publisher::clauses().all(|clause| columns(row(clause.id)) == 1));
        assert!(page.contains("| clause for stores | what holds | whole | less\\|er |\n|---|---|---|---|\n"));
        assert!(page.contains("| clause for publishers | what holds | broker |\n|---|---|---|\n"));
        assert!(page.contains(" yes | not applicable: the database has no savepoints |\n"));
        assert_eq!(page.matches("\n## ").count(), 10);
    }

    #[test]
    fn without_publishers_there_are_no_tables_for_them() {
        let page = render_contract_md(&[("whole", Model::default().declared().clone())], &[]);
        assert!(!page.contains("publishers |"));
    }
}
