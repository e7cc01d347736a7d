//! Putting a relay together.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::Serializer;
use eventferry_core::enqueue::TOPIC_CHARS_MAX;
use eventferry_core::machine::{Delivery, OnDead, RetryPolicy, Settings, SettingsDisagree};
use eventferry_core::publisher::Publisher;
use eventferry_core::store::{RelayId, Store};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::dead_letters::{DeadLetterTopic, DeadLetterTopicFault};
use crate::engine::Letters;
use crate::happening::Happening;
use crate::listener::Ears;
use crate::{Relay, Serializing};

/// How long settled events stay readable unless another time is set: 1 hour.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(3600);

/// Over how many bytes of the database's log, kept for relays, people are warned unless another bound is set: 1 GiB.
pub const LOG_KEPT_MAX_DEFAULT: u64 = 1 << 30;

/// The longest relay id, in characters.
const RELAY_ID_CHARS_MAX: usize = 200;

/// No store yet.
#[derive(Debug)]
pub struct NoStore;

/// No publisher yet.
#[derive(Debug)]
pub struct NoPublisher;

/// A store, or none yet.
pub trait StorePart {}
impl StorePart for NoStore {}
impl<S: Store> StorePart for S {}

/// A publisher, or none yet.
pub trait PublisherPart {}
impl PublisherPart for NoPublisher {}
impl<P: Publisher> PublisherPart for P {}

/// A relay in the making; see [`Relay::builder`].
#[derive(Debug)]
pub struct RelayBuilder<S, P> {
    store: S,
    publisher: P,
    rest: Rest,
}

/// What does not depend on the store and publisher.
#[derive(Debug)]
struct Rest {
    id: Option<String>,
    settings: Settings,
    retention: Duration,
    log_kept_max: u64,
    dead_letter_topic: Option<String>,
    dead_letter_detail: bool,
    retry: Option<RetryPolicy>,
    on_dead: Option<OnDead>,
    retries: HashMap<String, RetryPolicy>,
    ears: Ears,
}

impl RelayBuilder<NoStore, NoPublisher> {
    pub(crate) fn new() -> Self {
        let rest = Rest {
            id: None,
            settings: Settings::default(),
            retention: RETENTION_DEFAULT,
            log_kept_max: LOG_KEPT_MAX_DEFAULT,
            dead_letter_topic: None,
            dead_letter_detail: false,
            retry: None,
            on_dead: None,
            retries: HashMap::new(),
            ears: Ears::default(),
        };
        Self { store: NoStore, publisher: NoPublisher, rest }
    }
}

impl<S: StorePart, P: PublisherPart> RelayBuilder<S, P> {
    /// The store to carry from. Its `prepare` must have been called, or [`Relay::run`] does.
    pub fn store<T: Store>(self, store: T) -> RelayBuilder<T, P> {
        RelayBuilder { store, publisher: self.publisher, rest: self.rest }
    }

    /// The publisher to carry to.
    pub fn publisher<T: Publisher>(self, publisher: T) -> RelayBuilder<S, T> {
        RelayBuilder { store: self.store, publisher, rest: self.rest }
    }

    /// What the relay calls itself: 1 to 200 characters, unlike any other on the same store; default random.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.rest.id = Some(id.into());
        self
    }

    /// The numbers to run by; default [`Settings::default`]. What [`retry`](Self::retry), [`on_dead`](Self::on_dead)
    /// and [`dead_letters`](Self::dead_letters) say counts more, in whatever order they are called; a
    /// [`seed`](Settings::seed) of 0 is replaced by a random one.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.rest.settings = settings;
        self
    }

    /// How long settled events stay readable; default 1 hour. The store may keep them a little longer.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.rest.retention = retention;
        self
    }

    /// Over how many bytes of its own log, kept for relays that read it, the database is warned about; default 1 GiB.
    /// Said once until it is well again, as is that the database may let go of what it keeps before long. Nothing else
    /// depends on it: how much the database may keep is set there.
    #[must_use]
    pub fn log_kept_max(mut self, bytes: u64) -> Self {
        self.rest.log_kept_max = bytes;
        self
    }

    /// How refused events are retried; default [`RetryPolicy::default`]. An outage never counts as an attempt.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.rest.retry = Some(policy);
        self
    }

    /// How refused events of one topic are retried, instead of [`retry`](Self::retry).
    #[must_use]
    pub fn retry_for(mut self, topic: impl Into<String>, policy: RetryPolicy) -> Self {
        self.rest.retries.insert(topic.into(), policy);
        self
    }

    /// The topic for events that are given up: a name for all of them, or a template such as `{topic}.dlq`, where
    /// `{topic}` stands for the event's own. It is not created. Default none: events that are given up stay parked
    /// until a person retries or discards them.
    ///
    /// Where the dead-letter topic itself takes nothing, its events stay parked and are tried again until it does.
    #[must_use]
    pub fn dead_letters(mut self, topic: impl Into<String>) -> Self {
        self.rest.dead_letter_topic = Some(topic.into());
        self
    }

    /// Whether a dead letter says in a header `dlq-detail` where its event was: lane, place among the parked events,
    /// and the relay; default false.
    #[must_use]
    pub fn dead_letter_detail(mut self, detail: bool) -> Self {
        self.rest.dead_letter_detail = detail;
        self
    }

    /// What follows a dead letter, where its topic has no policy of its own; default [`OnDead::Continue`]. Counts more
    /// than what [`retry`](Self::retry) says.
    #[must_use]
    pub fn on_dead(mut self, on_dead: OnDead) -> Self {
        self.rest.on_dead = Some(on_dead);
        self
    }

    /// Tells `listener` what happens, on a thread of its own; may be given several times.
    ///
    /// A listener can neither hold the relay up nor change what it does. It hears everything in the order in which it
    /// happened; how many events were read and shipped comes as counts, about ten times a second. Up to 1,024
    /// happenings wait for a slow listener; what does not fit is left out, counted, and told as
    /// [`Happening::Missed`] in its place. A listener that panics is not called again, which is said once in the log.
    ///
    /// [`Relay::run`] returns when every listener has heard all, or after a second.
    #[must_use]
    pub fn listen(mut self, listener: impl FnMut(Happening) + Send + 'static) -> Self {
        self.rest.ears.0.push(Box::new(listener));
        self
    }
}

