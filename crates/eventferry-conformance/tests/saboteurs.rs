//! Each clause is seen to fail, against a model that is broken in the very way which the clause is there to find.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventferry_conformance::model::{FLAWS, Flaw, Model};
use eventferry_conformance::{Clause, Need, clauses};
use eventferry_core::store::Stall;

/// Each clause and what it is there to find.
const SABOTEURS: &[(&str, Flaw)] = &[
    ("committed-is-read", Flaw::LosesLastOfTransaction),
    ("rolled-back-is-never-read", Flaw::CommitsOnRollback),
    ("savepoint-takes-its-own", Flaw::IgnoresSavepoints),
    ("savepoint-takes-its-own", Flaw::SavepointTakesAll),
    ("uncommitted-is-invisible", Flaw::ShowsUncommitted),
    ("lost-connection-rolls-back", Flaw::CommitsLostConnections),
    ("first-relay-reads-from-the-beginning", Flaw::StartsAtTheEnd),
    ("first-relay-reads-from-the-beginning", Flaw::AlwaysContinues),
    ("late-commit-is-read", Flaw::PlacesAtEnqueue),
    ("late-commit-outlives-its-owner", Flaw::NewOwnerForgetsTheLate),
    ("unsettled-is-read-again", Flaw::ForgetsTheUnsettled),
    ("new-owner-goes-on-after-the-settled", Flaw::SettlesWholeTransactions),
    ("half-read-is-finished", Flaw::SettlesWhatWasRead),
    ("quiet-is-quiet", Flaw::QuietTooSoon),
    ("lanes-left-out-catch-up", Flaw::OneCursorForAllLanes),
    ("passed-marks-can-be-settled", Flaw::RefusesPassedMarks),
    ("passed-marks-never-run-ahead", Flaw::PassesUnread),
    ("closed-lane-starts-over", Flaw::ReopensWhereItWas),
    ("sweep-spares-the-unsettled", Flaw::SweepsTheUnsettled),
    ("positions-outlive-an-empty-outbox", Flaw::PlacesStartAgain),
    ("payload-is-exact", Flaw::PayloadIsText),
    ("payload-is-exact", Flaw::EmptyIsNone),
    ("large-payload-is-exact", Flaw::PayloadIsCut),
    ("key-is-exact", Flaw::NoKeyIsEmpty),
    ("headers-are-exact", Flaw::HeadersAreAMap),
    ("text-is-exact", Flaw::TrimsText),
    ("longest-text-is-exact", Flaw::CutsText),
    ("partition-is-exact", Flaw::PartitionZeroIsNone),
    ("bell-rings-for-a-commit", Flaw::BellStaysSilent),
    ("bell-rings-for-what-came-before-it", Flaw::BellForgetsWhatCameBefore),
    ("bell-rings-for-a-late-commit", Flaw::BellStaysSilent),
    ("bell-rings-on", Flaw::BellForgetsBetweenWaits),
    ("bell-that-was-left-rings-again", Flaw::BellIsForTheFirstWait),
    ("still-means-nobody-enqueues", Flaw::StillIsItsOwnLanes),
    ("message-id-is-kept", Flaw::IgnoresGivenIds),
    ("enqueue-time-is-the-stores", Flaw::TimesAtReading),
    ("order-within-a-transaction", Flaw::ReversesTransactions),
    ("order-across-transactions", Flaw::NewestComeFirst),
    ("late-commit-keeps-order", Flaw::LateComeLast),
    ("early-begun-keeps-order", Flaw::OrdersByTransaction),
    ("page-size-keeps-order", Flaw::ReversesCutPages),
    ("small-pages-keep-late-order", Flaw::LateComeLast),
    ("lanes-follow-the-hash", Flaw::HashesItsOwnWay),
    ("once-for-each-opening", Flaw::RepeatsItself),
    ("settled-is-not-read-again", Flaw::StartsOver),
    ("settling-twice-changes-nothing", Flaw::RepeatIsFenced),
    ("older-settlement-changes-nothing", Flaw::OlderMovesBack),
    ("message-ids-are-random-and-stable", Flaw::CountsMessageIds),
    ("message-ids-are-random-and-stable", Flaw::NamesAtReading),
    ("parked-is-not-read-after-a-rewind", Flaw::RereadsTheParked),
    ("parked-is-not-read-after-a-rewind", Flaw::RereadsTheSettled),
    ("every-lane-is-held-once", Flaw::TakesFromTheLiving),
    ("take-max-is-kept", Flaw::TakesEverything),
    ("lane-left-out-is-freed", Flaw::FreesNothing),
    ("lane-left-out-is-freed", Flaw::FreesKept),
    ("kept-lease-keeps-its-epoch", Flaw::RenewalCounts),
    ("epoch-grows-with-each-owner", Flaw::EpochStays),
    ("epoch-grows-with-each-owner", Flaw::EpochNamesTheOwner),
    ("living-relay-keeps-its-lanes", Flaw::TakesFromTheLiving),
    ("dead-relays-lanes-are-taken", Flaw::LapsesEarly),
    ("dead-relays-lanes-are-taken", Flaw::NeverLapses),
    ("lost-lease-is-missing", Flaw::TellsOfLostLeases),
    ("leaving-frees-at-once", Flaw::LeavesHolding),
    ("leaving-frees-at-once", Flaw::CountsLeavers),
    ("living-relays-are-counted", Flaw::CountsTheDead),
    ("one-name-one-relay", Flaw::SharesNames),
    ("restarted-relay-gets-higher-epochs", Flaw::RestartWaits),
    ("intent-settles-nothing", Flaw::IntendingSettles),
    ("committed-intents-are-carried-out", Flaw::ResolvesNothing),
    ("committed-intents-are-carried-out", Flaw::CarriesOutTheLastAlone),
    ("committed-intents-are-carried-out", Flaw::IntendsNoParks),
    ("committed-intents-are-carried-out", Flaw::IntendsNoChanges),
    ("uncommitted-intents-are-forgotten", Flaw::CarriesOutTheAborted),
    ("uncommitted-intents-are-forgotten", Flaw::TrustsTheNewestIntent),
    ("resolving-again-changes-nothing", Flaw::ForgetsTheCommitted),
    ("settled-intent-is-not-carried-out", Flaw::CarriesOutTwice),
    ("settled-intent-is-not-carried-out", Flaw::SettlingCarriesNothing),
    ("sweep-spares-intents", Flaw::SweepsIntents),
    ("unknown-stamp-has-parted", Flaw::ForgetsNonces),
    ("unknown-stamp-has-parted", Flaw::PartedKeepsIntents),
    ("no-stamp-has-parted-from-intents", Flaw::NoStampIsAgreed),
    ("settling-without-transactions-forgets-intents", Flaw::KeepsIntentsForEver),
    ("late-intent-changes-nothing", Flaw::LateIntentCounts),
    ("numbers-are-given-once", Flaw::NumbersComeAgain),
    ("outbox-keeps-its-name", Flaw::NamesTheOutboxAnew),
    ("outbox-keeps-its-name", Flaw::NamesAllOutboxesAlike),
    ("all-lanes-or-none", Flaw::WholeTakesWhatIsFree),
    ("all-lanes-or-none", Flaw::WholeIsUnheard),
    ("intent-under-a-lost-lease-is-fenced", Flaw::IntendsWithoutEpoch),
    ("intent-needs-all-its-leases", Flaw::IntendsWithoutEpoch),
    ("intent-needs-all-its-leases", Flaw::IntendsByItsOwnLanes),
    ("resolving-under-a-lost-lease-changes-nothing", Flaw::ResolvesWithoutEpoch),
    ("resolving-needs-all-lanes", Flaw::ResolvesWithoutEpoch),
    ("resolving-needs-all-lanes", Flaw::ResolvesByItsOwnLanes),
    ("fenced-settlement-forgets-no-intent", Flaw::FencedForgetsIntents),
    ("old-epoch-is-fenced", Flaw::IgnoresEpochs),
    ("regained-lane-fences-its-past", Flaw::EpochNamesTheOwner),
    ("fenced-parks-nothing", Flaw::FencedStillParks),
    ("fenced-changes-nothing", Flaw::FencedStillChanges),
    ("fence-is-for-each-lane", Flaw::OneFenceForAll),
    ("late-settlement-of-a-former-owner-changes-nothing", Flaw::IgnoresEpochs),
    ("wish-names-its-lanes", Flaw::IgnoresTheWish),
    ("lanes-settle-apart", Flaw::SettlesEveryLane),
    ("slow-transaction-delays-nobody", Flaw::WaitsForTheSlow),
    ("relays-read-apart", Flaw::SettlesEveryLane),
    ("left-out-topic-waits-by-itself", Flaw::LeavesOutNothing),
    ("left-out-topic-waits-by-itself", Flaw::LeavesOutOnlyTheEvent),
    ("left-out-topic-waits-by-itself", Flaw::LeavesOutTheDying),
    ("parked-aggregates-wait-apart", Flaw::WaitingStopsItsLane),
    ("missing-schema-is-said", Flaw::MissesNoSchema),
    ("applying-twice-is-harmless", Flaw::ApplyStartsOver),
    ("dropped-call-leaves-its-role-usable", Flaw::ForgetsTheUnsettled),
    ("dropped-call-leaves-its-role-usable", Flaw::RepeatIsFenced),
    ("lapsed-lease-nobody-took-goes-on", Flaw::DropsTheLapsed),
    ("what-is-held-back-is-said", Flaw::WaitsInSilence),
    ("gauge-tells-what-waits", Flaw::CountsWhatWasSettled),
    ("gauge-tells-who-owns", Flaw::TellsNoOwner),
    ("parked-with-its-position", Flaw::ParksNothing),
    ("parked-with-its-position", Flaw::ParksInPlace),
    ("parked-tells-what-and-why", Flaw::ForgetsReasons),
    ("parked-tells-what-and-why", Flaw::ListsNoSizes),
    ("parked-keeps-its-order", Flaw::ListsBackward),
    ("parked-keeps-its-order", Flaw::ListsFromTheStart),
    ("parking-twice-parks-once", Flaw::ParksTwice),
    ("parked-outlives-the-sweep", Flaw::SweepsTheParked),
    ("gauge-counts-the-parked", Flaw::CountsOnlyTheRefused),
    ("gauge-counts-the-parked", Flaw::ForgetsWhoWaits),
    ("refused-is-due-after-its-time", Flaw::RetriesAtOnce),
    ("waiting-is-due-when-retried", Flaw::WaitingIsDue),
    ("waiting-is-due-when-retried", Flaw::RetriedKeepsAttempts),
    ("held-topics-events-are-due-at-once", Flaw::HeldTopicCounts),
    ("given-up-is-due-as-a-dead-letter", Flaw::ForgetsWhoDies),
    ("given-up-is-due-as-a-dead-letter", Flaw::DiesWithoutAWord),
    ("given-up-is-due-as-a-dead-letter", Flaw::DiesWhenRead),
    ("given-up-stays-given-up", Flaw::RefusalRevivesTheDead),
    ("given-up-stays-given-up", Flaw::RetriedRevivesTheDead),
    ("due-keeps-the-order", Flaw::OvertakesWhatWaits),
    ("due-keeps-the-order", Flaw::DueComesBackward),
    ("due-passes-by-what-is-in-hand", Flaw::DueFromTheStart),
    ("due-passes-by-what-is-in-hand", Flaw::GoesOnInARun),
    ("due-passes-by-what-is-in-hand", Flaw::ForgetsWhatIsInHand),
    ("due-until-told-otherwise", Flaw::HandsOverOnce),
    ("due-names-its-lanes", Flaw::DueOfEveryLane),
    ("next-in-tells-how-long", Flaw::NextIsTheLast),
    ("next-in-tells-how-long", Flaw::NextCountsWhatIsLeftOut),
    ("parked-bytes-are-exact", Flaw::ParkedEmptyIsNone),
    ("parked-bytes-are-exact", Flaw::ParkedHeadersAreAMap),
    ("refused-again-tells-anew", Flaw::KeepsTheFirstCause),
    ("refused-again-tells-anew", Flaw::RefusalsAddUp),
    ("refused-twice-counts-once", Flaw::RefusalsAddUp),
    ("refused-twice-counts-once", Flaw::OlderRefusalCounts),
    ("postponed-keeps-its-attempts", Flaw::PostponedCounts),
    ("postponed-keeps-its-attempts", Flaw::PostponesNothing),
    ("held-waits-for-its-release", Flaw::HeldIsDue),
    ("held-waits-for-its-release", Flaw::HeldLetsGo),
    ("settled-is-done-with", Flaw::SettledStaysListed),
    ("settled-is-done-with", Flaw::CountsTheSettled),
    ("settled-is-done-with", Flaw::SettledHoldsBack),
    ("settled-is-done-with", Flaw::NoMarkNoChange),
    ("settled-stays-settled", Flaw::SettledComesBack),
    ("settled-stays-settled", Flaw::MissingIsFenced),
    ("changes-and-parks-are-one", Flaw::ParkingDropsChanges),
    ("changes-and-parks-are-one", Flaw::ChangesComeBackward),
    ("late-changes-change-nothing", Flaw::LateChangesCount),
    ("show-means-what-matches", Flaw::FilterForgetsMessages),
    ("show-means-what-matches", Flaw::FilterForgetsTypes),
    ("show-means-what-matches", Flaw::FilterForgetsIds),
    ("show-means-what-matches", Flaw::FilterForgetsTopics),
    ("show-means-what-matches", Flaw::FilterForgetsReasons),
    ("show-means-what-matches", Flaw::FilterForgetsStages),
    ("show-means-what-matches", Flaw::FilterForgetsAge),
    ("reason-is-a-class-or-words", Flaw::ReasonKnowsCase),
    ("reason-is-a-class-or-words", Flaw::ReasonIsAPattern),
    ("reason-is-a-class-or-words", Flaw::ReasonIsWordsOnly),
    ("decision-fits-its-stage", Flaw::DecidesWhateverStage),
    ("decision-fits-its-stage", Flaw::RetriesWhoWaitsBehind),
    ("decision-reaches-its-owner", Flaw::DecidesEverything),
    ("decision-reaches-its-owner", Flaw::DecisionsGoUnheard),
    ("decision-reaches-its-owner", Flaw::DecisionsFollowAfter),
    ("decision-reaches-its-owner", Flaw::DecidedIsDue),
    ("decision-reaches-its-owner", Flaw::ShowsNoDecision),
    ("decision-is-cleared-by-its-change", Flaw::DecisionStays),
    ("pending-decision-is-not-replaced", Flaw::ReplacesDecisions),
    ("decision-outlives-a-refusal", Flaw::RefusedDecisionTakesAll),
    ("decisions-are-audited", Flaw::AuditsNothing),
    ("decisions-are-audited", Flaw::AuditsTheCall),
    ("decisions-are-audited", Flaw::AuditForgetsWhy),
    ("decisions-are-audited", Flaw::AuditForgetsWhich),
    ("decisions-are-audited", Flaw::RecordsNothing),
    ("page-keeps-its-bounds", Flaw::IgnoresRecordsMax),
    ("page-keeps-its-bounds", Flaw::IgnoresBytesMax),
    ("oversized-event-comes-alone", Flaw::SkipsTheOversized),
    ("oversized-event-comes-alone", Flaw::IgnoresBytesMax),
    ("long-transaction-comes-in-pages", Flaw::SettlesWholeTransactions),
    ("due-page-keeps-its-bounds", Flaw::DueIgnoresRecordsMax),
    ("due-page-keeps-its-bounds", Flaw::DueIgnoresBytesMax),
    ("due-page-keeps-its-bounds", Flaw::DueSaysNoMore),
    ("oversized-due-event-comes-alone", Flaw::DueSkipsTheOversized),
    ("oversized-due-event-comes-alone", Flaw::DueIgnoresBytesMax),
    ("decisions-come-in-pieces", Flaw::DecisionsHaveNoBound),
    ("shown-page-keeps-its-bounds", Flaw::ShowsFromTheStart),
    ("shown-page-keeps-its-bounds", Flaw::ShowIgnoresRecordsMax),
    ("shown-page-keeps-its-bounds", Flaw::ShowIgnoresBytesMax),
    ("sweep-removes-the-settled", Flaw::SweepsEarly),
    ("sweep-removes-the-settled", Flaw::SweepsNothing),
    ("enqueue-needs-no-relay", Flaw::NeedsARelay),
    ("enqueue-while-everything-is-held", Flaw::WaitsForReaders),
    ("sweep-and-enqueue-pass-each-other", Flaw::SweepLocksOut),
    ("limits-are-refused", Flaw::ChecksNoLimits),
    ("limits-are-refused", Flaw::AddsBeforeRefusing),
    ("nothing-enqueued-is-nothing", Flaw::RefusesNothing),
];

/// The model with this flaw, of such capabilities that the clause applies to it.
fn sabotaged(clause: &Clause, flaw: Flaw) -> Arc<Model> {
    let whole = Model::default();
    let mut declared = whole.declared().clone();
    if clause.needs.contains(&Need::Stall) {
        declared.capabilities.stall = Stall::SlowestTransaction;
    }
    Arc::new(whole.declaring(declared).with_flaw(flaw))
}

#[test]
fn each_clause_fails_against_its_saboteurs() {
    let unnoticed: Vec<_> = SABOTEURS
        .iter()
        .filter_map(|(id, flaw)| {
            let clause = clauses().find(|clause| clause.id == *id)?;
            let ended = clause.ask(&sabotaged(clause, *flaw));
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
    assert_eq!(promises.iter().collect::<BTreeSet<_>>().len(), 10);
    for clause in clauses() {
        let sentence = clause.sentence;
        assert!(sentence.ends_with('.') && !sentence.contains('\n') && sentence.len() <= 120, "{clause}");
    }
}
