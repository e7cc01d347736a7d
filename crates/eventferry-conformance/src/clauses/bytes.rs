//! Promise 2, byte by byte: nothing of an event is lost or changed on its way through the outbox.

use eventferry_core::enqueue::{AGGREGATE_BYTES_MAX, TOPIC_CHARS_MAX};
use eventferry_core::{Event, MessageId, Timestamp};

use super::{Kept, clause};
use crate::application::{Posted, exactly, tell};
use crate::bench::{Bench, event};
use crate::broken::ensure;
use crate::clause::Clause;
use crate::erased::Seen;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        2,
        "payload-is-exact",
        "Payloads come back byte for byte: every byte value, an empty one, and none at all told apart.",
        [],
        payload_is_exact
    ),
    clause!(
        2,
        "large-payload-is-exact",
        "A payload of a mebibyte, or of the store's limit if that is less, comes back byte for byte.",
        [],
        large_payload_is_exact
    ),
    clause!(
        2,
        "key-is-exact",
        "Keys come back byte for byte: every byte value, an empty one, and none at all told apart.",
        [],
        key_is_exact
    ),
    clause!(
        2,
        "headers-are-exact",
        "Headers come back in order, with repeated names and every byte of their values.",
        [],
        headers_are_exact
    ),
    clause!(
        2,
        "text-is-exact",
        "Topics, aggregates, media types and header names come back as they were: any script, case, quotes, blanks.",
        [],
        text_is_exact
    ),
    clause!(
        2,
        "longest-text-is-exact",
        "A topic and an aggregate as long as the contract allows are kept whole.",
        [],
        longest_text_is_exact
    ),
    clause!(
        2,
        "partition-is-exact",
        "The partition comes back as given, 0, the largest and none told apart.",
        [],
        partition_is_exact
    ),
    clause!(
        2,
        "message-id-is-kept",
        "A message id that the application gives is answered by enqueue and read back.",
        [],
        message_id_is_kept
    ),
    clause!(
        2,
        "enqueue-time-is-the-stores",
        "An event's time lies between the store's clock before it was enqueued and after.",
        [],
        enqueue_time_is_the_stores
    ),
];

/// Posts these events in one transaction and compares every column of what is read.
async fn round_trip(bench: &Bench, events: &[Event]) -> Kept {
    let posted = bench.application().await?.post(events).await?;
    let mut relay = bench.started_relay("a").await?;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "after the commit")?;
    for one in &posted {
        let record = seen.iter().find(|record| record.message_id == one.message_id);
        if let Some(record) = record {
            same_columns(record, one)?;
        }
    }
    Ok(())
}

fn same_columns(seen: &Seen, posted: &Posted) -> Kept {
    let (got, sent, told) = (&seen.event, &posted.event, tell(&posted.event));
    ensure!(got.topic == sent.topic, "{told}: topic {:?} came back as {:?}", sent.topic, got.topic);
    ensure!(
        got.aggregate == sent.aggregate,
        "{told}: aggregate {:?} came back as {:?}",
        sent.aggregate,
        got.aggregate
    );
    ensure!(
        got.key == sent.key,
        "{told}: key {} came back as {}",
        bytes_in_words(sent.key.as_deref()),
        bytes_in_words(got.key.as_deref())
    );
    ensure!(
        got.payload == sent.payload,
        "{told}: payload {} came back as {}",
        bytes_in_words(sent.payload.as_deref()),
        bytes_in_words(got.payload.as_deref())
    );
    ensure!(
        got.content_type == sent.content_type,
        "{told}: media type {:?} came back as {:?}",
        sent.content_type,
        got.content_type
    );
    ensure!(got.headers == sent.headers, "{told}: headers {:?} came back as {:?}", sent.headers, got.headers);
    ensure!(
        got.partition == sent.partition,
        "{told}: partition {:?} came back as {:?}",
        sent.partition,
        got.partition
    );
    Ok(())
}

fn bytes_in_words(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "none".into(),
        Some(bytes) if bytes.len() <= 16 => format!("{bytes:?}"),
        Some(bytes) => format!("of {} bytes starting {:?}", bytes.len(), &bytes[..16]),
    }
}

/// Byte strings that stores have been seen to change.
fn awkward_bytes() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0],
        (0..=255).collect(),
        (0..=255).rev().collect(),
        b"\\\\x00 \\tmp C:\\\\tmp \"quoted\" 'single' \r\n".to_vec(),
        "größe 日本 \u{1f980}".as_bytes().to_vec(),
        vec![0xff, 0xfe, 0xc3, 0x28],
        b"\\x6162".to_vec(),
        b"{\"a\": 1,  \"a\": 2}".to_vec(),
    ]
}

async fn payload_is_exact(bench: &Bench) -> Kept {
    let mut events = vec![Event::new("orders", ("order", "tombstone"))];
    for (nth, bytes) in awkward_bytes().into_iter().enumerate() {
        let order = format!("order-{nth}");
        events.push(event(&order, "").payload(bytes.clone(), "application/octet-stream"));
        let mut untyped = Event::new("orders", ("order", order));
        untyped.payload = Some(bytes);
        events.push(untyped);
    }
    round_trip(bench, &events).await
}