impl<S: StorePart, P: Publisher> RelayBuilder<S, P> {
    /// What turns events into what is sent, before the publisher that was given; default: they are sent as they were
    /// enqueued. May be given several times: the last one sees the events first.
    pub fn serializer<T: Serializer>(self, serializer: T) -> RelayBuilder<S, Serializing<P, T>> {
        let publisher = Serializing::new(self.publisher, serializer);
        RelayBuilder { store: self.store, publisher, rest: self.rest }
    }
}

impl<S: Store, P: Publisher> RelayBuilder<S, P> {
    /// Checks the parts against each other.
    ///
    /// # Errors
    /// Names what does not fit and what would.
    pub fn build(self) -> Result<Relay<S, P>, BuildError> {
        let Self { store, publisher, rest } = self;
        let Rest { id, mut settings, retention, log_kept_max, dead_letter_topic, dead_letter_detail, .. } =
            rest;
        let topic = dead_letter_topic.as_deref().map(DeadLetterTopic::parse).transpose();
        let topic = topic.map_err(BuildError::DeadLetterTopic)?;
        settings.dead_letters = topic.is_some();
        if let Some(retry) = rest.retry {
            settings.retry = retry;
        }
        if let Some(on_dead) = rest.on_dead {
            settings.retry.on_dead = on_dead;
        }
        if settings.seed == 0 {
            let (high, low) = Uuid::new_v4().as_u64_pair();
            settings.seed = high ^ low;
        }
        settings.check().map_err(BuildError::Settings)?;
        if settings.delivery == Delivery::ExactlyOnce {
            let (able, can) = (publisher.abilities().transactions, store.capabilities().intents);
            match (able, can) {
                (None, _) => return Err(BuildError::ExactlyOnce("publisher")),
                (_, false) => return Err(BuildError::ExactlyOnce("store")),
                _ => {}
            }
        }
        check_retries(&settings, &rest.retries)?;
        let id = id.unwrap_or_else(|| format!("relay-{}", Uuid::new_v4().simple()));
        if id.is_empty() || id.chars().count() > RELAY_ID_CHARS_MAX || id.contains('\0') {
            return Err(BuildError::RelayId(id));
        }
        let letters = Letters { topic, detail: dead_letter_detail, relay: id.clone() };
        let (retries, ears) = (rest.retries, rest.ears);
        let ring = Arc::new(Notify::new());
        Ok(Relay {
            store,
            publisher,
            id: RelayId(id),
            settings,
            retention,
            log_kept_max,
            letters,
            retries,
            ears,
            ring,
        })
    }
}

/// Holds each topic's own policy against the settings, as they are held against each other.
fn check_retries(settings: &Settings, of_topics: &HashMap<String, RetryPolicy>) -> Result<(), BuildError> {
    let mut settings = settings.clone();
    for (topic, policy) in of_topics {
        if topic.is_empty() || topic.chars().count() > TOPIC_CHARS_MAX {
            return Err(BuildError::RetryTopic(topic.clone()));
        }
        settings.retry = policy.clone();
        settings.check().map_err(|disagree| BuildError::Retry { topic: topic.clone(), disagree })?;
    }
    Ok(())
}

/// What does not fit.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// Two settings disagree: change one of those named.
    Settings(SettingsDisagree),
    /// This part, the store or the publisher, cannot deliver exactly once: use another, or deliver at least once.
    ExactlyOnce(&'static str),
    /// The id is empty, longer than 200 characters, or holds a zero byte: give another.
    RelayId(String),
    /// The dead-letter topic cannot be one: name another, or leave it out.
    DeadLetterTopic(DeadLetterTopicFault),
    /// A retry policy is for a topic that cannot be: name one of 1 to 249 characters.
    RetryTopic(String),
    /// A topic's own retry policy disagrees with itself: change one of the numbers named.
    Retry {
        /// Whose.
        topic: String,
        /// How.
        disagree: SettingsDisagree,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(disagree) => disagree.fmt(f),
            Self::RelayId(id) => {
                write!(
                    f,
                    "the relay id has {} characters; give 1 to {RELAY_ID_CHARS_MAX}, without zero bytes",
                    id.len()
                )
            }
            Self::ExactlyOnce(part) => {
                write!(f, "this {part} cannot deliver exactly once; use another, or deliver at least once")
            }
            Self::DeadLetterTopic(fault) => fault.fmt(f),
            Self::RetryTopic(topic) => {
                let chars = topic.chars().count();
                write!(
                    f,
                    "a retry policy is for a topic of {chars} characters; name one of 1 to {TOPIC_CHARS_MAX}"
                )
            }
            Self::Retry { topic, disagree } => write!(f, "the retry policy of topic `{topic}`: {disagree}"),
        }
    }
}

impl std::error::Error for BuildError {}
