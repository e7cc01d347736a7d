//! Lying down, and getting up.

use super::*;

const MS: Duration = Duration::from_millis(1);

impl Stage {
    /// The bell rings so often.
    fn rings(&mut self, rings: u32) {
        assert!(core::mem::take(&mut self.lying), "it does not listen");
        self.core.handle_rung(self.now, rings);
        self.turn();
    }

    /// Answers the reading with an event of this number, a millisecond later, which is carried at once; how many
    /// readings that was.
    fn found(&mut self, number: u32) -> usize {
        while !self.reading {
            self.now = self.turn().max(self.now + MS);
            self.turn();
        }
        self.now += MS;
        let tokens = self.page(&[(0, number, u64::from(number), 1)]);
        self.acknowledge(tokens[0]);
        1
    }

    /// Answers readings like this for so long, whenever one is asked for; how many there were.
    fn for_a_while(&mut self, time: Duration, rest: Rest) -> usize {
        let (until, mut readings) = (self.now + time, 0);
        while self.now < until {
            if core::mem::take(&mut self.reading) {
                readings += 1;
                self.core.handle_page(self.now, [], [], rest, &mut Vec::new());
            }
            let wake = self.turn();
            self.now = if self.reading { self.now + MS } else { wake.clamp(self.now + MS, until) };
            self.turn();
        }
        readings
    }
}

#[test]
fn a_relay_lies_down_when_the_whole_log_has_stood_still_for_a_while() {
    let mut stage = Stage::ready();
    stage.for_a_while(200 * MS, Rest::Quiet);
    assert!(!stage.lying, "others enqueue");
    stage.for_a_while(30 * MS, Rest::Still);
    assert!(!stage.lying, "somebody enqueued a moment ago");
    stage.for_a_while(5 * MS, Rest::Quiet);
    stage.for_a_while(40 * MS, Rest::Still);
    assert!(!stage.lying, "the while begins anew");
    stage.for_a_while(30 * MS, Rest::Still);
    assert!(stage.lying);
}

#[test]
fn a_ring_is_answered_by_a_look_at_once() {
    let mut stage = Stage::ready();
    stage.for_a_while(2_000 * MS, Rest::Still);
    assert!(stage.lying);
    stage.reading = false;
    stage.core.handle_page(stage.now, [], [], Rest::Still, &mut Vec::new());
    stage.later(MS);
    assert!(!stage.reading, "it looks seldom");
    stage.rings(1);
    assert!(stage.reading);
    assert!(stage.lying, "it goes on listening");
}

#[test]
fn one_whose_bell_is_silent_while_events_come_gets_up() {
    let mut stage = Stage::ready();
    stage.for_a_while(100 * MS, Rest::Still);
    assert!(stage.lying);
    stage.found(1);
    stage.for_a_while(900 * MS, Rest::Quiet);
    assert!(stage.lying, "the ring may be under way");
    stage.for_a_while(200 * MS, Rest::Quiet);
    assert!(!stage.lying);
    stage.for_a_while(900 * MS, Rest::Quiet);
    assert!(!stage.lying, "it does not try again at once");
    stage.for_a_while(200 * MS, Rest::Quiet);
    assert!(stage.lying);
}

#[test]
fn one_that_hears_the_bell_looks_when_it_rings_and_seldom_else() {
    let mut stage = Stage::ready();
    stage.for_a_while(2_000 * MS, Rest::Still);
    let mut readings = 0;
    for number in 1..=200 {
        stage.rings(1);
        readings += stage.found(number) + stage.for_a_while(5 * MS, Rest::Quiet);
    }
    assert!(stage.lying, "two hundred a second are few");
    assert!((200..=205).contains(&readings), "{readings} readings for 200 rings");
    let seldom = stage.for_a_while(4_000 * MS, Rest::Quiet);
    assert!(seldom <= 11, "{seldom} readings");
    assert!(stage.lying);
}

#[test]
fn a_ring_during_a_reading_is_answered_by_another() {
    let mut stage = Stage::ready();
    stage.for_a_while(2_000 * MS, Rest::Still);
    stage.rings(1);
    assert!(stage.reading);
    stage.rings(1);
    stage.found(1);
    assert!(stage.reading, "what rang last may not have been seen");
    stage.found(2);
    assert!(!stage.reading);
}

#[test]
fn one_that_hears_too_many_rings_gets_up_and_tries_again_later() {
    let mut stage = Stage::ready();
    stage.for_a_while(2_000 * MS, Rest::Still);
    let mut number = 0;
    for pause in [1_000, 2_000, 4_000] {
        let mut ringing = 0;
        while stage.lying {
            number += 1;
            ringing += 1;
            stage.rings(4);
            stage.found(number);
            stage.for_a_while(2 * MS, Rest::Quiet);
        }
        assert!((10..=40).contains(&ringing), "{ringing} times 4 rings in 2 ms before it got up");
        stage.for_a_while((pause - 50) * MS, Rest::Quiet);
        assert!(!stage.lying, "{pause} ms");
        stage.for_a_while(100 * MS, Rest::Quiet);
        assert!(stage.lying, "{pause} ms");
    }
}