async fn large_payload_is_exact(bench: &Bench) -> Kept {
    let bytes_max = bench.declared().capabilities.payload_bytes_max.min(1 << 20);
    // Pseudo-random, so that nothing is compressed away.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let payload: Vec<u8> = (0..bytes_max)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect();
    round_trip(bench, &[event("1", "").payload(payload, "application/octet-stream"), event("1", "small")])
        .await
}

async fn key_is_exact(bench: &Bench) -> Kept {
    let mut events = vec![event("keyless", "no key")];
    for (nth, bytes) in awkward_bytes().into_iter().enumerate() {
        events.push(event(&format!("order-{nth}"), "keyed").key(bytes));
    }
    round_trip(bench, &events).await
}

async fn headers_are_exact(bench: &Bench) -> Kept {
    let mut awkward = event("1", "awkward headers");
    for (nth, bytes) in awkward_bytes().into_iter().enumerate() {
        awkward = awkward.header(format!("header-{nth}"), bytes);
    }
    let repeated = event("2", "repeated headers")
        .header("z", "last letter first")
        .header("a", "1")
        .header("b", "2")
        .header("a", "3")
        .header("A", "4")
        .header("a", "3")
        .header("a", []);
    let many = (0..200).fold(event("3", "many headers"), |many, nth| many.header(format!("h{nth}"), [nth]));
    round_trip(bench, &[awkward, repeated, many, event("4", "no headers")]).await
}

/// Texts that stores have been seen to change.
const AWKWARD_TEXTS: [&str; 10] = [
    "Größe",
    "日本語",
    "\u{1f980} crab",
    "MiXeD CaSe",
    " blanks around ",
    "trailing blank ",
    "it's \"quoted\" \\ and ; -- so",
    "e\u{301} decomposed",
    "null",
    "tab\tand\nnewline",
];

async fn text_is_exact(bench: &Bench) -> Kept {
    let mut events = Vec::new();
    for text in AWKWARD_TEXTS {
        let event = Event::new(text, (text, text)).payload("1", text).header(text, text);
        events.push(event.clone());
        // The same aggregate again, so that a store that folds two spellings into one shows it.
        events.push(Event::new(text, (text, text.to_uppercase())).payload("2", text));
        events.push(Event::new(text, (text, text.trim())).payload("3", text));
    }
    round_trip(bench, &events).await
}

async fn longest_text_is_exact(bench: &Bench) -> Kept {
    let topic = "ü".repeat(TOPIC_CHARS_MAX);
    let kind = "k".repeat(AGGREGATE_BYTES_MAX);
    let id = "日".repeat(AGGREGATE_BYTES_MAX / "日".len());
    let other_id = format!("{}本", &id[.."日".len() * (AGGREGATE_BYTES_MAX / 3 - 1)]);
    let events = [
        Event::new(topic.as_str(), (kind.as_str(), id.as_str())).payload("1", "text/plain"),
        Event::new(topic.as_str(), (kind.as_str(), other_id.as_str())).payload("2", "text/plain"),
    ];
    round_trip(bench, &events).await
}

async fn partition_is_exact(bench: &Bench) -> Kept {
    let events = [
        event("1", "none"),
        event("1", "first").partition(0),
        event("1", "seventh").partition(7),
        event("1", "largest").partition(i32::MAX),
    ];
    round_trip(bench, &events).await
}

async fn message_id_is_kept(bench: &Bench) -> Kept {
    let ids = [MessageId([0; 16]), MessageId([0xff; 16]), MessageId(std::array::from_fn(|at| at as u8 * 17))];
    let mut events: Vec<_> = ids.iter().map(|id| event("1", "given").message_id(*id)).collect();
    events.push(event("1", "not given"));
    let posted = bench.application().await?.post(&events).await?;
    for (id, one) in ids.iter().zip(&posted) {
        ensure!(one.message_id == *id, "message id {id} was given and enqueue answered {}", one.message_id);
    }
    let mut relay = bench.started_relay("a").await?;
    exactly(&relay.drain().await?, &posted, "after the commit")
}

async fn enqueue_time_is_the_stores(bench: &Bench) -> Kept {
    let mut relay = bench.started_relay("a").await?;
    let mut application = bench.application().await?;
    bench.site().tick().await;
    let before = relay.gauge().await?.at;
    let posted = application.post(&[event("1", "1"), event("2", "2")]).await?;
    let after = relay.gauge().await?.at;
    bench.site().tick().await;
    let seen = relay.drain().await?;
    exactly(&seen, &posted, "after the commit")?;
    // A store may keep whole milliseconds.
    let earliest = Timestamp(before.0 - 1000);
    for Seen { enqueued_at, .. } in &seen {
        ensure!(
            (earliest..=after).contains(enqueued_at),
            "enqueued at {enqueued_at:?}, though the store's clock said {before:?} before and {after:?} after"
        );
    }
    let read_again = {
        relay.open_all().await?;
        relay.drain().await?
    };
    let times =
        |seen: &[Seen]| -> Vec<_> { seen.iter().map(|one| (one.message_id, one.enqueued_at)).collect() };
    let (mut first, mut second) = (times(&seen), times(&read_again));
    first.sort_unstable();
    second.sort_unstable();
    ensure!(first == second, "an event's time changed from one reading to the next");
    Ok(())
}
