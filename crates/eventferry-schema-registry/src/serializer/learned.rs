//! What was learned of topics, and what they want to learn.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use eventferry_core::{NotSerialized, PublishFault, PublishFaultKind};

use super::written::Writer;
use super::{Inner, PartSchema, RECORD_UNKNOWN, RegistrySerializer};
use crate::framing::Part;

/// For how long an event's record that is in no registry is not asked for again.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// How many records a topic's events may name.
const RECORDS_MAX: usize = 1_000;

/// Topics, and what is known of them.
#[derive(Default)]
pub(super) struct Learned {
    topics: HashMap<String, Parts>,
}

#[derive(Default)]
struct Parts {
    key: Records,
    value: Records,
}

impl Parts {
    fn of(&self, part: Part) -> &Records {
        match part {
            Part::Key => &self.key,
            Part::Value => &self.value,
        }
    }

    fn of_mut(&mut self, part: Part) -> &mut Records {
        match part {
            Part::Key => &mut self.key,
            Part::Value => &mut self.value,
        }
    }
}

/// By the record's name; empty where events do not name theirs.
#[derive(Default)]
struct Records {
    slots: HashMap<String, Slot>,
    wanted: BTreeSet<String>,
}

/// What came of a question.
#[derive(Clone)]
pub(super) enum Slot {
    /// A schema.
    Known(Arc<Writer>),
    /// Until then, this refusal.
    Refused { until: Instant, class: &'static str, message: Arc<str> },
}

impl Slot {
    pub(super) fn refused(fault: &PublishFault) -> Self {
        Self::Refused {
            until: Instant::now() + REFUSED_FOR,
            class: fault.class().unwrap_or(RECORD_UNKNOWN),
            message: fault.message().into(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Refused { until, .. } if *until <= Instant::now())
    }
}

impl Learned {
    pub(super) fn find(&self, topic: &str, part: Part, record: &str) -> Option<Slot> {
        self.topics.get(topic)?.of(part).slots.get(record).filter(|slot| !slot.is_over()).cloned()
    }

    pub(super) fn wanted(&self, topic: &str, part: Part) -> Vec<String> {
        let records = self.topics.get(topic).map(|parts| parts.of(part));
        records.map(|records| records.wanted.iter().cloned().collect()).unwrap_or_default()
    }

    /// Notes that a record is to be learned; false: there are too many.
    fn want(&mut self, topic: &str, part: Part, record: &str) -> bool {
        let records = self.topics.entry(topic.to_owned()).or_default().of_mut(part);
        if records.slots.len() + records.wanted.len() >= RECORDS_MAX {
            records.slots.retain(|_, slot| !slot.is_over());
        }
        let fits = records.slots.len() + records.wanted.len() < RECORDS_MAX;
        if fits {
            records.wanted.insert(record.to_owned());
        }
        fits || records.wanted.contains(record)
    }

    fn put(&mut self, topic: &str, part: Part, record: &str, slot: Slot) {
        let records = self.topics.entry(topic.to_owned()).or_default().of_mut(part);
        records.wanted.remove(record);
        records.slots.insert(record.to_owned(), slot);
    }
}

impl Inner {
    /// What writes this record of a topic.
    pub(super) fn writer(
        &self,
        topic: &str,
        part: Part,
        schema: &PartSchema,
        record: &str,
    ) -> Result<Arc<Writer>, NotSerialized> {
        let found = self.learned.read().unwrap_or_else(PoisonError::into_inner).find(topic, part, record);
        let refused = |class, message: &str| {
            let fault = PublishFault::new(PublishFaultKind::Rejected, message).of_class(class);
            Err(NotSerialized::Refused(Box::new(fault)))
        };
        match found {
            Some(Slot::Known(writer)) => Ok(writer),
            Some(Slot::Refused { class, message, .. }) => refused(class, &message),
            None if schema.record_is_events(part) => {
                let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
                if learned.want(topic, part, record) {
                    return Err(NotSerialized::Unknown);
                }
                let what =
                    format!("the events of topic {topic} name more than {RECORDS_MAX} records: name fewer");
                refused(RECORD_UNKNOWN, &what)
            }
            None => Err(NotSerialized::Unknown),
        }
    }

    pub(super) fn put(&self, topic: &str, part: Part, record: &str, slot: Slot) {
        self.learned.write().unwrap_or_else(PoisonError::into_inner).put(topic, part, record, slot);
    }
}

impl RegistrySerializer {
    /// Looks in the background for a newer schema, if it is time to.
    pub(super) fn refresh(
        &self,
        topic: &str,
        schema: &PartSchema,
        record: &str,
        writer: &Writer,
        after: Duration,
    ) {
        let now = self.inner.began.elapsed();
        if !writer.is_due(now, after) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (inner, schema) = (Arc::clone(&self.inner), schema.clone());
        let (topic, record, id) = (topic.to_owned(), record.to_owned(), writer.id());
        runtime.spawn(async move {
            match inner.look_up(&topic, Part::Value, &schema, &record).await {
                Ok(writer) if writer.id() != id => {
                    inner.put(&topic, Part::Value, &record, Slot::Known(Arc::new(writer)));
                }
                Ok(_) => {}
                Err(fault) => {
                    let fault = fault.message();
                    tracing::warn!(
                        fault,
                        "the latest schema of topic {topic} cannot be looked up; {id} stays in use"
                    );
                }
            }
        });
    }
}
