//! `eventferry dead-letters replay`: the events of a dead-letter topic, enqueued again.
//!
//! What is read is appended to the outbox, batch by batch and each in one transaction; after its commit, the consumer
//! group is told. So a crash between the two enqueues some events twice, under their old message ids, and loses none.
//! The group's position only passes what was replayed or cannot be: what a filter leaves out stays before it.

mod letter;
mod outbox;
mod progress;
mod report;

use eventferry::Event;
use eventferry::core::parked::{Act, Desk};
use eventferry::core::store::Store;
use eventferry::kafka::{DeadLetterReader, ReadFrom, TopicRecord};
use eventferry::postgres::PostgresStore;
use eventferry::sqlite::SqliteStore;
use jiff::Timestamp;

use crate::arguments::{DeadLettersArguments, DeadLettersCommand, ReplayArguments};
use crate::ending::{Ending, Trouble};
use crate::output::print;
use crate::parked::desk;
use crate::person;
use crate::place::{self, StorePlace};
use crate::settings::Settings;
use letter::{Filter, Letter};
use outbox::Outbox;
use progress::Progress;
use report::{Found, Report};

/// The group that keeps how far replays came unless another is named.
const GROUP_DEFAULT: &str = "eventferry-replay";

/// The most records of one transaction, and about the most bytes.
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 4 << 20;

/// Replays dead letters.
pub(crate) async fn dead_letters(
    settings: &Settings,
    arguments: DeadLettersArguments,
) -> Result<Ending, Trouble> {
    let DeadLettersCommand::Replay(arguments) = arguments.command;
    let store = settings.require("store", arguments.store.store.as_deref())?;
    let (store, kafka) =
        (StorePlace::of(&store, settings)?, place::one_cluster(settings, &arguments.cluster)?);
    let filter = Filter::of(&arguments.filter, Timestamp::now())?;
    let act = person::act(&arguments.person)?;
    let group = arguments.group.as_deref().unwrap_or(GROUP_DEFAULT);
    let from = if arguments.from_beginning { ReadFrom::Beginning } else { ReadFrom::Group };
    if arguments.dry_run {
        let reader = DeadLetterReader::open(&kafka, &arguments.topic, group, from).await?;
        return Replay::new(reader, filter, &arguments, group).rehearse().await;
    }
    // The store first: without it there is nothing to be done.
    let outbox = Outbox::open(&store).await?;
    match store {
        StorePlace::Postgres(config) => {
            let desk = desk(PostgresStore::new(config)).await?;
            let reader = DeadLetterReader::open(&kafka, &arguments.topic, group, from).await?;
            Replay::new(reader, filter, &arguments, group).perform::<PostgresStore>(outbox, desk, &act).await
        }
        StorePlace::Sqlite(config) => {
            let desk = desk(SqliteStore::new(config)).await?;
            let reader = DeadLetterReader::open(&kafka, &arguments.topic, group, from).await?;
            Replay::new(reader, filter, &arguments, group).perform::<SqliteStore>(outbox, desk, &act).await
        }
    }
}

/// A replay under way.
struct Replay<'a> {
    reader: DeadLetterReader,
    filter: Filter,
    topic: &'a str,
    to_topic: Option<&'a str>,
    group: &'a str,
    /// How many more events it takes.
    left: u64,
    progress: Progress,
    report: Report,
}

impl<'a> Replay<'a> {
    fn new(reader: DeadLetterReader, filter: Filter, arguments: &'a ReplayArguments, group: &'a str) -> Self {
        for span in reader.spans().iter().filter(|span| span.removed > 0) {
            tracing::warn!(
                "partition {}: {} offsets before {} were removed by the topic's retention before they were replayed",
                span.partition,
                span.removed,
                span.from
            );
        }
        Self {
            reader,
            filter,
            topic: &arguments.topic,
            to_topic: arguments.to_topic.as_deref(),
            group,
            left: arguments.limit.unwrap_or(u64::MAX),
            progress: Progress::default(),
            report: Report::default(),
        }
    }

    /// Enqueues what is to be replayed.
    async fn perform<S: Store>(
        mut self,
        mut outbox: Outbox,
        mut desk: S::Desk,
        act: &Act,
    ) -> Result<Ending, Trouble> {
        let mut begun = false;
        while let Some(events) = self.next().await? {
            if !events.is_empty() {
                if !begun {
                    desk.record(&self.intent(), act).await?;
                    begun = true;
                }
                let count = events.len() as u64;
                outbox.append(events).await?;
                self.report.replayed += count;
            }
            self.reader.commit(&self.progress.positions()).await?;
        }
        if begun {
            desk.record(&self.outcome(), act).await?;
        }
        print(&self.report.text(self.topic, self.group))?;
        Ok(Ending::Done)
    }

    /// Shows what is to be replayed.
    async fn rehearse(mut self) -> Result<Ending, Trouble> {
        self.report.listing = true;
        while let Some(events) = self.next().await? {
            self.report.replayed += events.len() as u64;
        }
        print(&self.report.text(self.topic, self.group))?;
        Ok(Ending::Done)
    }

    /// The events of the next batch, which may be none; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Event>>, Trouble> {
        if self.left == 0 {
            return Ok(None);
        }
        let records = self.reader.read(BATCH_RECORDS, BATCH_BYTES).await?;
        if records.is_empty() {
            return Ok(None);
        }
        let mut events = Vec::new();
        for record in records {
            if self.left == 0 {
                self.report.limited = true;
                break;
            }
            events.extend(self.judge(record));
        }
        Ok(Some(events))
    }

    /// The event to enqueue for a record, if one is.
    fn judge(&mut self, record: TopicRecord) -> Option<Event> {
        let found = Found { partition: record.partition, offset: record.offset };
        match Letter::of(record, self.to_topic) {
            Err(why) => {
                self.report.skip(found, why);
                self.progress.pass(found);
                None
            }
            Ok(letter) if !self.filter.takes(&letter) => {
                self.report.left_out += 1;
                self.progress.stop(found);
                None
            }
            Ok(letter) => {
                self.report.list(found, &letter);
                self.left -= 1;
                self.report.again += u64::from(self.progress.pass(found));
                Some(letter.event)
            }
        }
    }

    fn intent(&self) -> String {
        let to =
            self.to_topic.map_or_else(|| "to their own topics".to_owned(), |to| format!("to topic `{to}`"));
        format!("replay of dead letters begun: topic `{}` as group `{}`, {to}", self.topic, self.group)
    }

    fn outcome(&self) -> String {
        let Report { replayed, .. } = self.report;
        format!(
            "replay of dead letters done: {replayed} events of topic `{}` enqueued; {}",
            self.topic,
            self.progress.text()
        )
    }
}
