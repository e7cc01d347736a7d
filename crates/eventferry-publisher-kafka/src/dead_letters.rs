//! Reading a dead-letter topic, up to its end as it is at the beginning.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::spawn_blocking;

use crate::config::KafkaConfig;
use crate::fault::code_of;
use crate::publisher::shutting_down;
use crate::reader::{ANSWER_MAX, Ear, LOOK, Reader, admission};
use crate::record::TopicRecord;

/// How long nothing may come before the broker counts as away.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Where a [`DeadLetterReader`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Where the consumer group stands; where it has no position, at the beginning.
    Group,
    /// At the beginning, wherever the group stands.
    Beginning,
}

/// What a [`DeadLetterReader`] reads of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which partition.
    pub partition: i32,
    /// The first offset to read.
    pub from: i64,
    /// The offset after the last one to read.
    pub to: i64,
    /// How many offsets between the group's position and `from` the broker has removed, by the topic's retention,
    /// before anybody read them.
    pub removed: u64,
}

/// Reads a dead-letter topic once, from where a consumer group stands to the end that the topic has when it is
/// opened, and tells the group how far its records were dealt with.
///
/// It takes all partitions by itself rather than as a member of the group, so two readers of one group read the same.
/// Of each partition the records come in order. At most 16 MiB of records, and one more, wait in memory.
pub struct DeadLetterReader {
    reading: Arc<Mutex<Reading>>,
    spans: Vec<Span>,
}

impl fmt::Debug for DeadLetterReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterReader").field("spans", &self.spans).finish_non_exhaustive()
    }
}

impl DeadLetterReader {
    /// Opens a topic for reading under a consumer group. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable`: the cluster does not answer or does not let us in; ask again later. `TopicRefused`: there is no
    /// such topic, or no permission to read it. `Misconfigured`: the settings cannot be used, or the group's position
    /// lies beyond the topic's end; the message says what to do.
    pub async fn open(
        config: &KafkaConfig,
        topic: &str,
        group: &str,
        from: ReadFrom,
    ) -> Result<Self, PublishFault> {
        config.check()?;
        let (client, keeper) = admission(config, config.consumer(group)).await?;
        let (topic, group) = (topic.to_owned(), group.to_owned());
        let opened = spawn_blocking(move || {
            let reader = Reader::new(&client, keeper, format!("reading topic `{topic}` as group `{group}`"))?;
            let mut reading = Reading { reader, topic, group, partitions: BTreeMap::new() };
            let spans = reading.begin(from)?;
            Ok(Self { reading: Arc::new(Mutex::new(reading)), spans })
        });
        opened.await.unwrap_or_else(|_| Err(shutting_down()))
    }

    /// What is read of each partition, in ascending order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The next records: at most `records_max`, and no more once they take `bytes_max`. None: all were read.
    ///
    /// # Errors
    /// `Unavailable`: nothing came for 30 seconds. `TopicRefused`: the topic is gone, or the permission to read it.
    /// `Unknown`: records were removed before they were read. A new reader goes on from the group's position.
    pub async fn read(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<TopicRecord>, PublishFault> {
        self.ask(move |reading| reading.read(records_max, bytes_max)).await
    }

    /// Tells the group that of each partition named everything before the offset was dealt with. A position never
    /// moves back.
    ///
    /// # Errors
    /// `Unavailable`: it may have happened; without it, a later reader meets these records again. `Misconfigured`:
    /// another program consumes under this group.
    pub async fn commit(&mut self, positions: &[(i32, i64)]) -> Result<(), PublishFault> {
        let positions = positions.to_vec();
        self.ask(move |reading| reading.commit(&positions)).await
    }

    async fn ask<T: Send + 'static>(
        &mut self,
        what: impl FnOnce(&mut Reading) -> Result<T, PublishFault> + Send + 'static,
    ) -> Result<T, PublishFault> {
        let reading = Arc::clone(&self.reading);
        let asked = spawn_blocking(move || what(&mut reading.lock().unwrap_or_else(PoisonError::into_inner)));
        asked.await.unwrap_or_else(|_| Err(shutting_down()))
    }
}

/// The consumer, and how far it is. Everything here blocks.
struct Reading {
    reader: Reader,
    topic: String,
    group: String,
    partitions: BTreeMap<i32, Partition>,
}

/// How far a partition is read.
#[derive(Clone, Copy, Debug)]
struct Partition {
    /// The offset after the last one to read.
    end: i64,
    /// Where the group stands.
    committed: Option<i64>,
    done: bool,
}

