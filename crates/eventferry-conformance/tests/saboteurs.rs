//! Each clause is seen to fail: every flaw of the model breaks some clause, and every clause is broken by some flaw.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventferry_conformance::model::{FLAWS, Flaw, Model};
use eventferry_conformance::{Clause, clauses};

/// Clauses that no flaw of the model breaks, each with the reason.
const NEVER_SEEN_TO_FAIL: [(&str, &str); 0] = [];

/// The clauses that a model with this flaw breaks.
fn broken_by(flaw: Flaw) -> Vec<(&'static Clause, String)> {
    let subject = Arc::new(Model::with_flaw(flaw));
    clauses()
        .filter_map(|clause| clause.ask(&subject).err().map(|broken| (clause, broken.to_string())))
        .collect()
}

#[test]
fn every_clause_is_seen_to_fail_and_every_flaw_to_be_found() {
    let mut seen_to_fail: BTreeMap<&str, Vec<Flaw>> = BTreeMap::new();
    let mut unnoticed = Vec::new();
    for flaw in FLAWS {
        let broken = broken_by(*flaw);
        println!("\n{flaw:?} breaks {} clauses", broken.len());
        for (clause, how) in &broken {
            println!("  {clause}: {how}");
            seen_to_fail.entry(clause.id).or_default().push(*flaw);
        }
        if broken.is_empty() {
            unnoticed.push(flaw);
        }
    }
    let never: Vec<_> = clauses()
        .map(|clause| clause.id)
        .filter(|id| !seen_to_fail.contains_key(id))
        .filter(|id| NEVER_SEEN_TO_FAIL.iter().all(|(excepted, _)| excepted != id))
        .collect();
    assert!(unnoticed.is_empty(), "no clause notices {unnoticed:?}");
    assert!(never.is_empty(), "no flaw breaks {never:?}: add one, or say why there is none");
    for (excepted, reason) in NEVER_SEEN_TO_FAIL {
        assert!(
            !seen_to_fail.contains_key(excepted),
            "{excepted} is excepted ({reason}) and was seen to fail"
        );
    }
}

#[test]
fn ids_are_words_with_hyphens_and_no_two_alike() {
    let mut ids: Vec<_> = clauses().map(|clause| clause.id).collect();
    for id in &ids {
        let fits = id.split('-').all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase()));
        assert!(fits, "{id}");
    }
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_sentence_is_one_line_and_the_promises_ascend() {
    let promises: Vec<_> = clauses().map(|clause| clause.promise).collect();
    assert!(promises.is_sorted());
    assert_eq!(promises.iter().collect::<std::collections::BTreeSet<_>>().len(), 10);
    for clause in clauses() {
        let sentence = clause.sentence;
        assert!(sentence.ends_with('.') && !sentence.contains('\n') && sentence.len() <= 120, "{clause}");
    }
}
