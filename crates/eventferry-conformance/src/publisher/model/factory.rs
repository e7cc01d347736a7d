//! The model's publisher: learns, routes, connects.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use eventferry_core::publisher::{Abilities, Domain, Publisher, Role, Route};
use eventferry_core::{Envelope, OutboxId, PublishFault, PublishFaultKind, Stamp};

use super::Shared;
use super::flaw::Flaw;
use super::session::ModelSession;

/// The model's publisher.
#[derive(Debug)]
pub struct ModelPublisher {
    broker: Shared,
    abilities: Abilities,
    instance: u64,
    topics: Mutex<BTreeMap<String, Learned>>,
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug)]
struct Learned {
    index: u64,
    /// `None`: there was no such topic.
    partitions: Option<usize>,
    /// How many messages were routed there. Only a flawed model looks at it.
    routed: u64,
}

impl ModelPublisher {
    pub(super) fn new(broker: Shared, abilities: Abilities) -> Self {
        let instance = broker.lock().instance();
        Self { broker, abilities, instance, topics: Mutex::default() }
    }
}

impl Publisher for ModelPublisher {
    type Session = ModelSession;

    fn abilities(&self) -> Abilities {
        self.abilities.clone()
    }

    async fn connect(&self, role: Role) -> Result<ModelSession, PublishFault> {
        Ok(ModelSession::new(self.broker.clone(), role, self.abilities.pipeline))
    }

    async fn take_over(&self, outbox: &OutboxId) -> Result<(ModelSession, Option<Stamp>), PublishFault> {
        if self.abilities.transactions.is_none() {
            return Err(PublishFault::new(
                PublishFaultKind::Misconfigured,
                "this broker has no transactions",
            ));
        }
        let (instance, last) = {
            let mut broker = self.broker.lock();
            let instance = broker.instance();
            (instance, broker.take_over(outbox, instance))
        };
        let session = ModelSession::new(self.broker.clone(), Role::Alone, self.abilities.pipeline);
        Ok((session.of_transactions(outbox, instance), last))
    }

    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        let broker = self.broker.lock();
        let mut partitions = broker.partitions(topic);
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let known = topics.get(topic).copied();
        if broker.has(Flaw::LearnsOnce)
            && let Some(known) = known
        {
            partitions = known.partitions;
        }
        if broker.has(Flaw::LearnsAnything) {
            partitions = partitions.or(Some(1));
        }
        let index = known.map_or(topics.len() as u64, |known| known.index);
        let routed = known.map_or(0, |known| known.routed);
        topics.insert(topic.into(), Learned { index, partitions, routed });
        match partitions {
            Some(_) => Ok(()),
            None => Err(PublishFault::new(
                PublishFaultKind::TopicRefused,
                format!("there is no topic `{topic}`; create it"),
            )),
        }
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        let broker = self.broker.lock();
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = topics.get_mut(envelope.topic());
        let Some((partitions, learned)) = learned.and_then(|learned| Some((learned.partitions?, learned)))
        else {
            return if broker.has(Flaw::RoutesUnlearned) { Route::To(Domain(0)) } else { Route::Unknown };
        };
        learned.routed += 1;
        let mut choice: u64 = envelope.key().iter().map(|byte| u64::from(*byte)).sum();
        if broker.has(Flaw::RoutesInTurns) {
            choice = learned.routed;
        }
        if broker.has(Flaw::RoutesByInstance) {
            choice += self.instance;
        }
        let mut asked = envelope.partition().filter(|_| !broker.has(Flaw::IgnoresPartitions));
        if broker.has(Flaw::SendsTheDeadWhereTheyAsked) {
            asked = asked.or_else(|| asked_in_life(envelope));
        }
        let partition =
            asked.map_or(choice % partitions.max(1) as u64, |asked| u64::from(asked.unsigned_abs()));
        if partition >= partitions as u64 {
            let words = format!("topic `{}` has no partition {partition}", envelope.topic());
            return Route::Refused(Box::new(PublishFault::new(PublishFaultKind::Rejected, words)));
        }
        Route::To(Domain(learned.index << 32 | partition))
    }
}

/// The partition that a dead letter's event asked for.
fn asked_in_life(envelope: &Envelope<'_>) -> Option<i32> {
    let mut asked = None;
    envelope.headers(|name, value| {
        if name == "dlq-original-partition" {
            asked = String::from_utf8_lossy(value).parse().ok();
        }
    });
    asked
}
