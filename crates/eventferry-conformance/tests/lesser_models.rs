//! What a back end declares not to have it is not asked for, and everything else it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventferry_conformance::model::Model;
use eventferry_conformance::{Declared, Ended, Need, Reach, Writers, clauses};
use eventferry_core::store::{Keeps, Ownership, Stall};

/// Asks a model of these capabilities everything, and compares the needs of what did not apply.
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
fn the_whole_model_is_asked_everything_but_to_hold_events_back() {
    keeps_the_rest(|_| {}, &[Need::Stall]);
}

#[test]
fn without_savepoints() {
    keeps_the_rest(|declared| declared.capabilities.savepoints = false, &[Need::Savepoints, Need::Stall]);
}

#[test]
fn with_one_writer_at_a_time() {
    keeps_the_rest(|declared| declared.writers = Writers::One, &[Need::ManyWriters, Need::Stall]);
}

#[test]
fn deleting_what_is_settled_in_small_calls() {
    keeps_the_rest(
        |declared| {
            declared.capabilities.keeps = Keeps::UntilSettled;
            declared.capabilities.settle_items_max = 16;
        },
        &[Need::Log, Need::Stall],
    );
}

#[test]
fn leasing_all_lanes_at_once() {
    keeps_the_rest(
        |declared| declared.capabilities.ownership = Ownership::Whole,
        &[Need::LaneByLane, Need::Stall],
    );
}

#[test]
fn waiting_for_the_slowest_transaction() {
    keeps_the_rest(|declared| declared.capabilities.stall = Stall::SlowestTransaction, &[Need::NoStall]);
}

#[test]
fn with_small_payloads_and_transactions() {
    keeps_the_rest(
        |declared| {
            declared.capabilities.payload_bytes_max = 8 << 10;
            declared.capabilities.events_per_transaction_max = 100;
        },
        &[Need::Stall],
    );
}

#[test]
fn without_a_way_back_and_without_an_audit() {
    keeps_the_rest(|declared| declared.reach = Reach::default(), &[Need::Rewind, Need::Audit, Need::Stall]);
}

#[test]
fn without_intents() {
    keeps_the_rest(|declared| declared.capabilities.intents = false, &[Need::Intents, Need::Stall]);
}

#[test]
fn without_a_doorbell() {
    keeps_the_rest(|declared| declared.capabilities.doorbell = false, &[Need::Doorbell, Need::Stall]);
}