#[test]
fn one_that_may_have_missed_a_ring_looks_and_lies_down_anew() {
    let mut stage = Stage::ready();
    stage.for_a_while(2_000 * MS, Rest::Still);
    stage.rings(0);
    assert!(stage.reading && !stage.lying);
    assert!(stage.for_a_while(40 * MS, Rest::Still) >= 8, "nobody rings for it");
    stage.for_a_while(40 * MS, Rest::Still);
    assert!(stage.lying);
}

#[test]
fn a_ring_in_the_same_process_makes_it_look_often_for_a_moment() {
    let mut stage = Stage::ready();
    stage.for_a_while(5_000 * MS, Rest::Still);
    stage.core.ring(stage.now);
    stage.turn();
    assert!(stage.reading);
    // The commit is still under way.
    assert!(stage.for_a_while(40 * MS, Rest::Still) >= 8);
    stage.for_a_while(40 * MS, Rest::Still);
    assert!(stage.lying, "it was for nothing");
}

#[test]
fn an_idle_relay_asks_less_than_five_times_a_second() {
    let mut stage = Stage::ready();
    stage.for_a_while(10_000 * MS, Rest::Still);
    stage.holds = 0;
    let readings = stage.for_a_while(60_000 * MS, Rest::Still);
    assert!(stage.lying);
    assert!(readings + stage.holds < 5 * 60, "{readings} readings and {} renewals in a minute", stage.holds);
    assert!(stage.holds >= 60 / 4, "a lease is renewed four times before it ends");
}

#[test]
fn whoever_wakes_renews_as_often_as_one_at_work() {
    let mut stage = Stage::ready();
    stage.for_a_while(10_000 * MS, Rest::Still);
    stage.holds = 0;
    stage.rings(1);
    stage.for_a_while(1_000 * MS, Rest::Quiet);
    assert!(stage.holds >= 3, "{} renewals in a second", stage.holds);
}

#[test]
fn a_draining_relay_gets_up() {
    let mut stage = Stage::ready();
    stage.for_a_while(100 * MS, Rest::Still);
    assert!(stage.lying);
    stage.store_answers = false;
    stage.core.drain(stage.now);
    stage.turn();
    assert!(!stage.lying);
}

#[test]
fn a_store_without_a_bell_is_polled() {
    let mut stage = Stage::ready();
    let without = Capabilities { doorbell: false, ..capabilities() };
    stage.core = Core::new(Settings::default(), &without, kafka_like());
    stage.reading = false;
    stage.turn();
    let readings = stage.for_a_while(3_000 * MS, Rest::Still);
    assert!(!stage.lying);
    assert!(readings >= 7, "{readings} readings");
}

#[test]
fn quiet_lanes_positions_move_too_but_seldom() {
    let mut stage = Stage::ready();
    assert!(core::mem::take(&mut stage.reading));
    stage.core.handle_page(stage.now, [], [(Lane(0), 5)], Rest::Quiet, &mut Vec::new());
    stage.later(Duration::from_secs(2));
    assert!(stage.settled.is_empty());
    stage.later(Duration::from_secs(2));
    stage.later(Duration::from_secs(2));
    stage.later(Duration::from_secs(2));
    stage.later(Duration::from_secs(2));
    stage.later(Duration::from_secs(2));
    assert_eq!(stage.last_settled(), [5]);
}

#[test]
fn a_store_that_waited_for_events_while_it_was_asked_is_asked_again_at_once() {
    let mut stage = Stage::ready();
    let without = Capabilities { doorbell: false, ..capabilities() };
    stage.core = Core::new(Settings::default(), &without, kafka_like());
    stage.reading = false;
    stage.turn();
    for _ in 0..20 {
        assert!(core::mem::take(&mut stage.reading), "it would not hear of the next event meanwhile");
        stage.later(1_000 * MS);
        stage.core.handle_page(stage.now, [], [], Rest::Quiet, &mut Vec::new());
        stage.turn();
    }
}

#[test]
fn a_lane_full_of_parked_events_keeps_nobody_awake() {
    let mut stage = Stage::with(Settings { lane_parked_max: 1, ..Settings::default() }, 2);
    stage.parked = vec![ParkedItem { lane: Lane(0), aggregate: AggregateKey(1), size_bytes: 100 }];
    stage.turn();
    let readings = stage.for_a_while(5_000 * MS, Rest::Still);
    assert!(stage.lying, "what is parked may wait for a person, and for long");
    assert!(readings < 200, "{readings} readings");
}

#[test]
fn a_lane_without_room_makes_the_others_be_read_often_but_not_without_pause() {
    let mut stage = Stage::with(Settings { lane_records_max: 1, ..Settings::default() }, 2);
    stage.turn();
    stage.page(&[(0, 1, 1, 1)]);
    assert!(core::mem::take(&mut stage.reading), "where there are few, there may be another");
    stage.now += 2 * MS;
    stage.core.handle_page(stage.now, [], [], Rest::Still, &mut Vec::new());
    stage.later(5 * MS);
    assert!(!stage.reading, "looking in vain takes a quarter of the time at most");
    stage.later(MS);
    assert!(stage.reading);
}
