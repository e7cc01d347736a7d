//! The verdict: what the writers know, held against what the consumer read.

use std::collections::BTreeSet;

use eventferry::MessageId;
use eventferry::core::Lane;

use super::findings::{Breach, Findings};
use super::history::{Fate, Written};
use super::order::{self, Demanded, First};
use super::parked::Held;
use super::reader::Arrival;
use super::repeats::{Deliveries, Repeats};
use super::scene::Tail;
use super::subjects::KIND;

/// What the storm knows besides the events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions<'a> {
    pub(super) lanes_total: u16,
    /// One broker leads all partitions, so that one clock gave all times.
    pub(super) one_leader: bool,
    /// The numbers of what the database has in the end, where it may have forgotten.
    pub(super) book: Option<&'a BTreeSet<u64>>,
    pub(super) tail: Tail,
    pub(super) held: &'a Held,
}

/// What the verdict counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) committed: u64,
    pub(super) rolled_back: u64,
    /// Nobody heard whether they were committed.
    pub(super) unheard: u64,
    /// Those of them that arrived.
    pub(super) unheard_arrived: u64,
    /// Committed and confirmed, and the database has forgotten them.
    pub(super) forgotten: u64,
    /// Those of them that had arrived before.
    pub(super) forgotten_arrived: u64,
    /// Messages read, repeats included.
    pub(super) read: u64,
    pub(super) repeats: Repeats,
    pub(super) demanded: Demanded,
    /// Whether order across partitions could be looked at.
    pub(super) one_clock: bool,
}

/// What was committed and never arrived, by message id: the first few.
pub(super) fn lost(
    written: &[Written],
    arrivals: &[Arrival],
    book: Option<&BTreeSet<u64>>,
    held: &Held,
) -> Vec<MessageId> {
    const TRACED_MAX: usize = 20;
    let arrived: BTreeSet<u64> = arrivals.iter().filter_map(|arrival| arrival.number).collect();
    let must_arrive = |event: &Written| match book {
        Some(book) => book.contains(&event.number),
        None => matches!(event.fate, Fate::Committed { .. }),
    };
    let is_lost =
        |event: &&Written| must_arrive(event) && !arrived.contains(&event.number) && !held.has(event.number);
    written.iter().filter(is_lost).filter_map(|event| event.message_id).take(TRACED_MAX).collect()
}

/// What was found besides findings.
pub(super) struct Judged {
    pub(super) figures: Figures,
    /// What arrived more than once, whose causes `repeats` looks into.
    pub(super) repeated: Vec<Deliveries>,
    /// The first delivery of each event.
    pub(super) firsts: Vec<First>,
}

/// Holds the two against each other.
pub(super) fn judge(
    written: &[Written],
    arrivals: &[Arrival],
    conditions: Conditions<'_>,
    findings: &mut Findings,
) -> Judged {
    let deliveries = deliveries(written, arrivals, findings);
    let one_clock = conditions.one_leader && clock_went_on(arrivals);
    let mut figures = Figures { read: arrivals.len() as u64, one_clock, ..Figures::default() };
    let (mut firsts, mut repeated) = (Vec::<First>::new(), Vec::new());
    for (event, deliveries) in written.iter().zip(&deliveries) {
        let lasting = check_fate(event, deliveries, conditions, findings);
        check_event(event, deliveries, findings);
        if !lasting && !matches!(event.fate, Fate::RolledBack) {
            figures.forgotten += u64::from(matches!(event.fate, Fate::Committed { .. }));
            figures.forgotten_arrived += u64::from(!deliveries.is_empty());
        }
        let visible = match event.fate {
            Fate::Committed { visible, .. } => {
                figures.committed += 1;
                Some(visible)
            }
            Fate::Unheard { visible, .. } => {
                figures.unheard += 1;
                figures.unheard_arrived += u64::from(!deliveries.is_empty());
                visible
            }
            Fate::RolledBack => {
                figures.rolled_back += 1;
                continue;
            }
        };
        let Some(first) = deliveries.first() else { continue };
        firsts.push(First {
            number: event.number,
            aggregate: event.aggregate,
            transaction: event.transaction,
            began: event.began,
            visible,
            partition: (first.topic, first.partition),
            offset: first.offset,
            appended_ms: first.appended_ms,
        });
        if deliveries.len() > 1 {
            let lane = Lane::of(KIND, &event.aggregate.to_string(), conditions.lanes_total).0;
            let appended_ms = deliveries.iter().map(|delivery| delivery.appended_ms).collect();
            let message_id = first.message_id;
            repeated.push(Deliveries { number: event.number, lane, message_id, appended_ms });
        }
    }
    figures.demanded = order::check(&mut firsts, one_clock, findings);
    Judged { figures, repeated, firsts }
}

