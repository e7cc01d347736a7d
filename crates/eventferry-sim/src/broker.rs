//! A model of Kafka and of librdkafka's idempotent producer.
//!
//! | idea | where |
//! |---|---|
//! | partitions and what they know of producers | `partition.rs` |
//! | transactions, and what a reader of committed records sees | `coordinator.rs` |
//! | a producer: its queue, its batches, its connection | `producer.rs` |
//!
//! Who decides when things happen is `world/wire.rs`.

mod coordinator;
mod partition;
mod producer;

pub(crate) use coordinator::{Coordinator, IDS, Trouble};
pub(crate) use partition::{Partition, Verdict};
pub(crate) use producer::{Life, Message, Producer, Wire};

use eventferry_core::fault::PublishFaultKind;

use crate::agenda::Time;

/// The broker's server, and the clients that talk to it.
pub(crate) struct Broker {
    /// Every domain: the partitions of all topics, one after the other.
    pub(crate) partitions: Vec<Partition>,
    /// The first domain of each topic.
    first: Vec<usize>,
    pub(crate) producers: Vec<Producer>,
    pub(crate) coordinator: Coordinator,
    pub(crate) down_until: Time,
    pub(crate) frozen_until: Time,
    /// What came in while it was frozen.
    pub(crate) backlog: Vec<Wire>,
    /// Until when connections break, and how many answers in a hundred with them.
    pub(crate) breaks: (Time, u64),
    /// Until when answers are late, and by how much.
    pub(crate) throttles: (Time, Time),
    /// Until when it takes nothing, and what it says.
    pub(crate) short_until: (Time, PublishFaultKind),
    /// Until when each topic is gone, and until when it may not be written to.
    pub(crate) gone_until: Vec<Time>,
    pub(crate) denied_until: Vec<Time>,
}

impl Broker {
    pub(crate) fn new(partitions: &[u16], fences_nobody: bool) -> Self {
        let mut all = Vec::new();
        let mut first = Vec::new();
        for (topic, count) in partitions.iter().enumerate() {
            first.push(all.len());
            all.extend((0..*count).map(|_| Partition::new(topic)));
        }
        Self {
            coordinator: Coordinator::new(all.len(), fences_nobody),
            partitions: all,
            first,
            producers: Vec::new(),
            down_until: 0,
            frozen_until: 0,
            backlog: Vec::new(),
            breaks: (0, 0),
            throttles: (0, 0),
            short_until: (0, PublishFaultKind::Unavailable),
            gone_until: vec![0; partitions.len()],
            denied_until: vec![0; partitions.len()],
        }
    }

    /// Where the events of an aggregate go in a topic: by a hash of their key.
    pub(crate) fn domain(&self, topic: u16, aggregate: u16) -> usize {
        let first = self.first[usize::from(topic)];
        let end = self.first.get(usize::from(topic) + 1).copied().unwrap_or(self.partitions.len());
        first + usize::from(aggregate.wrapping_mul(7).wrapping_add(topic)) % (end - first)
    }
}
