//! `eventferry tail`: a topic's records as they come, decoded.

mod line;
mod text;

use eventferry::core::PublishFaultKind;
use eventferry::kafka::{KafkaConfig, TailFrom, TopicRecord, TopicTail};

use crate::arguments::{FromArgument, TailArguments};
use crate::ending::{Ending, Trouble};
use crate::output::{Audience, offer, plain};
use crate::place;
use crate::settings::Settings;
use crate::shutdown::Signals;
use crate::table::counted;

/// The most records that are taken at once, and about the most bytes.
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 4 << 20;

/// Prints records until there were enough, nobody reads them any more, or a signal comes.
pub(crate) async fn tail(settings: &Settings, arguments: &TailArguments) -> Result<Ending, Trouble> {
    let kafka = place::one_cluster(settings, &arguments.cluster)?;
    let mut signals =
        Signals::hear().map_err(|error| Trouble::bug(format!("signals cannot be listened to: {error}")))?;
    // Whatever is being done: nothing is left half done.
    tokio::select! {
        printed = print_all(&kafka, arguments) => printed,
        _ = signals.next() => Ok(Ending::Done),
    }
}

async fn print_all(kafka: &KafkaConfig, arguments: &TailArguments) -> Result<Ending, Trouble> {
    let TailArguments { topic, json, .. } = arguments;
    let from = match arguments.from {
        FromArgument::Beginning => TailFrom::Beginning,
        FromArgument::End => TailFrom::End,
    };
    let mut tail = TopicTail::open(kafka, topic, from).await?;
    let partitions = counted(tail.partitions() as u64, "partition");
    eprintln!("reading topic {} ({partitions}): Ctrl-C ends it", plain(topic));
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut is_away = false;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH_RECORDS);
        let records = match tail.read(wanted, BATCH_BYTES).await {
            Ok(records) => records,
            Err(fault) if *fault.kind() == PublishFaultKind::Unavailable => {
                if !is_away {
                    tracing::warn!("the broker does not answer: waiting: {}", fault.message());
                }
                is_away = true;
                continue;
            }
            Err(fault) => return Err(fault.into()),
        };
        if records.is_empty() {
            continue;
        }
        is_away = false;
        left -= records.len() as u64;
        let written = written(topic, &records, *json)?;
        // Apart, so that a signal is heard while nobody takes what is written.
        let offered = tokio::task::spawn_blocking(move || offer(&written)).await;
        if offered.map_err(Trouble::bug)?? == Audience::Gone {
            break;
        }
    }
    Ok(Ending::Done)
}

fn written(topic: &str, records: &[TopicRecord], json: bool) -> Result<String, Trouble> {
    let mut written = String::new();
    for record in records {
        written.push_str(&if json { line::json(topic, record)? } else { text::whole(record) });
    }
    Ok(written)
}