/// The deliveries of each event, the first one first; what is no event's is a phantom.
fn deliveries<'a>(
    written: &[Written],
    arrivals: &'a [Arrival],
    findings: &mut Findings,
) -> Vec<Vec<&'a Arrival>> {
    let mut deliveries = vec![Vec::new(); written.len()];
    for arrival in arrivals {
        match arrival.number.and_then(|number| deliveries.get_mut(number as usize)) {
            Some(of_event) => of_event.push(arrival),
            None => findings.add(Breach::Phantom, || format!("{} is no event of ours", place(arrival))),
        }
    }
    for of_event in &mut deliveries {
        // An event has one partition; if it has more, that is found, and time must do.
        let same = of_event.windows(2).all(|pair| partition(pair[0]) == partition(pair[1]));
        of_event.sort_by_key(|one| if same { one.offset } else { one.appended_ms });
    }
    deliveries
}

/// Whether an event that is there arrived, and none that is not; says whether it is there for good.
fn check_fate(
    event: &Written,
    deliveries: &[&Arrival],
    conditions: Conditions<'_>,
    findings: &mut Findings,
) -> bool {
    let number = event.number;
    let confirmed = matches!(event.fate, Fate::Committed { .. });
    let lasting = conditions.book.map_or(confirmed, |book| book.contains(&number));
    match deliveries.first() {
        None if lasting && !conditions.held.has(number) => {
            findings.add(Breach::Lost, || format!("event {number} never arrived: {event:?}"));
        }
        Some(first) if event.fate == Fate::RolledBack => {
            findings.add(Breach::Phantom, || format!("{} was rolled back: {event:?}", place(first)));
        }
        Some(first) if !lasting && conditions.book.is_some() && conditions.tail == Tail::Kept => {
            findings.add(Breach::Phantom, || {
                format!("{} was sent before it was there for good: {event:?}", place(first))
            });
        }
        _ => {}
    }
    if confirmed && !lasting && !event.asynchronous && conditions.tail == Tail::Kept {
        findings.add(Breach::Lost, || format!("the database has lost event {number}: {event:?}"));
    }
    lasting
}

/// What can be said of one event by itself.
fn check_event(event: &Written, deliveries: &[&Arrival], findings: &mut Findings) {
    if let Fate::Committed { sent, .. } | Fate::Unheard { sent, .. } = event.fate
        && let Some(early) = deliveries.iter().find(|delivery| delivery.seen < sent)
    {
        findings.add(Breach::Early, || {
            format!("{} was read at {}, and its COMMIT was sent at {sent}", place(early), early.seen)
        });
    }
    let Some(first) = deliveries.first() else { return };
    for delivery in deliveries {
        if let Some(amiss) = &delivery.amiss {
            findings.add(Breach::Altered, || format!("{}: {amiss}", place(delivery)));
        }
        if partition(delivery) != partition(first) {
            findings.add(Breach::Altered, || {
                format!("{} came to another partition before: {}", place(delivery), place(first))
            });
        }
        if delivery.message_id != event.message_id.or(first.message_id) || delivery.message_id.is_none() {
            findings.add(Breach::Renamed, || {
                format!(
                    "{} is named {:?} and not {:?}",
                    place(delivery),
                    delivery.message_id,
                    event.message_id
                )
            });
        }
    }
}

