//! What was learned of topics, and what they want to learn.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use eventferry_core::{NotSerialized, PublishFault, PublishFaultKind};

use super::written::Writer;
use super::{Inner, PartSchema, RECORD_UNKNOWN, RegistrySerializer};
use crate::client::{
    REGISTRY_DENIES, SCHEMA_NOT_FOUND, SUBJECT_NOT_FOUND, SUBJECT_REFUSED, VERSION_NOT_FOUND,
};
use crate::framing::Part;

/// After what time an event's record that was in no registry is asked for again. It stays refused until it is there: a
/// retry of such an event must not hold its topic while the registry is away.
const REFUSED_FOR: Duration = Duration::from_secs(5);

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
    /// This refusal.
    Refused(Arc<Refusal>),
}

/// Why a record has no schema.
pub(super) struct Refusal {
    class: &'static str,
    message: String,
    asked: Asked,
}

/// When something was asked for last, in milliseconds since the serializer was made; [`UNDER_WAY`] while it is.
pub(super) struct Asked(AtomicU64);

/// It is being asked for.
const UNDER_WAY: u64 = u64::MAX;

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(UNDER_WAY - 1)
}

impl Asked {
    pub(super) fn at(now: Duration) -> Self {
        Self(AtomicU64::new(millis(now)))
    }

    /// Whether to ask again, `after` the last answer; yes to one alone, until [`Asked::answered`].
    pub(super) fn is_due(&self, now: Duration, after: Duration) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        last != UNDER_WAY
            && millis(now).saturating_sub(last) >= millis(after)
            && self.0.compare_exchange(last, UNDER_WAY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn answered(&self, now: Duration) {
        self.0.store(millis(now), Ordering::Relaxed);
    }
}

impl Slot {
    fn asked(&self) -> &Asked {
        match self {
            Self::Known(writer) => &writer.asked,
            Self::Refused(refusal) => &refusal.asked,
        }
    }
}

impl Learned {
    pub(super) fn find(&self, topic: &str, part: Part, record: &str) -> Option<Slot> {
        self.topics.get(topic)?.of(part).slots.get(record).cloned()
    }

    pub(super) fn wanted(&self, topic: &str, part: Part) -> Vec<String> {
        let records = self.topics.get(topic).map(|parts| parts.of(part));
        records.map(|records| records.wanted.iter().cloned().collect()).unwrap_or_default()
    }

    fn knows_one(&self, topic: &str, part: Part) -> bool {
        let records = self.topics.get(topic).map(|parts| parts.of(part));
        records.is_some_and(|records| records.slots.values().any(|slot| matches!(slot, Slot::Known(_))))
    }

    /// Notes that a record is to be learned; false: there are too many.
    fn want(&mut self, topic: &str, part: Part, record: &str) -> bool {
        let records = self.topics.entry(topic.to_owned()).or_default().of_mut(part);
        if records.slots.len() + records.wanted.len() >= RECORDS_MAX {
            records.slots.retain(|_, slot| matches!(slot, Slot::Known(_)));
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
    /// Whether a fault is about the one record that was named: the registry has no such, or none for us while it has
    /// others.
    pub(super) fn is_of_the_name(&self, fault: &PublishFault, topic: &str, part: Part) -> bool {
        match fault.class() {
            Some(SUBJECT_NOT_FOUND | VERSION_NOT_FOUND | SCHEMA_NOT_FOUND | SUBJECT_REFUSED) => true,
            Some(REGISTRY_DENIES) => {
                let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
                learned.knows_one(topic, part)
            }
            _ => false,
        }
    }

    pub(super) fn put(&self, topic: &str, part: Part, record: &str, slot: Slot) {
        self.learned.write().unwrap_or_else(PoisonError::into_inner).put(topic, part, record, slot);
    }

    pub(super) fn refusal(&self, fault: &PublishFault) -> Slot {
        let class = fault.class().unwrap_or(RECORD_UNKNOWN);
        let (message, asked) = (fault.message().to_owned(), Asked::at(self.began.elapsed()));
        Slot::Refused(Arc::new(Refusal { class, message, asked }))
    }
}

impl RegistrySerializer {
    /// What writes this record of a topic.
    pub(super) fn writer(
        &self,
        topic: &str,
        part: Part,
        schema: &PartSchema,
        record: &str,
    ) -> Result<Arc<Writer>, NotSerialized> {
        let inner = &self.inner;
        let found = inner.learned.read().unwrap_or_else(PoisonError::into_inner).find(topic, part, record);
        match found {
            Some(Slot::Known(writer)) => {
                let refresh = inner.refresh.filter(|_| part == Part::Value && schema.is_latest());
                if refresh.is_some_and(|after| writer.asked.is_due(inner.began.elapsed(), after)) {
                    self.ask_again(topic, part, schema, record, Slot::Known(Arc::clone(&writer)));
                }
                Ok(writer)
            }
            Some(Slot::Refused(refusal)) => {
                if refusal.asked.is_due(inner.began.elapsed(), REFUSED_FOR) {
                    self.ask_again(topic, part, schema, record, Slot::Refused(Arc::clone(&refusal)));
                }
                Err(refused(refusal.class, &refusal.message))
            }
            None if schema.record_is_events(part) => {
                let mut learned = inner.learned.write().unwrap_or_else(PoisonError::into_inner);
                if learned.want(topic, part, record) {
                    return Err(NotSerialized::Unknown);
                }
                let what =
                    format!("the events of topic {topic} name more than {RECORDS_MAX} records: name fewer");
                Err(refused(RECORD_UNKNOWN, &what))
            }
            None => Err(NotSerialized::Unknown),
        }
    }

    /// Looks in the background for a newer schema than this one, or for one that was not there.
    fn ask_again(&self, topic: &str, part: Part, schema: &PartSchema, record: &str, slot: Slot) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            slot.asked().answered(self.inner.began.elapsed());
            return;
        };
        let (inner, schema) = (Arc::clone(&self.inner), schema.clone());
        let (topic, record) = (topic.to_owned(), record.to_owned());
        let id = match &slot {
            Slot::Known(writer) => Some(writer.id),
            Slot::Refused(_) => None,
        };
        runtime.spawn(async move {
            let found = inner.look_up(&topic, part, &schema, &record).await;
            slot.asked().answered(inner.began.elapsed());
            match (found, id) {
                (Ok(writer), id) if Some(writer.id) != id => {
                    inner.put(&topic, part, &record, Slot::Known(Arc::new(writer)));
                }
                (Err(fault), Some(id)) => {
                    let fault = fault.message();
                    tracing::warn!(
                        fault,
                        "the latest schema of topic {topic} cannot be looked up; the one with {id} stays in use"
                    );
                }
                _ => {}
            }
        });
    }
}

fn refused(class: &'static str, message: &str) -> NotSerialized {
    NotSerialized::Refused(Box::new(PublishFault::new(PublishFaultKind::Rejected, message).of_class(class)))
}
