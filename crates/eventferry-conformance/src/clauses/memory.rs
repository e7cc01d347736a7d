//! Promise 9: bounded memory. However much there is, it comes in pieces, and what is done with goes.

use std::time::Duration;

use eventferry_core::parked::{
    Change, Decision, DueEvent, DuePage, End, ParkReason, ParkedFilter, ParkedKey, ShowAsk,
};
use eventferry_core::store::Rest;
use eventferry_core::{StoreFaultKind, StoredEvent};

use super::due::{park_each, these};
use super::{Kept, clause};
use crate::application::{Posted, exactly, tell};
use crate::bench::{Bench, Patience, event, events};
use crate::broken::{Broken, ensure};
use crate::clause::Clause;
use crate::desk::{Due, cause};
use crate::erased::Sheet;
use crate::relay::{Appetite, Reading, Relay};

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        9,
        "page-keeps-its-bounds",
        "A page has no more records and no more bytes of payload than the wish says.",
        [],
        page_keeps_its_bounds
    ),
    clause!(
        9,
        "oversized-event-comes-alone",
        "An event larger than the wish's bytes comes all the same, alone in its page.",
        [],
        oversized_event_comes_alone
    ),
    clause!(
        9,
        "long-transaction-comes-in-pages",
        "A transaction of thousands of events is read in pages, settled in its middle and finished by a new owner.",
        [],
        long_transaction_comes_in_pages
    ),
    clause!(
        9,
        "due-page-keeps-its-bounds",
        "A page of due events has no more records and bytes than asked for, and says whether there are more.",
        [],
        due_page_keeps_its_bounds
    ),
    clause!(
        9,
        "oversized-due-event-comes-alone",
        "A due event larger than the ask's bytes comes all the same, alone in its page.",
        [],
        oversized_due_event_comes_alone
    ),
    clause!(
        9,
        "decisions-come-in-pieces",
        "Of any number of decisions at most as many are told at once as records are asked for, the first ones.",
        [],
        decisions_come_in_pieces
    ),
    clause!(
        9,
        "shown-page-keeps-its-bounds",
        "People are shown no more events and bytes at once than asked for, in order, from any place.",
        [],
        shown_page_keeps_its_bounds
    ),
    clause!(
        9,
        "sweep-removes-the-settled",
        "Settled events go after the retention, and not before.",
        [Log, InTable],
        sweep_removes_the_settled
    ),
];

/// Reads to the end and hands back every page.
async fn pages(bench: &Bench, relay: &mut Relay<'_>, appetite: &Appetite) -> Result<Vec<Sheet>, Broken> {
    let mut patience = Patience::new(bench.site());
    let mut pages = Vec::new();
    loop {
        let sheet = relay.read(appetite).await?;
        let rest = sheet.rest;
        pages.push(sheet);
        match rest {
            Rest::More => ensure!(pages.len() < 1000, "reading did not end after {} pages", pages.len()),
            Rest::Quiet | Rest::Still => return Ok(pages),
            Rest::Waiting(_) => patience.tick("events that the feed says must wait").await?,
        }
    }
}

fn payload_bytes(sheet: &Sheet) -> u64 {
    sheet.records.iter().map(|record| record.event.payload.as_ref().map_or(0, Vec::len) as u64).sum()
}

async fn page_keeps_its_bounds(bench: &Bench) -> Kept {
    let mut application = bench.application().await?;
    let mut posted = Vec::new();
    for number in 0..20 {
        let order = format!("order-{}", number % 5);
        let batch = [event(&order, &"x".repeat(1 + 13 * number % 50)), event(&order, "")];
        posted.extend(application.post(&batch).await?);
    }
    let mut relay = bench.started_relay("a").await?;
    for (records_max, bytes_max) in [(500, 1 << 20), (7, 1 << 20), (1, 1 << 20), (500, 100), (3, 60)] {
        relay.open_all().await?;
        let appetite = Appetite { records_max, bytes_max, ..relay.appetite() };
        let mut reading = Reading::default();
        for sheet in pages(bench, &mut relay, &appetite).await? {
            ensure!(
                sheet.records.len() <= records_max as usize,
                "asked for {records_max} records and got {}",
                sheet.records.len()
            );
            let bytes = payload_bytes(&sheet);
            ensure!(
                bytes <= bytes_max || sheet.records.len() == 1,
                "asked for {bytes_max} bytes and got {bytes} in {} records",
                sheet.records.len()
            );
            reading.add(&sheet);
        }
        exactly(&reading.records, &posted, &format!("in pages of {records_max} records, {bytes_max} bytes"))?;
    }
    Ok(())
}

