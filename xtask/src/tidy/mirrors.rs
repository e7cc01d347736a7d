//! Every store has the same set of files, and every publisher: `ls` shows the contract.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, SourceFile};

const FAMILIES: [&str; 2] = ["eventferry-store-", "eventferry-publisher-"];

/// A module that a back end has beyond its family's, with the reason.
struct Extra {
    back_end: &'static str,
    module: &'static str,
    #[expect(dead_code, reason = "read by people, in this file")]
    reason: &'static str,
}

const EXTRAS: &[Extra] = &[
    Extra {
        back_end: "eventferry-store-postgres",
        module: "tls",
        reason: "a file is not reached over a network",
    },
    Extra { back_end: "eventferry-store-postgres", module: "password", reason: "a file asks for none" },
    Extra {
        back_end: "eventferry-store-postgres",
        module: "options",
        reason: "SQLite's URL is all ours; PostgreSQL's is the driver's and some of ours",
    },
    Extra {
        back_end: "eventferry-store-postgres",
        module: "window",
        reason: "it reads between two snapshots; a store with one writer reads on from an id",
    },
    Extra {
        back_end: "eventferry-store-postgres",
        module: "page",
        reason: "a page comes over a wire, by one of two queries; SQLite's is a loop over a statement",
    },
    Extra {
        back_end: "eventferry-store-postgres",
        module: "tail",
        reason: "its log can be read by others; SQLite's is the database's own business",
    },
];

pub(crate) fn mirrors(files: &[SourceFile]) -> Vec<Finding> {
    FAMILIES.iter().flat_map(|family| mirrors_in(files, family, EXTRAS)).collect()
}

fn mirrors_in(files: &[SourceFile], family: &str, extras: &[Extra]) -> Vec<Finding> {
    let back_ends = modules_of(files, family);
    let is_extra = |back_end: &str, module: &str| {
        extras.iter().any(|extra| extra.back_end == back_end && extra.module == module)
    };
    let mut shared: BTreeMap<&str, &str> = BTreeMap::new();
    for (back_end, modules) in &back_ends {
        for module in modules.iter().filter(|module| !is_extra(back_end, module)) {
            shared.entry(module).or_insert(back_end);
        }
    }
    let mut findings = Vec::new();
    for (back_end, modules) in &back_ends {
        for (module, owner) in shared.iter().filter(|(module, _)| !modules.contains(**module)) {
            let path = format!("crates/{back_end}/src");
            let message =
                format!("has no module `{module}` as {owner} has: add it, or declare it as an extra there");
            findings.push(Finding { path, line: None, message });
        }
    }
    let stale = extras
        .iter()
        .filter(|extra| extra.back_end.starts_with(family))
        .filter(|extra| !back_ends.get(extra.back_end).is_some_and(|modules| modules.contains(extra.module)));
    findings.extend(stale.map(|extra| Finding {
        path: format!("crates/{}/src", extra.back_end),
        line: None,
        message: format!("declared extra `{}` is not there: take it off the list", extra.module),
    }));
    findings
}

/// The top-level modules of each crate of a family, whether a file or a folder.
fn modules_of<'a>(files: &'a [SourceFile], family: &str) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut back_ends: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let mut parts = file.path.split('/');
        let (Some("crates"), Some(back_end), Some("src"), Some(entry)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if back_end.starts_with(family) {
            let modules = back_ends.entry(back_end).or_default();
            modules.insert(entry.strip_suffix(".rs").unwrap_or(entry));
        }
    }
    for modules in back_ends.values_mut() {
        modules.remove("lib");
    }
    // A room that is all in its lib.rs is not furnished yet.
    back_ends.retain(|_, modules| !modules.is_empty());
    back_ends
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: &str = "eventferry-store-";

    fn house(paths: &[&str]) -> Vec<SourceFile> {
        paths.iter().map(|path| SourceFile::new(format!("crates/eventferry-store-{path}"), "")).collect()
    }

    #[test]
    fn a_module_that_one_store_lacks_is_found() {
        let files =
            house(&["a/src/lib.rs", "a/src/feed.rs", "a/src/fault.rs", "b/src/lib.rs", "b/src/fault.rs"]);
        let findings = mirrors_in(&files, FAMILY, &[]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().starts_with("crates/eventferry-store-b/src: has no module `feed`"));
    }

    #[test]
    fn a_module_may_be_a_file_or_a_folder() {
        let files =
            house(&["a/src/feed.rs", "b/src/feed/mod.rs", "b/src/feed/page.rs", "b/tests/it/main.rs"]);
        assert!(mirrors_in(&files, FAMILY, &[]).is_empty());
    }

    #[test]
    fn a_declared_extra_is_allowed_while_it_is_there() {
        let extra = |module| Extra { back_end: "eventferry-store-a", module, reason: "only a has it" };
        let files = house(&["a/src/fault.rs", "a/src/window.rs", "b/src/fault.rs"]);
        assert!(mirrors_in(&files, FAMILY, &[extra("window")]).is_empty());
        assert_eq!(mirrors_in(&files, FAMILY, &[extra("window"), extra("gone")]).len(), 1);
    }

    #[test]
    fn a_room_that_is_not_furnished_yet_mirrors_nothing() {
        assert!(
            mirrors_in(&house(&["a/src/lib.rs", "a/src/feed.rs", "b/src/lib.rs"]), FAMILY, &[]).is_empty()
        );
    }

    #[test]
    fn families_are_compared_apart() {
        let mut files = house(&["a/src/feed.rs"]);
        files.push(SourceFile::new("crates/eventferry-publisher-a/src/session.rs", ""));
        assert!(FAMILIES.iter().all(|family| mirrors_in(&files, family, &[]).is_empty()));
    }
}
