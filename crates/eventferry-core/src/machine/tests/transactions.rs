//! Transcripts of transactions.

use super::*;

impl Stage {
    /// One lane, owned and open, and the broker taken over.
    fn transacting() -> Self {
        let mut stage = Self::with(Settings::default().delivering(Delivery::ExactlyOnce), 1);
        stage.turn();
        assert!(stage.reading, "the lane is read once database and broker agree");
        stage
    }

    /// The transaction that was begun last goes through, with all that was sent in it, up to its commit.
    fn prepared(&mut self) {
        self.report(BEGIN, Outcome::Acknowledged);
        for token in self.sent() {
            self.acknowledge(token);
        }
        self.later(Duration::from_millis(5));
        let stamp = self.intended.last().expect("an intent is written down").stamp;
        self.core.handle_intended(self.now, stamp, Ok(Verdict::Done));
        self.turn();
    }
}

#[test]
fn an_intent_is_durable_and_all_is_acknowledged_before_a_commit() {
    let mut stage = Stage::transacting();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 2)]);
    assert_eq!((stage.begun.len(), stage.sent()), (1, tokens.clone()));
    stage.acknowledge(tokens[0]);
    stage.later(Duration::from_millis(5));
    assert_eq!(stage.intended[0].settlements[0].prefix, [2], "it says how far the lane is carried then");
    stage.core.handle_intended(stage.now, stage.begun[0], Ok(Verdict::Done));
    stage.turn();
    stage.report(BEGIN, Outcome::Acknowledged);
    assert_eq!(stage.commits, 0, "one is in flight");
    stage.acknowledge(tokens[1]);
    assert_eq!((stage.commits, stage.shipped.len()), (1, 0));
    stage.report(COMMIT, Outcome::Acknowledged);
    assert_eq!(stage.shipped, tokens);
    stage.later(Duration::from_millis(100));
    assert_eq!((stage.last_settled(), stage.settled[0].carries), (vec![2], Some(1)));
}

#[test]
fn nothing_of_the_next_is_sent_before_all_of_the_last_is_acknowledged() {
    let mut stage = Stage::transacting();
    let first = stage.page(&[(0, 1, 1, 1)]);
    stage.report(BEGIN, Outcome::Acknowledged);
    stage.later(Duration::from_millis(5));
    let second = stage.page(&[(0, 2, 2, 1)]);
    assert_eq!((stage.begun.len(), stage.sent()), (1, first.clone()));
    stage.acknowledge(first[0]);
    assert_eq!((stage.begun.len(), stage.sent()), (2, second));
    assert_eq!(stage.commits, 0, "it is filled while the intent of the last is written down");
}

#[test]
fn a_record_that_had_no_room_beside_the_stamp_goes_once_that_is_acknowledged() {
    let mut stage = Stage::transacting();
    let tokens = stage.page(&[(0, 1, 1, 1)]);
    stage.sent.clear();
    stage.core.handle_full(stage.now, tokens[0]);
    stage.turn();
    assert!(stage.sent().is_empty());
    stage.report(BEGIN, Outcome::Acknowledged);
    assert_eq!((stage.begun.len(), stage.sent()), (1, tokens));
}

#[test]
fn a_part_of_the_lanes_is_given_up() {
    let mut stage = Stage::with(Settings::default().delivering(Delivery::ExactlyOnce), 2);
    stage.turn();
    stage.store_answers = false;
    stage.later(Settings::default().renewal_at_rest());
    assert_eq!(stage.open_calls, 1, "it renews");
    // Somebody who shares lanes has taken one.
    let held = Held { leases: vec![stage.owned[0]], relays_live: 1, lanes_total: 2 };
    stage.core.handle_held(stage.now, Ok(held));
    stage.store_answers = true;
    stage.turn();
    stage.abandoned(Role::Main, &[]);
    stage.later(Duration::from_millis(100));
    assert!(stage.said.contains(&Notice::Lost(vec![Lane(1)])));
    assert!(stage.said.contains(&Notice::Released(vec![Lane(0)])), "{:?}", stage.said);
}

