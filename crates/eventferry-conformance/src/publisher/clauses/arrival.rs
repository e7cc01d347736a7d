//! Promises 2, 8 and 9: what is acknowledged is there, byte for byte, and a dead letter is the message and why.

use eventferry_core::envelope::collect_headers;
use eventferry_core::parked::Death;
use eventferry_core::publisher::{Role, Taken};
use eventferry_core::{DeadLetter, Envelope, Event, StoredEvent, Timestamp};

use super::{Kept, clause};
use crate::broken::{Broken, ensure};
use crate::publisher::bench::{Bench, holds, row, stored};
use crate::publisher::clause::Clause;
use crate::publisher::subject::Delivered;

pub(super) static CLAUSES: &[Clause] = &[
    clause!(
        2,
        "acknowledged-is-there",
        "What a session acknowledges is in its topic, once, and nothing else is.",
        [],
        acknowledged_is_there
    ),
    clause!(
        2,
        "message-is-exact",
        "Key, payload and headers arrive byte for byte and in order; a tombstone is none, an empty payload is one.",
        [],
        message_is_exact
    ),
    clause!(
        2,
        "asked-partition-is-kept",
        "An event that asks for a partition arrives in it.",
        [Partitions],
        asked_partition_is_kept
    ),
    clause!(
        2,
        "time-is-the-events",
        "A message's time is when its event was enqueued, in milliseconds.",
        [Times],
        time_is_the_events
    ),
];

pub(super) static DEAD_LETTERS: &[Clause] = &[
    clause!(
        8,
        "dead-letter-is-the-message-and-why",
        "A dead letter has the key, payload and headers of its event, after them why, and the time of its refusal.",
        [],
        dead_letter_is_the_message_and_why
    ),
    clause!(
        8,
        "dead-letter-asks-for-no-partition",
        "An event that asks for a partition is carried to a dead-letter topic that has none such.",
        [Partitions],
        dead_letter_asks_for_no_partition
    ),
];

pub(super) static BOUNDS: &[Clause] = &[clause!(
    9,
    "full-is-not-taken",
    "A session that is full has not taken the message, and takes it after a report.",
    [],
    full_is_not_taken
)];

async fn acknowledged_is_there(bench: &Bench) -> Kept {
    let topic = bench.topic(4).await?;
    let rows: Vec<_> = (0..60).map(|nth| row(&topic, &format!("{}", nth % 7), &nth.to_string())).collect();
    let mut line = bench.line(Role::Main).await?;
    line.send_all(&rows).await?;
    line.answered().await?;
    line.answers.all_acknowledged()?;
    holds(bench, &topic, &rows, "after all were acknowledged").await
}

/// Breaks the clause unless a message is what its envelope says.
fn is_message(message: &Delivered, envelope: &Envelope<'_>, times: bool) -> Kept {
    let key = envelope.key();
    let told = format!("with key `{}`", in_words(Some(key)));
    ensure!(message.key.as_deref() == Some(key), "{told}: it is `{}`", in_words(message.key.as_deref()));
    let payload = envelope.payload();
    ensure!(
        message.payload.as_deref() == payload,
        "{told}: payload `{}` arrived as `{}`",
        in_words(payload),
        in_words(message.payload.as_deref())
    );
    let headers = collect_headers(envelope);
    let differs = message.headers.iter().zip(&headers).find(|(arrived, sent)| arrived != sent);
    if let Some((arrived, sent)) = differs {
        let (sent, arrived) = ((&sent.0, in_words(Some(&sent.1))), (&arrived.0, in_words(Some(&arrived.1))));
        return Err(Broken::new(format!("{told}: where header {sent:?} was sent {arrived:?} arrived")));
    }
    let (sent, arrived) = (headers.len(), message.headers.len());
    ensure!(sent == arrived, "{told}: {sent} headers were sent and {arrived} arrived");
    let millis = envelope.timestamp().millis();
    ensure!(
        !times || message.millis == Some(millis),
        "{told}: the time {millis} arrived as {:?}",
        message.millis
    );
    Ok(())
}

fn in_words(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "none".into() };
    let shown = bytes[..bytes.len().min(24)].escape_ascii();
    if bytes.len() > 24 { format!("{shown}…, {} bytes", bytes.len()) } else { shown.to_string() }
}

async fn message_is_exact(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let all: Vec<u8> = (0..=255).collect();
    let of = |order: &str| Event::new(topic.as_str(), ("order", order));
    let mut empty = of("2");
    empty.payload = Some(Vec::new());
    let events = [
        of("1"),
        empty,
        of("3").payload(all.clone(), "application/octet-stream").key(all.clone()),
        of("größe 日本").payload("{}", "text/größe"),
        of("5").header("b", "1").header("a", all).header("b", "2").header("b", []).header("B", [0xff, 0]),
    ];
    let rows = events.map(stored);
    let mut line = bench.line(Role::Main).await?;
    line.send_all(&rows).await?;
    line.answered().await?;
    line.answers.all_acknowledged()?;
    let messages = bench.read(&topic).await?;
    ensure!(messages.len() == rows.len(), "sent {} messages and read {}", rows.len(), messages.len());
    messages.iter().zip(&rows).try_for_each(|(message, row)| is_message(message, &Envelope::of(row), false))
}

