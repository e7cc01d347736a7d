//! Each clause for publishers is seen to fail, against a model that is broken in the very way which the clause is there
//! to find; and what a publisher declares not to have it is not asked for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use eventferry_conformance::Ended;
use eventferry_conformance::publisher::model::{FLAWS, Flaw, Model};
use eventferry_conformance::publisher::{Declared, Need, Reach, clauses};
use eventferry_core::publisher::Pipeline;

/// Each clause and what it is there to find.
const SABOTEURS: &[(&str, Flaw)] = &[
    ("acknowledged-is-there", Flaw::AcknowledgesUnwritten),
    ("acknowledged-is-there", Flaw::WritesTwice),
    ("message-is-exact", Flaw::TombstoneIsEmpty),
    ("message-is-exact", Flaw::HeadersAreAMap),
    ("message-is-exact", Flaw::HeadersAreText),
    ("asked-partition-is-kept", Flaw::IgnoresPartitions),
    ("time-is-the-events", Flaw::StampsItsOwnTime),
    ("each-is-reported-once", Flaw::ReportsTwice),
    ("each-is-reported-once", Flaw::LosesReports),
    ("each-is-reported-once", Flaw::AbandonRepeats),
    ("dropped-wait-loses-no-report", Flaw::DroppedWaitLoses),
    ("abandon-waits-for-what-is-in-flight", Flaw::AbandonsAtOnce),
    ("abandon-answers-for-the-rest", Flaw::AbandonForgets),
    ("domain-keeps-the-order", Flaw::Reorders),
    ("route-is-stable", Flaw::RoutesInTurns),
    ("key-has-one-partition", Flaw::RoutesByInstance),
    ("nothing-is-written-after-a-refusal", Flaw::WritesOnAfterRefusal),
    ("ended-session-takes-nothing", Flaw::TakesAfterTheEnd),
    ("refused-is-not-there", Flaw::RefusesTheWritten),
    ("refused-is-not-there", Flaw::SaysUncertain),
    ("uncommitted-is-not-read", Flaw::ShowsTheUncommitted),
    ("commit-is-of-the-earliest", Flaw::CommitsTheLatest),
    ("begun-shows-the-committed", Flaw::CommitsShowLate),
    ("aborted-is-never-read", Flaw::AbortCommits),
    ("aborted-is-never-read", Flaw::AbortEndsTheSession),
    ("last-stamp-comes-back", Flaw::ForgetsStamps),
    ("last-stamp-comes-back", Flaw::TellsTheFirstStamp),
    ("last-stamp-comes-back", Flaw::TellsTheNewestStamp),
    ("take-over-ends-what-was-open", Flaw::TakeOverFencesNobody),
    ("take-over-ends-what-was-open", Flaw::TakeOverCommitsTheOpen),
    ("take-over-shows-the-committed", Flaw::CommitsShowLate),
    ("outboxes-are-taken-over-apart", Flaw::OneOutboxForAll),
    ("nothing-comes-after-abandon", Flaw::AbandonLingers),
    ("sessions-end-apart", Flaw::AbandonEndsAll),
    ("refusal-harms-no-other", Flaw::RefusesNeighbours),
    ("missing-topic-is-refused-as-such", Flaw::LearnsAnything),
    ("missing-topic-is-refused-as-such", Flaw::LearnsOnce),
    ("unlearned-topic-is-unknown", Flaw::RoutesUnlearned),
    ("dead-letter-is-the-message-and-why", Flaw::HeadersEndAtTen),
    ("dead-letter-is-the-message-and-why", Flaw::StampsItsOwnTime),
    ("dead-letter-asks-for-no-partition", Flaw::SendsTheDeadWhereTheyAsked),
    ("full-is-not-taken", Flaw::FullTakesIt),
];

#[test]
fn each_clause_fails_against_its_saboteurs() {
    let unnoticed: Vec<_> = SABOTEURS
        .iter()
        .filter_map(|(id, flaw)| {
            let clause = clauses().find(|clause| clause.id == *id)?;
            let ended = clause.ask(&Arc::new(Model::default().with_flaw(*flaw)));
            println!(
                "{flaw:?} {clause}: {}",
                ended.as_ref().map_or_else(ToString::to_string, |ended| format!("{ended:?}"))
            );
            ended.is_ok().then(|| format!("{clause} does not notice {flaw:?}"))
        })
        .collect();
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}

#[test]
fn every_clause_and_every_flaw_is_in_the_table() {
    let in_table: BTreeSet<_> = SABOTEURS.iter().map(|(id, _)| *id).collect();
    assert_eq!(in_table, clauses().map(|clause| clause.id).collect());
    for flaw in FLAWS {
        assert!(SABOTEURS.iter().any(|(_, one)| one == flaw), "no clause is there to find {flaw:?}");
    }
}

#[test]
fn ids_are_words_with_hyphens_and_none_is_a_stores() {
    let stores = eventferry_conformance::clauses().map(|clause| clause.id);
    let mut ids: Vec<_> = clauses().map(|clause| clause.id).chain(stores).collect();
    for id in &ids {
        let fits = id.split('-').all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase()));
        assert!(fits, "{id}");
    }
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_sentence_is_one_line_and_the_promises_ascend() {
    assert!(clauses().map(|clause| clause.promise).is_sorted());
    for clause in clauses() {
        let sentence = clause.sentence;
        assert!(sentence.ends_with('.') && !sentence.contains('\n') && sentence.len() <= 120, "{clause}");
    }
}

/// Asks a model of these abilities everything, and compares the needs of what did not apply.
fn keeps_the_rest(change: impl Fn(&mut Declared), lacking: &[Need]) {
    let mut declared = Model::default().declared().clone();
    change(&mut declared);
    let subject = Arc::new(Model::default().declaring(declared));
    let mut passed_over = BTreeSet::new();
    for clause in clauses() {
        match clause.ask(&subject) {
            Ok(Ended::Kept) => {}
            Ok(Ended::NotApplicable(reason)) => {
                passed_over.insert(reason);
            }
            Err(broken) => panic!("{clause}: {broken}"),
        }
    }
    assert_eq!(passed_over, lacking.iter().map(|need| need.lacking()).collect());
}

#[test]
fn the_whole_model_is_asked_everything() {
    keeps_the_rest(|_| {}, &[]);
}

#[test]
fn one_message_at_a_time() {
    keeps_the_rest(|declared| declared.abilities.pipeline = Pipeline::OneAtATime, &[Need::Gapless]);
}

#[test]
fn the_first_of_each_domain_alone() {
    keeps_the_rest(|declared| declared.abilities.first_alone = Some(Duration::from_secs(1)), &[]);
}

#[test]
fn without_transactions() {
    keeps_the_rest(|declared| declared.abilities.transactions = None, &[Need::Transactions]);
}

#[test]
fn without_partitions_times_and_limits() {
    keeps_the_rest(
        |declared| declared.reach = Reach::default(),
        &[Need::Partitions, Need::Times, Need::Limits],
    );
}