#[test]
fn another_domain_waits_until_all_partitions_know_of_the_end() {
    let mut stage = Stage::transacting();
    stage.page(&[(0, 1, 1, 1)]);
    stage.prepared();
    stage.report(COMMIT, Outcome::Acknowledged);
    let other = stage.page(&[(0, 2, 1, 2)]);
    assert_eq!((stage.begun.len(), stage.sent().len()), (2, 0), "only the next but one tells");
    stage.prepared();
    stage.report(COMMIT, Outcome::Acknowledged);
    assert_eq!((stage.begun.len(), stage.sent().len()), (3, 0));
    stage.report(BEGIN, Outcome::Acknowledged);
    assert_eq!(stage.sent(), other);
}

#[test]
fn a_transaction_for_whose_end_somebody_waits_waits_for_no_company() {
    let mut stage = Stage::transacting();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 1, 2)]);
    assert_eq!((stage.sent(), stage.intended.len()), (vec![tokens[0]], 1), "the other domain waits for it");
    stage.prepared();
    stage.report(COMMIT, Outcome::Acknowledged);
    assert_eq!((stage.begun.len(), stage.intended.len()), (2, 2), "and for the next, which shows its end");
}

#[test]
fn who_leaves_waits_until_all_can_be_read() {
    let mut stage = Stage::transacting();
    stage.page(&[(0, 1, 1, 1)]);
    stage.prepared();
    stage.report(COMMIT, Outcome::Acknowledged);
    stage.core.drain(stage.now);
    stage.turn();
    assert_eq!(stage.begun.len(), 2, "two more show the end of one");
    stage.prepared();
    assert_eq!(stage.last_settled(), [1], "all that was in hand is settled");
    assert_eq!((stage.owned.len(), stage.stopped), (1, None), "yet whoever comes next may be read first");
    stage.report(COMMIT, Outcome::Acknowledged);
    assert_eq!((stage.begun.len(), stage.owned.len()), (3, 1));
    stage.report(BEGIN, Outcome::Acknowledged);
    stage.later(Duration::from_millis(10));
    assert_eq!((stage.owned.len(), stage.stopped), (0, Some(Stop::Drained)));
}

#[test]
fn a_refused_record_throws_its_transaction_away_and_goes_alone() {
    let mut stage = Stage::transacting();
    let tokens = stage.page(&[(0, 1, 1, 1), (0, 2, 2, 1), (0, 3, 3, 1)]);
    stage.report(BEGIN, Outcome::Acknowledged);
    stage.acknowledge(tokens[0]);
    stage.report(tokens[1], Outcome::Refused(PublishFaultKind::Rejected));
    assert_eq!((stage.aborts, stage.abandoned.len()), (1, 0), "the session lives on");
    stage.report(tokens[2], Outcome::Uncertain);
    stage.sent.clear();
    stage.report(ABORT, Outcome::Acknowledged);
    assert_eq!(stage.sent(), [tokens[0]], "what stands before it in the lane");
    stage.prepared();
    assert_eq!(stage.sent(), [tokens[1]], "by itself");
    stage.report(COMMIT, Outcome::Acknowledged);
    assert_eq!(stage.shipped, [tokens[0]]);
}

#[test]
fn what_nobody_said_was_committed_is_found_at_the_next_take_over() {
    for committed in [true, false] {
        let mut stage = Stage::transacting();
        let tokens = stage.page(&[(0, 1, 1, 1)]);
        stage.prepared();
        assert_eq!(stage.commits, 1);
        stage.committed = committed.then(|| stage.begun[0]);
        stage.report(COMMIT, Outcome::Uncertain);
        stage.abandoned(Role::Main, &[]);
        assert_eq!(stage.shipped.len(), usize::from(committed));
        assert_eq!(stage.sent().contains(&tokens[0]), !committed, "it is sent again only if it was not");
    }
}

#[test]
fn a_lane_that_has_changed_hands_ends_all_sending() {
    let mut stage = Stage::transacting();
    stage.page(&[(0, 1, 1, 1)]);
    stage.report(BEGIN, Outcome::Acknowledged);
    stage.later(Duration::from_millis(5));
    let stamp = stage.begun[0];
    stage.core.handle_intended(stage.now, stamp, Ok(Verdict::Fenced));
    stage.turn();
    assert_eq!((stage.commits, stage.abandoned.pop()), (0, Some(Role::Main)));
}