async fn oversized_event_comes_alone(bench: &Bench) -> Kept {
    let oversized = "x".repeat(5000);
    let mut application = bench.application().await?;
    let batch = [event("1", "before"), event("1", &oversized), event("1", "after"), event("2", &oversized)];
    let posted = application.post(&batch).await?;
    let mut relay = bench.started_relay("a").await?;
    let small = Appetite { bytes_max: 100, ..relay.appetite() };
    let mut reading = Reading::default();
    for sheet in pages(bench, &mut relay, &small).await? {
        if let Some(large) = sheet.records.iter().find(|record| tell(&record.event).starts_with("5000 bytes"))
        {
            ensure!(
                sheet.records.len() == 1,
                "{} came in a page with {} others",
                tell(&large.event),
                sheet.records.len() - 1
            );
        }
        reading.add(&sheet);
    }
    exactly(&reading.records, &posted, "in small pages")
}

async fn long_transaction_comes_in_pages(bench: &Bench) -> Kept {
    let events_max = bench.declared().capabilities.events_per_transaction_max.min(3000) as usize;
    let mut application = bench.application().await?;
    application.begin().await?;
    let mut posted = Vec::new();
    let mut number = 1;
    while posted.len() < events_max {
        let many = (events_max - posted.len()).min(500);
        let batch: Vec<_> =
            (number..number + many).map(|number| event(&format!("order-{}", number % 7), "1")).collect();
        posted.extend(application.enqueue(&batch).await?);
        number += many;
    }
    application.commit().await?;
    let mut relay = bench.started_relay("a").await?;
    let page = Appetite { records_max: 100, ..relay.appetite() };
    let mut carried = Vec::new();
    while carried.len() < events_max / 2 {
        let mut reading = Reading::default();
        reading.add(&relay.read(&page).await?);
        ensure!(!reading.records.is_empty(), "an empty page after {} of {events_max} events", carried.len());
        relay.settle_marks(&reading.marks, &[]).await?;
        carried.extend(reading.records);
    }
    relay.leave().await?;
    let mut successor = bench.started_relay("b").await?;
    let page = Appetite { records_max: 250, ..successor.appetite() };
    carried.extend(successor.drain_by(&page).await?.records);
    exactly(&carried, &posted, "both owners together")
}

/// Parks events of several lanes and aggregates, in payloads of many sizes, all of them due.
async fn many_due(bench: &Bench, relay: &mut Relay<'_>) -> Result<Vec<Posted>, Broken> {
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let mut posted = Vec::new();
    for lane in 0..3 {
        let order = |nth: usize| bench.aggregate_in(lane, nth % 2);
        let batch: Vec<_> =
            (0..8).map(|nth| event(&order(nth), &"x".repeat(1 + 13 * (nth + usize::from(lane))))).collect();
        posted.extend(park_each(bench, relay, &batch, &[held; 8]).await?);
    }
    Ok(posted)
}

/// Bounds of pages, of so many records and bytes.
const BOUNDS: [(u32, u64); 5] = [(500, 1 << 20), (7, 1 << 20), (1, 1 << 20), (500, 700), (3, 600)];

fn bytes_of<'a>(rows: impl Iterator<Item = &'a StoredEvent>) -> u64 {
    rows.map(|row| row.event.payload.as_ref().map_or(0, Vec::len) as u64).sum()
}

/// Asks for all that is due in pages within bounds, and again from the first once what came is shipped, to the end.
async fn due_in_pages(
    relay: &mut Relay<'_>,
    total: usize,
    bounds: Due,
    mut each: impl FnMut(&DuePage<StoredEvent>) -> Kept,
) -> Result<Vec<DueEvent<StoredEvent>>, Broken> {
    let mut due: Vec<DueEvent<StoredEvent>> = Vec::new();
    for _ in 0..=total {
        let first = due.len();
        for _ in 0..=total {
            let after = due[first..].last().map(|one| one.key);
            let page = relay.due_page(Due { after, ..bounds }).await?;
            each(&page)?;
            let more = page.more && !page.events.is_empty();
            due.extend(page.events);
            if !more {
                break;
            }
        }
        if due.len() == first {
            return Ok(due);
        }
        let shipped = Change::Settled(End::Shipped);
        relay.change(&due[first..].iter().map(|one| (one.key, shipped)).collect::<Vec<_>>()).await?;
    }
    Err(Broken::new(format!("{} events were handed over as due, of {total}, and there is no end", due.len())))
}

