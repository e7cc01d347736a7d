//! An application: somebody who enqueues in a transaction.

use std::collections::{HashMap, HashSet};

use eventferry_core::{Aggregate, EnqueueFault, Event, MessageId};

use crate::broken::{Broken, ensure};
use crate::erased::{AnyWriter, Seen};
use crate::subject::Step;

/// An application with one connection.
pub(crate) struct Application {
    writer: Box<dyn AnyWriter>,
}

/// An event that was enqueued.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) message_id: MessageId,
    pub(crate) event: Event,
}

impl Application {
    pub(crate) fn new(writer: Box<dyn AnyWriter>) -> Self {
        Self { writer }
    }

    pub(crate) async fn step(&mut self, step: Step) -> Result<(), Broken> {
        self.writer.step(step).await.map_err(|trouble| Broken::trouble(step.sql(), &trouble))
    }

    pub(crate) async fn begin(&mut self) -> Result<(), Broken> {
        self.step(Step::Begin).await
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Broken> {
        self.step(Step::Commit).await
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Broken> {
        self.step(Step::Rollback).await
    }

    /// Enqueues into the open transaction.
    pub(crate) async fn enqueue(&mut self, events: &[Event]) -> Result<Vec<Posted>, Broken> {
        let ids = self.try_enqueue(events).await.map_err(|fault| Broken::enqueue(&fault))?;
        ensure!(
            ids.len() == events.len(),
            "enqueue answered {} message ids for {} events",
            ids.len(),
            events.len()
        );
        Ok(ids.into_iter().zip(events).map(|(message_id, event)| Posted::new(message_id, event)).collect())
    }

    pub(crate) async fn try_enqueue(&mut self, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        self.writer.enqueue(events).await
    }

    /// Enqueues in a transaction of its own.
    pub(crate) async fn post(&mut self, events: &[Event]) -> Result<Vec<Posted>, Broken> {
        self.begin().await?;
        let posted = self.enqueue(events).await?;
        self.commit().await?;
        Ok(posted)
    }
}

impl Posted {
    fn new(message_id: MessageId, event: &Event) -> Self {
        Self { message_id, event: event.clone() }
    }
}

/// Breaks the clause unless exactly these events were read, each once, and every aggregate's in this order.
pub(crate) fn exactly(seen: &[Seen], posted: &[Posted], when: &str) -> Result<(), Broken> {
    let expected: HashSet<_> = posted.iter().map(|one| one.message_id).collect();
    let mut places = HashMap::new();
    for (place, record) in seen.iter().enumerate() {
        let told = tell(&record.event);
        ensure!(expected.contains(&record.message_id), "{when}: read {told}, which was not to be read");
        ensure!(places.insert(record.message_id, place).is_none(), "{when}: read {told} twice");
    }
    let mut earlier: HashMap<&Aggregate, &Posted> = HashMap::new();
    for one in posted {
        let told = tell(&one.event);
        let place = places.get(&one.message_id);
        ensure!(place.is_some(), "{when}: {told} was not read");
        if let Some(before) = earlier.insert(&one.event.aggregate, one) {
            let order_kept = places.get(&before.message_id) < place;
            ensure!(order_kept, "{when}: {told} was read before {}", tell(&before.event));
        }
    }
    Ok(())
}

/// Of what was read, what is about this order.
pub(crate) fn about(seen: &[Seen], order: &str) -> Vec<Seen> {
    seen.iter().filter(|record| record.event.aggregate.id == order).cloned().collect()
}

/// An event in words: which aggregate, and its payload if it is short.
pub(crate) fn tell(event: &Event) -> String {
    let text = match &event.payload {
        Some(payload) if payload.len() <= 40 => format!("`{}`", String::from_utf8_lossy(payload)),
        Some(payload) => format!("{} bytes", payload.len()),
        None => "a tombstone".into(),
    };
    format!("{text} of {} {}", event.aggregate.kind, event.aggregate.id)
}