async fn asked_partition_is_kept(bench: &Bench) -> Kept {
    let topic = bench.topic(4).await?;
    let asks = |partition: i32| {
        let event = Event::new(topic.as_str(), ("order", "1")).payload(partition.to_string(), "text/plain");
        stored(event.partition(partition))
    };
    let rows: Vec<_> = (0..4).chain(0..4).map(asks).collect();
    let mut line = bench.line(Role::Main).await?;
    line.send_all(&rows).await?;
    line.answered().await?;
    line.answers.all_acknowledged()?;
    let messages = bench.read(&topic).await?;
    ensure!(messages.len() == rows.len(), "sent {} messages and read {}", rows.len(), messages.len());
    for message in messages {
        let asked = message.payload.clone().unwrap_or_default();
        ensure!(
            asked == message.partition.to_string().into_bytes(),
            "asked for partition {}, and arrived in {}",
            String::from_utf8_lossy(&asked),
            message.partition
        );
    }
    Ok(())
}

async fn time_is_the_events(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let mut rows: Vec<_> = (0..3).map(|nth| row(&topic, "1", &nth.to_string())).collect();
    for (row, earlier_seconds) in rows.iter_mut().zip([0, 5, 60]) {
        row.enqueued_at.0 -= earlier_seconds * 1_000_000;
    }
    let mut line = bench.line(Role::Main).await?;
    line.send_all(&rows).await?;
    line.answered().await?;
    let messages = bench.read(&topic).await?;
    ensure!(messages.len() == rows.len(), "sent {} messages and read {}", rows.len(), messages.len());
    messages.iter().zip(&rows).try_for_each(|(message, row)| is_message(message, &Envelope::of(row), true))
}

/// How an event died a while after it was enqueued.
fn death_of(row: &StoredEvent) -> Death {
    Death {
        class: "MessageSizeTooLarge".into(),
        message: "\"too large\": größer als erlaubt \u{1f980}".into(),
        failed_at: Timestamp(row.enqueued_at.0 + 1_234_567),
    }
}

async fn dead_letter_is_the_message_and_why(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let of = |order: &str| Event::new("orders", ("order", order));
    let mut rows = [
        stored(of("1").payload("{}", "application/json").header("a", "1").header("a", [0xff])),
        stored(of("2")),
        stored(of("3").key([0, 255]).payload([0, 255], "application/octet-stream")),
    ];
    rows.iter_mut().for_each(|row| row.enqueued_at.0 -= 60_000_000);
    let deaths = rows.each_ref().map(death_of);
    let letter = |nth: usize| DeadLetter {
        topic: &topic,
        death: &deaths[nth],
        attempts: 5,
        detail: (nth == 0).then_some("lane 3"),
    };
    let envelopes: Vec<_> =
        rows.iter().enumerate().map(|(nth, row)| Envelope::of_dead(row, letter(nth))).collect();
    let mut line = bench.line(Role::Alone).await?;
    for envelope in &envelopes {
        line.send_envelope(envelope).await?;
        line.answered().await?;
    }
    line.answers.all_acknowledged()?;
    let messages = bench.read(&topic).await?;
    ensure!(messages.len() == rows.len(), "sent {} dead letters and read {}", rows.len(), messages.len());
    let times = bench.declared().reach.times;
    messages.iter().zip(&envelopes).try_for_each(|(message, envelope)| is_message(message, envelope, times))
}

async fn dead_letter_asks_for_no_partition(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let row = stored(Event::new("orders", ("order", "1")).payload("{}", "text/plain").partition(3));
    let death = death_of(&row);
    let letter = DeadLetter { topic: &topic, death: &death, attempts: 1, detail: None };
    let envelope = Envelope::of_dead(&row, letter);
    let mut line = bench.line(Role::Alone).await?;
    line.send_envelope(&envelope).await?;
    line.answered().await?;
    line.answers.all_acknowledged()?;
    let messages = bench.read(&topic).await?;
    ensure!(messages.len() == 1, "sent a dead letter and read {} messages", messages.len());
    is_message(&messages[0], &envelope, false)
}

/// More messages than a session has room for, if its room is for messages.
const MANY: usize = 25_000;

async fn full_is_not_taken(bench: &Bench) -> Kept {
    let topic = bench.topic(1).await?;
    let mut rows = vec![row(&topic, "1", "first")];
    let mut line = bench.line(Role::Main).await?;
    line.send(&rows[0]).await?;
    line.answered().await?;
    for nth in 0..MANY {
        let one = row(&topic, "1", &nth.to_string());
        match line.offer(&Envelope::of(&one))? {
            Taken::Yes => rows.push(one),
            Taken::Full => {
                line.send(&one).await?;
                rows.push(one);
                break;
            }
            Taken::Ended => {
                return Err(Broken::new("nothing was wrong, and the session has ended"));
            }
        }
    }
    line.answered().await?;
    line.answers.all_acknowledged()?;
    holds(bench, &topic, &rows, "after the session had been full").await
}