impl Reading {
    /// Finds out what there is to read and takes it.
    fn begin(&mut self, from: ReadFrom) -> Result<Vec<Span>, PublishFault> {
        let committed = self.committed()?;
        let mut assigned = TopicPartitionList::new();
        let mut spans = Vec::new();
        for (partition, committed) in committed {
            let marks = self.reader.consumer()?.fetch_watermarks(&self.topic, partition, ANSWER_MAX);
            let (first, end) = marks.map_err(|error| self.reader.fault(&error))?;
            let begin = match (from, committed) {
                (ReadFrom::Group, Some(position)) if position > end => {
                    return Err(PublishFault::new(
                        PublishFaultKind::Misconfigured,
                        format!(
                            "group `{}` stands at {position} in partition {partition} of topic `{}`, which ends at \
                             {end}: the topic was made anew; read it from the beginning, or under another group",
                            self.group, self.topic
                        ),
                    ));
                }
                (ReadFrom::Group, Some(position)) => position,
                _ => first,
            };
            let start = begin.max(first);
            spans.push(Span { partition, from: start, to: end, removed: (start - begin).unsigned_abs() });
            // A position beyond the end says nothing of the topic as it is now.
            let committed = committed.filter(|position| *position <= end);
            self.partitions.insert(partition, Partition { end, committed, done: start >= end });
            if start < end {
                let added = assigned.add_partition_offset(&self.topic, partition, Offset::Offset(start));
                added.map_err(|error| self.reader.fault(&error))?;
            }
        }
        self.reader.consumer()?.assign(&assigned).map_err(|error| self.reader.fault(&error))?;
        Ok(spans)
    }

    /// Where the group stands in each partition of the topic.
    fn committed(&self) -> Result<Vec<(i32, Option<i64>)>, PublishFault> {
        let mut asked = TopicPartitionList::new();
        for partition in self.reader.partitions(&self.topic)? {
            asked.add_partition(&self.topic, partition);
        }
        let answer = self.of_coordinator(|consumer| {
            let answer = consumer.committed_offsets(asked.clone(), ANSWER_MAX)?;
            answer.elements().iter().try_for_each(|element| element.error())?;
            Ok(answer)
        })?;
        let mut committed = Vec::new();
        for element in answer.elements() {
            let position = match element.offset() {
                Offset::Offset(position) => Some(position),
                _ => None,
            };
            committed.push((element.partition(), position));
        }
        committed.sort_unstable();
        Ok(committed)
    }

    fn read(&mut self, records_max: usize, bytes_max: usize) -> Result<Vec<TopicRecord>, PublishFault> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut heard = Instant::now();
        while records.len() < records_max && bytes < bytes_max {
            if self.partitions.values().all(|partition| partition.done) {
                break;
            }
            if heard.elapsed() > SILENCE_MAX {
                return Err(self.silence());
            }
            let record = match self.reader.consumer()?.poll(LOOK) {
                None => continue,
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.finish(partition);
                    heard = Instant::now();
                    continue;
                }
                Some(Err(error)) => {
                    let fault = self.reader.fault(&error);
                    // What may come back by itself is waited for by the consumer.
                    if *fault.kind() != PublishFaultKind::Unavailable {
                        return Err(fault);
                    }
                    continue;
                }
                Some(Ok(message)) => TopicRecord::of(&message),
            };
            heard = Instant::now();
            let Some(partition) = self.partitions.get_mut(&record.partition) else { continue };
            if record.offset + 1 >= partition.end {
                partition.done = true;
            }
            // Came after the end was looked up.
            if record.offset < partition.end {
                bytes += record.size_bytes();
                records.push(record);
            }
        }
        Ok(records)
    }

    fn finish(&mut self, partition: i32) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.done = true;
        }
    }

    fn commit(&mut self, positions: &[(i32, i64)]) -> Result<(), PublishFault> {
        let ahead = |(partition, position): &&(i32, i64)| {
            let known = self.partitions.get(partition);
            known.is_some_and(|known| known.committed.is_none_or(|committed| committed < *position))
        };
        let ahead: Vec<_> = positions.iter().filter(ahead).copied().collect();
        if ahead.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, position) in &ahead {
            let added = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*position));
            added.map_err(|error| self.reader.fault(&error))?;
        }
        self.of_coordinator(|consumer| consumer.commit(&list, CommitMode::Sync))?;
        for (partition, position) in ahead {
            if let Some(known) = self.partitions.get_mut(&partition) {
                known.committed = Some(position);
            }
        }
        Ok(())
    }

    /// Asks the group's coordinator, and again while there is none: the first group of a cluster's life has the topic
    /// made where its position will be.
    fn of_coordinator<T>(
        &self,
        ask: impl Fn(&BaseConsumer<Ear>) -> Result<T, KafkaError>,
    ) -> Result<T, PublishFault> {
        let asked = Instant::now();
        loop {
            match ask(self.reader.consumer()?) {
                Err(error) if has_no_coordinator(&error) && asked.elapsed() < ANSWER_MAX => {
                    std::thread::sleep(LOOK);
                }
                answer => return answer.map_err(|error| self.reader.fault(&error)),
            }
        }
    }

    fn silence(&self) -> PublishFault {
        self.reader.unavailable(|reason| {
            format!("nothing came for {SILENCE_MAX:?}, {reason}; check the brokers, and begin again")
        })
    }
}

fn has_no_coordinator(error: &KafkaError) -> bool {
    matches!(
        code_of(error),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::WaitingForCoordinator
        )
    )
}
