//! The head has no hands: no std, no clock, no randomness, no dependencies.

use super::source::has_word;
use super::{Finding, Member, SourceFile, Use};

const CORE: &str = "eventferry-core";
/// What would bring in the outside world, and what to do instead.
const BANNED: [(&str, &str); 9] = [
    ("std", "use core and alloc"),
    ("Instant", "take the time as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("rand", "take a seed as an argument"),
    ("getrandom", "take a seed as an argument"),
    ("fastrand", "take a seed as an argument"),
    ("RandomState", "use an ordered map"),
    ("HashMap", "use an ordered map"),
    ("HashSet", "use an ordered set"),
];

pub(crate) fn core_words(file: &SourceFile) -> Vec<Finding> {
    if !file.is_rust() || !file.path.starts_with("crates/eventferry-core/src/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in file.code_lines() {
        for (word, instead) in BANNED.iter().filter(|(word, _)| has_word(&line, word)) {
            findings.push(Finding::of_line(file, number, format!("`{word}` in the core: {instead}")));
        }
    }
    if file.path.ends_with("/lib.rs") && !file.text.contains("#![no_std]") {
        findings.push(Finding::of_file(file, "the core says #![no_std]"));
    }
    findings
}

pub(crate) fn core_dependencies(members: &[Member]) -> Vec<Finding> {
    let core = members.iter().filter(|member| member.name == CORE);
    let dependencies =
        core.flat_map(|core| core.dependencies.iter().map(move |dependency| (core, dependency)));
    let needed = dependencies.filter(|(_, dependency)| dependency.used_in != Use::Tests);
    needed
        .map(|(core, dependency)| {
            Finding::of_member(core, format!("the core depends on {}", dependency.name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::Dependency;

    fn found(text: &str) -> usize {
        core_words(&SourceFile::new("crates/eventferry-core/src/lane.rs", text)).len()
    }

    #[test]
    fn std_clocks_and_randomness_are_found() {
        assert_eq!(found("use std::fmt;"), 1);
        assert_eq!(found("let now = Instant::now();"), 1);
        assert_eq!(found("fn f(t: SystemTime) { rand::random() }"), 2);
        assert_eq!(found("map: HashMap<Lane, u8>,"), 1);
    }

    #[test]
    fn words_about_them_are_no_use_of_them() {
        assert_eq!(found("//! no std, no Instant\nuse core::fmt; // not std::fmt\nlet x = \"std\";"), 0);
        assert_eq!(found("#![no_std]\nextern crate alloc;\nlet understand = 1;"), 0);
    }

    #[test]
    fn a_core_that_forgets_no_std_is_found() {
        let lib = |text: &str| core_words(&SourceFile::new("crates/eventferry-core/src/lib.rs", text)).len();
        assert_eq!(lib("pub mod lane;"), 1);
        assert_eq!(lib("#![no_std]\npub mod lane;"), 0);
    }

    #[test]
    fn a_dependency_of_the_core_is_found() {
        let core = |used_in| {
            let dependencies = vec![Dependency { name: "bytes".to_owned(), used_in }];
            Member { name: CORE.to_owned(), folder: "crates/eventferry-core".to_owned(), dependencies }
        };
        assert_eq!(core_dependencies(&[core(Use::Library)]).len(), 1);
        assert_eq!(core_dependencies(&[core(Use::Build)]).len(), 1);
        assert_eq!(core_dependencies(&[core(Use::Tests)]).len(), 0);
    }
}