async fn due_page_keeps_its_bounds(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    for (records_max, bytes_max) in BOUNDS {
        let posted = many_due(bench, &mut relay).await?;
        let bounds = Due { records_max, bytes_max, ..Due::default() };
        let first = relay.due_page(bounds).await?;
        ensure!(
            first.events.len() == posted.len() || first.more,
            "{} of {} due events came, and it is not said that there are more",
            first.events.len(),
            posted.len()
        );
        let due = due_in_pages(&mut relay, posted.len(), bounds, |page| {
            let (records, bytes) = (page.events.len(), bytes_of(page.events.iter().map(|one| &one.row)));
            ensure!(records <= records_max as usize, "asked for {records_max} due records and got {records}");
            ensure!(
                bytes <= bytes_max || records == 1,
                "asked for {bytes_max} bytes and got {bytes} in {records}"
            );
            Ok(())
        });
        these(&due.await?, &posted, &format!("in pages of {records_max} records, {bytes_max} bytes"))?;
    }
    Ok(())
}

async fn oversized_due_event_comes_alone(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let held = ParkReason::TopicHeld(cause("no such topic"));
    let oversized = "x".repeat(5000);
    let batch = [event("1", "before"), event("1", &oversized), event("1", "after"), event("2", &oversized)];
    let posted = park_each(bench, &mut relay, &batch, &[held; 4]).await?;
    let bounds = Due { bytes_max: 1000, ..Due::default() };
    let due = due_in_pages(&mut relay, posted.len(), bounds, |page| {
        let large = page.events.iter().any(|one| tell(&one.row.event).starts_with("5000 bytes"));
        let others = page.events.len().saturating_sub(1);
        ensure!(
            !large || others == 0,
            "a due event of 5000 bytes came in a page of 1000 with {others} others"
        );
        Ok(())
    });
    these(&due.await?, &posted, "in small pages")
}

async fn decisions_come_in_pieces(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    many_due(bench, &mut relay).await?;
    let all = relay.decide(&ParkedFilter::default(), Decision::Discard).await?;
    let mut told = 0;
    while told < all.taken {
        let decisions = relay.due_page(Due { records_max: 5, ..Due::default() }).await?.decisions;
        let expected = (all.taken - told).min(5);
        ensure!(
            decisions.len() as u64 == expected,
            "{told} of {} carried out, asked for 5, and told of {}",
            all.taken,
            decisions.len()
        );
        let done = Change::Settled(End::Discarded);
        relay.change(&decisions.iter().map(|one| (one.key, done)).collect::<Vec<_>>()).await?;
        told += expected;
    }
    let left = relay.due_page(Due::default()).await?;
    ensure!(left.decisions.is_empty() && left.events.is_empty(), "all discarded, and {left:?} is left");
    Ok(())
}

async fn shown_page_keeps_its_bounds(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    many_due(bench, &mut relay).await?;
    let filter = &ParkedFilter::default();
    let all: Vec<_> = relay.shown().await?.into_iter().map(|one| one.key).collect();
    ensure!(all.len() == 24, "parked 24 events, and {} are shown", all.len());
    for (records_max, bytes_max) in BOUNDS {
        let mut shown: Vec<ParkedKey> = Vec::new();
        for _ in 0..=all.len() {
            let ask = ShowAsk { filter, after: shown.last().copied(), records_max, bytes_max };
            let page = relay.show_page(ask).await?;
            let (records, bytes) = (page.events.len(), bytes_of(page.events.iter().map(|one| &one.row)));
            ensure!(
                records <= records_max as usize,
                "asked for {records_max} events and was shown {records}"
            );
            ensure!(
                bytes <= bytes_max || records == 1,
                "asked for {bytes_max} bytes and got {bytes} in {records}"
            );
            shown.extend(page.events.iter().map(|one| one.key));
            if !page.more {
                break;
            }
        }
        ensure!(
            shown == all,
            "in pages of {records_max} records, {bytes_max} bytes: shown {shown:?}, not {all:?}"
        );
    }
    Ok(())
}

async fn sweep_removes_the_settled(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let posted = bench.application().await?.post(&events("1", 1..=5)).await?;
    let reading = relay.drain_all().await?;
    exactly(&reading.records, &posted, "at first")?;
    relay.settle_marks(&reading.marks, &[]).await?;
    // A store whose rows go by short slots of time may refuse so long a retention; it must not shorten it.
    match relay.roles.sweep(Duration::from_secs(3600)).await {
        Ok(swept) => ensure!(
            swept.events == 0,
            "a sweep with a retention of an hour removed {} events of this minute",
            swept.events
        ),
        Err(fault) if *fault.kind() == StoreFaultKind::Misconfigured => {}
        Err(fault) => Patience::new(bench.site()).bear("sweep", fault).await?,
    }
    let gone = relay.sweep_away(5).await?;
    ensure!(gone == 5, "5 events were settled, and sweeps with no retention removed {gone}");
    let again = relay.sweep(Duration::ZERO).await?;
    ensure!(again == 0, "all settled events were gone, and a sweep removed {again} more");
    Ok(())
}
