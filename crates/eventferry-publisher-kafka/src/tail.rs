//! Reading a topic as records come, without leaving a trace at the broker.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::spawn_blocking;

use crate::config::KafkaConfig;
use crate::publisher::shutting_down;
use crate::reader::{ANSWER_MAX, LOOK, Reader, admission, is_of_the_group};
use crate::record::TopicRecord;

/// The client wants a group's name, though nothing is ever told to the group.
const GROUP: &str = "eventferry-tail";

/// How long one call waits for a first record.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Where a [`TopicTail`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// At the first records that the topic still has.
    Beginning,
    /// Behind the last ones that it has now.
    End,
}

/// Reads a topic's records as they come, those of committed transactions only.
///
/// It takes the partitions that the topic has when it is opened by itself, as no member of a group, and tells the
/// broker nothing of how far it came. Of each partition the records come in order. At most 16 MiB of records, and one
/// more, wait in memory.
pub struct TopicTail {
    tailing: Arc<Mutex<Tailing>>,
    partitions: usize,
}

impl fmt::Debug for TopicTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicTail").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl TopicTail {
    /// Opens a topic for reading. Must be called on a tokio runtime. Records that are sent after this has returned
    /// are read, wherever it begins.
    ///
    /// # Errors
    /// `Unavailable`: the cluster does not answer or does not let us in; ask again later. `TopicRefused`: there is no
    /// such topic, or no permission to read it. `Misconfigured`: the settings cannot be used; the message says what
    /// to do.
    pub async fn open(config: &KafkaConfig, topic: &str, from: TailFrom) -> Result<Self, PublishFault> {
        config.check()?;
        let mut client = config.consumer(GROUP);
        // What is removed before it is read is passed over: who looks on wants to go on looking.
        client.set("auto.offset.reset", "earliest").set("enable.partition.eof", "false");
        let (client, keeper) = admission(config, client).await?;
        let topic = topic.to_owned();
        let opened = spawn_blocking(move || {
            let reader = Reader::new(&client, keeper, format!("reading topic `{topic}`"))?;
            let tailing = Tailing { reader };
            let partitions = tailing.begin(&topic, from)?;
            Ok(Self { tailing: Arc::new(Mutex::new(tailing)), partitions })
        });
        opened.await.unwrap_or_else(|_| Err(shutting_down()))
    }

    /// How many partitions are read.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// The next records, as soon as there is one: at most `records_max`, and no more once they take `bytes_max`.
    /// None: none came for a second.
    ///
    /// # Errors
    /// `Unavailable`: no broker can be reached; the next call waits on. `TopicRefused`: the topic is gone, or the
    /// permission to read it.
    pub async fn read(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<TopicRecord>, PublishFault> {
        let tailing = Arc::clone(&self.tailing);
        let read = spawn_blocking(move || {
            tailing.lock().unwrap_or_else(PoisonError::into_inner).read(records_max, bytes_max)
        });
        read.await.unwrap_or_else(|_| Err(shutting_down()))
    }
}

/// The consumer. Everything here blocks.
struct Tailing {
    reader: Reader,
}

impl Tailing {
    /// Takes the topic's partitions; returns how many there are.
    fn begin(&self, topic: &str, from: TailFrom) -> Result<usize, PublishFault> {
        let partitions = self.reader.partitions(topic)?;
        let consumer = self.reader.consumer()?;
        let mut assigned = TopicPartitionList::new();
        for partition in &partitions {
            // Asked for now: an end that is looked up later would be behind what came meanwhile.
            let marks = consumer.fetch_watermarks(topic, *partition, ANSWER_MAX);
            let (first, end) = marks.map_err(|error| self.reader.fault(&error))?;
            let at = if from == TailFrom::Beginning { first } else { end };
            let added = assigned.add_partition_offset(topic, *partition, Offset::Offset(at));
            added.map_err(|error| self.reader.fault(&error))?;
        }
        consumer.assign(&assigned).map_err(|error| self.reader.fault(&error))?;
        Ok(partitions.len())
    }

    fn read(&self, records_max: usize, bytes_max: usize) -> Result<Vec<TopicRecord>, PublishFault> {
        let consumer = self.reader.consumer()?;
        let mut records: Vec<TopicRecord> = Vec::new();
        let mut bytes = 0;
        let begun = Instant::now();
        while records.len() < records_max && bytes < bytes_max {
            // Once there is one, only what is at hand goes with it.
            match consumer.poll(if records.is_empty() { LOOK } else { Duration::ZERO }) {
                None if !records.is_empty() => break,
                None => {}
                Some(Ok(message)) => {
                    let record = TopicRecord::of(&message);
                    bytes += record.size_bytes();
                    records.push(record);
                }
                Some(Err(error)) if is_of_the_group(&error) => {}
                Some(Err(error)) => {
                    let fault = self.reader.fault(&error);
                    // What may come back by itself is waited for by the consumer.
                    if *fault.kind() != PublishFaultKind::Unavailable {
                        return Err(fault);
                    }
                }
            }
            if records.is_empty() && self.reader.are_all_down()? {
                return Err(self.reader.unavailable(str::to_owned));
            }
            if records.is_empty() && begun.elapsed() > WAIT_MAX {
                break;
            }
        }
        Ok(records)
    }
}
