//! A consumer that wants each message at once, and notes when it has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::event::number_in;
use super::marks::Marks;
use crate::failure::{Attempt as _, Failure};
use crate::topic::Topic;

/// How long one look lasts at most.
const LOOK: Duration = Duration::from_millis(100);

/// Reads all partitions on a thread of its own, until it goes out of scope.
pub(super) struct Reader {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Begins to read, from the topic's first message on.
    pub(super) fn start(topic: &Topic, marks: Arc<Marks>) -> Result<Self, Failure> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", topic.brokers())
            .set("group.id", "latency")
            .set("enable.auto.commit", "false")
            // An answer comes as soon as there is one byte; the wait only bounds the silence.
            .set("fetch.min.bytes", "1")
            .set("fetch.wait.max.ms", "500")
            // What was read and not yet looked at must not hold the next request back.
            .set("queued.min.messages", "1000000")
            .set("fetch.queue.backoff.ms", "1")
            .set("fetch.error.backoff.ms", "10")
            .set("check.crcs", "false")
            .create()
            .attempt("make a consumer")?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..topic.partitions {
            partitions.add_partition_offset(&topic.name, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions).attempt("assign partitions")?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::Builder::new().name("reader".into()).spawn(move || {
            while !end.load(Ordering::Relaxed) {
                // What is no message is said by what does not arrive.
                let Some(Ok(message)) = consumer.poll(LOOK) else { continue };
                let at = Instant::now();
                if let Some(number) = message.payload().and_then(number_in) {
                    marks.arrive(number, at);
                }
            }
        })?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
