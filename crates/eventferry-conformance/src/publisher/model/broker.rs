//! The model's topics.

use std::collections::BTreeMap;

use super::coordinator::Coordinator;
use super::flaw::Flaw;
use crate::publisher::subject::Delivered;

/// A broker: topics by name.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) flaw: Option<Flaw>,
    topics: BTreeMap<String, Topic>,
    /// What a flawed session left on its way when it ended.
    lingering: Vec<Message>,
    next_instance: u64,
    pub(super) coordinator: Coordinator,
    /// How often a flawed publisher ended all sessions.
    pub(super) ended_all: u64,
}

#[derive(Debug, Default)]
struct Topic {
    partitions: Vec<Vec<Delivered>>,
    bytes_max: Option<usize>,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) delivered: Delivered,
}

impl Broker {
    pub(super) fn new(flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            topics: BTreeMap::new(),
            lingering: Vec::new(),
            next_instance: 0,
            coordinator: Coordinator::default(),
            ended_all: 0,
        }
    }

    /// Whether the model is broken in this way.
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// A number for each publisher and session.
    pub(super) fn instance(&mut self) -> u64 {
        self.next_instance += 1;
        self.next_instance
    }

    pub(super) fn create(&mut self, topic: &str, partitions: u16) {
        let partitions = vec![Vec::new(); usize::from(partitions)];
        self.topics.insert(topic.into(), Topic { partitions, bytes_max: None });
    }

    pub(super) fn limit(&mut self, topic: &str, bytes: usize) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.bytes_max = Some(bytes);
        }
    }

    pub(super) fn read(&mut self, topic: &str) -> Vec<Delivered> {
        let read = self.topics.get(topic).map_or_else(Vec::new, |topic| topic.partitions.concat());
        // Nothing is late but with a flaw: then it shows to the next reader.
        for message in std::mem::take(&mut self.coordinator.late) {
            self.write(message);
        }
        read
    }

    /// How many partitions a topic has; `None`: there is no such topic.
    pub(super) fn partitions(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic).map(|topic| topic.partitions.len())
    }

    /// Whether a message is over its topic's limit.
    pub(super) fn refuses(&self, message: &Message) -> bool {
        let bytes = message.delivered.payload.as_ref().map_or(0, Vec::len);
        let limit = self.topics.get(&message.topic).and_then(|topic| topic.bytes_max);
        limit.is_some_and(|limit| bytes > limit)
    }

    /// Writes a message, and after it whatever lingers.
    pub(super) fn write(&mut self, message: Message) {
        if self.has(Flaw::AcknowledgesUnwritten) {
            return;
        }
        let late = std::mem::take(&mut self.lingering);
        let times = if self.has(Flaw::WritesTwice) { 2 } else { 1 };
        for Message { topic, delivered } in std::iter::repeat_n(message, times).chain(late) {
            let partition = usize::try_from(delivered.partition).unwrap_or(0);
            let topic = self.topics.get_mut(&topic);
            if let Some(log) = topic.and_then(|topic| topic.partitions.get_mut(partition)) {
                log.push(delivered);
            }
        }
    }

    /// Leaves messages on their way, to be written later.
    pub(super) fn linger(&mut self, messages: impl IntoIterator<Item = Message>) {
        self.lingering.extend(messages);
    }
}