/// Whether the broker's clock never went back, as far as any partition shows.
fn clock_went_on(arrivals: &[Arrival]) -> bool {
    let mut latest = std::collections::BTreeMap::new();
    arrivals.iter().all(|arrival| {
        let before = latest.insert(partition(arrival), arrival.appended_ms);
        before.is_none_or(|before| before <= arrival.appended_ms)
    })
}

fn partition(arrival: &Arrival) -> (usize, i32) {
    (arrival.topic, arrival.partition)
}

fn place(arrival: &Arrival) -> String {
    let Arrival { number, topic, partition, offset, .. } = arrival;
    let number = number.map_or("unnumbered".to_owned(), |number| number.to_string());
    format!("event {number} at topic {topic} partition {partition} offset {offset}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::findings::BREACHES;

    fn written(number: u64, fate: Fate) -> Written {
        let message_id = Some(MessageId([number as u8; 16]));
        let (aggregate, transaction, began) = (1, number as usize, number * 10);
        Written { number, aggregate, transaction, began, fate, message_id, asynchronous: false }
    }

    fn committed(number: u64) -> Written {
        written(number, Fate::Committed { sent: number * 10 + 1, visible: number * 10 + 2 })
    }

    fn arrival(number: u64) -> Arrival {
        Arrival {
            number: Some(number),
            topic: 0,
            partition: 0,
            offset: number as i64,
            appended_ms: number as i64,
            seen: 1_000,
            message_id: Some(MessageId([number as u8; 16])),
            amiss: None,
        }
    }

    const CONDITIONS: Conditions<'_> =
        Conditions { lanes_total: 64, one_leader: true, book: None, tail: Tail::Kept, held: &NONE };
    const NONE: Held = Held { parked: BTreeSet::new(), dead: BTreeSet::new() };

    /// What was found, how often.
    fn found(written: &[Written], arrivals: &[Arrival]) -> Vec<(Breach, u64)> {
        let mut findings = Findings::default();
        judge(written, arrivals, CONDITIONS, &mut findings);
        let counts = BREACHES.into_iter().map(|breach| (breach, findings.count(breach)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn what_arrives_once_as_it_was_written_and_in_order_is_no_breach() {
        let rolled_back = written(2, Fate::RolledBack);
        let history = [committed(0), committed(1), rolled_back, committed(3)];
        assert_eq!(found(&history, &[arrival(0), arrival(1), arrival(3)]), []);
    }

    #[test]
    fn a_committed_event_that_never_arrives_is_lost() {
        assert_eq!(found(&[committed(0), committed(1)], &[arrival(1)]), [(Breach::Lost, 1)]);
    }

    #[test]
    fn what_was_rolled_back_or_is_no_event_is_a_phantom() {
        let history = [written(0, Fate::RolledBack)];
        assert_eq!(found(&history, &[arrival(0)]), [(Breach::Phantom, 1)]);
        assert_eq!(found(&history, &[arrival(7)]), [(Breach::Phantom, 1)]);
        assert_eq!(found(&history, &[Arrival { number: None, ..arrival(0) }]), [(Breach::Phantom, 1)]);
    }

    #[test]
    fn what_is_read_before_its_commit_was_sent_is_early() {
        let early = Arrival { seen: 0, ..arrival(0) };
        assert_eq!(found(&[committed(0)], &[early]), [(Breach::Early, 1)]);
    }

    #[test]
    fn a_commit_nobody_heard_of_may_arrive_or_not_and_keeps_its_order_if_others_saw_it() {
        let unheard = |visible| written(0, Fate::Unheard { sent: 1, visible });
        let late = Arrival { offset: 9, appended_ms: 9, ..arrival(0) };
        assert_eq!(found(&[unheard(None), committed(1)], &[arrival(1)]), []);
        assert_eq!(found(&[unheard(None), committed(1)], &[arrival(1), late.clone()]), []);
        assert_eq!(found(&[unheard(Some(2)), committed(1)], &[arrival(1), late]), [(Breach::Order, 1)]);
    }

    #[test]
    fn where_the_database_may_forget_its_book_decides_and_nothing_forgotten_was_sent() {
        let found = |tail, asynchronous, book: &[u64], arrivals: &[Arrival]| {
            let history = [
                Written { asynchronous, ..committed(0) },
                written(1, Fate::Unheard { sent: 1, visible: None }),
            ];
            let (book, mut findings) = (book.iter().copied().collect(), Findings::default());
            let judged = judge(
                &history,
                arrivals,
                Conditions { book: Some(&book), tail, ..CONDITIONS },
                &mut findings,
            );
            (findings.count(Breach::Lost), findings.count(Breach::Phantom), judged.figures.forgotten_arrived)
        };
        assert_eq!(found(Tail::Kept, false, &[0, 1], &[arrival(0), arrival(1)]), (0, 0, 0));
        assert_eq!(
            found(Tail::Kept, false, &[0, 1], &[arrival(0)]),
            (1, 0, 0),
            "in the book, and never arrived"
        );
        assert_eq!(found(Tail::Kept, false, &[], &[]), (1, 0, 0), "a synchronous commit that went");
        assert_eq!(found(Tail::Kept, true, &[], &[]), (0, 0, 0), "an asynchronous one may go");
        assert_eq!(found(Tail::Kept, true, &[], &[arrival(0)]), (0, 1, 1), "but not if it was sent");
        assert_eq!(found(Tail::Lost, false, &[], &[arrival(0)]), (0, 0, 1), "a lost tail may have been");
    }

    #[test]
    fn events_that_change_places_are_out_of_order_and_only_first_deliveries_count() {
        let history = [committed(0), committed(1)];
        let again = Arrival { offset: 2, appended_ms: 2, ..arrival(0) };
        assert_eq!(found(&history, &[arrival(0), arrival(1), again.clone()]), []);
        assert_eq!(found(&history, &[arrival(1), again]), [(Breach::Order, 1)]);
    }

    #[test]
    fn time_is_no_evidence_where_the_clock_went_back() {
        let history = [committed(0), committed(1), committed(2)];
        let elsewhere = Arrival { topic: 1, appended_ms: 9, ..arrival(0) };
        let mut arrivals = [elsewhere, arrival(1), arrival(2)];
        assert_eq!(found(&history, &arrivals), [(Breach::Order, 2)]);
        arrivals[2].appended_ms = 0;
        assert_eq!(found(&history, &arrivals), []);
    }

    #[test]
    fn other_bytes_another_partition_and_another_name_are_found() {
        let amiss = Arrival { amiss: Some("another payload".into()), ..arrival(0) };
        assert_eq!(found(&[committed(0)], &[amiss]), [(Breach::Altered, 1)]);
        let strayed = Arrival { partition: 1, appended_ms: 5, ..arrival(0) };
        assert_eq!(found(&[committed(0)], &[arrival(0), strayed]), [(Breach::Altered, 1)]);
        let renamed = Arrival { offset: 5, message_id: Some(MessageId([9; 16])), ..arrival(0) };
        assert_eq!(found(&[committed(0)], &[arrival(0), renamed]), [(Breach::Renamed, 1)]);
        let nameless = Arrival { message_id: None, ..arrival(0) };
        assert_eq!(found(&[committed(0)], &[nameless]), [(Breach::Renamed, 1)]);
    }

    #[test]
    fn what_arrives_more_than_once_is_handed_on() {
        let again = Arrival { offset: 5, appended_ms: 5, ..arrival(0) };
        let Judged { figures, repeated, .. } =
            judge(&[committed(0)], &[arrival(0), again], CONDITIONS, &mut Findings::default());
        assert_eq!((figures.committed, figures.read, repeated.len()), (1, 2, 1));
        assert_eq!(repeated[0].appended_ms, [0, 5]);
    }
}
