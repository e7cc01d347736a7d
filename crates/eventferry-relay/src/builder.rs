//! Putting a relay together.

use std::fmt;
use std::time::Duration;

use eventferry_core::machine::{Settings, SettingsDisagree};
use eventferry_core::publisher::Publisher;
use eventferry_core::store::{RelayId, Store};
use uuid::Uuid;

use crate::Relay;

/// How long settled events stay readable unless another time is set: 1 hour.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(3600);

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
    id: Option<String>,
    settings: Settings,
    retention: Duration,
    dead_letter_topic: Option<String>,
}

impl RelayBuilder<NoStore, NoPublisher> {
    pub(crate) fn new() -> Self {
        Self {
            store: NoStore,
            publisher: NoPublisher,
            id: None,
            settings: Settings::default(),
            retention: RETENTION_DEFAULT,
            dead_letter_topic: None,
        }
    }
}

impl<S: StorePart, P: PublisherPart> RelayBuilder<S, P> {
    /// The store to carry from. Its `prepare` must have been called, or [`Relay::run`] does.
    pub fn store<T: Store>(self, store: T) -> RelayBuilder<T, P> {
        let Self { publisher, id, settings, retention, dead_letter_topic, .. } = self;
        RelayBuilder { store, publisher, id, settings, retention, dead_letter_topic }
    }

    /// The publisher to carry to.
    pub fn publisher<T: Publisher>(self, publisher: T) -> RelayBuilder<S, T> {
        let Self { store, id, settings, retention, dead_letter_topic, .. } = self;
        RelayBuilder { store, publisher, id, settings, retention, dead_letter_topic }
    }

    /// What the relay calls itself: 1 to 200 characters, unlike any other on the same store; default random.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The numbers to run by; default [`Settings::default`].
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// How long settled events stay readable; default 1 hour. The store may keep them a little longer.
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// The topic for events that are given up on. Until such delivery exists, refused events stay parked, where
    /// `status` shows them; the topic is checked and kept.
    #[must_use]
    pub fn dead_letters(self, topic: impl Into<String>) -> Self {
        Self { dead_letter_topic: Some(topic.into()), ..self }
    }
}

impl<S: Store, P: Publisher> RelayBuilder<S, P> {
    /// Checks the parts against each other.
    ///
    /// # Errors
    /// Names what does not fit and what would.
    pub fn build(self) -> Result<Relay<S, P>, BuildError> {
        self.settings.check().map_err(BuildError::Settings)?;
        let id = self.id.unwrap_or_else(|| format!("relay-{}", Uuid::new_v4().simple()));
        if id.is_empty() || id.chars().count() > RELAY_ID_CHARS_MAX || id.contains('\0') {
            return Err(BuildError::RelayId(id));
        }
        if self.dead_letter_topic.as_deref() == Some("") {
            return Err(BuildError::DeadLetterTopic);
        }
        Ok(Relay {
            store: self.store,
            publisher: self.publisher,
            id: RelayId(id),
            settings: self.settings,
            retention: self.retention,
            dead_letter_topic: self.dead_letter_topic,
        })
    }
}

/// What does not fit.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// Two settings disagree: change one of those named.
    Settings(SettingsDisagree),
    /// The id is empty, longer than 200 characters, or holds a zero byte: give another.
    RelayId(String),
    /// The dead-letter topic is empty: name one, or leave it out.
    DeadLetterTopic,
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
            Self::DeadLetterTopic => f.write_str("the dead-letter topic is empty; name one, or leave it out"),
        }
    }
}

impl std::error::Error for BuildError {}
