//! A consumer that reads a topic by itself, as no member of a group, and says what is wrong as people need it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eventferry_core::{PublishFault, PublishFaultKind};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::metadata::Metadata;
use rdkafka::{ClientConfig, ClientContext};

use crate::config::{KafkaConfig, refused_property};
use crate::credentials::{Certificates, Keeper, Source, equip};
use crate::fault::{code_of, reading_fault};
use crate::publisher::shutting_down;
use crate::session::{drop_apart, plain_reason};

/// How long each question about a topic and a group may take; the first of a group makes the cluster's own topic for
/// positions.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How long the first question is waited for before it is asked again.
const ASK: Duration = Duration::from_secs(3);

/// How long one look into the consumer's queue lasts.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// The configuration of a consumer with what lets it in, where that is not said in the settings but found; the keeper
/// sees to it that it stays so.
pub(crate) async fn admission(
    config: &KafkaConfig,
    client: ClientConfig,
) -> Result<(ClientConfig, Option<Arc<Keeper>>), PublishFault> {
    let keeper = Source::of(config)?.map(Keeper::new);
    // It reads on with these: somebody looks on, and begins anew.
    let certificates = Certificates::of(config)?;
    let equipped = equip(client, keeper.as_ref(), certificates.as_ref()).await?;
    Ok((equipped.settings, keeper))
}

/// The consumer. Everything here blocks.
pub(crate) struct Reader {
    /// `None` only while it is dropped.
    consumer: Option<Arc<BaseConsumer<Ear>>>,
    /// Sees to it that the consumer may go on, where secrets change.
    _keeper: Option<Arc<Keeper>>,
    /// What it does, for messages.
    what: String,
}

impl Reader {
    /// A consumer with this configuration, which does `what`; what [`admission`] gave lets it in.
    pub(crate) fn new(
        client: &ClientConfig,
        keeper: Option<Arc<Keeper>>,
        what: String,
    ) -> Result<Self, PublishFault> {
        let consumer = client.create_with_context(Ear::default());
        let consumer: Arc<BaseConsumer<Ear>> = Arc::new(consumer.map_err(|error| refused_property(&error))?);
        if let Some(keeper) = &keeper {
            keeper.admit(&consumer)?;
        }
        Ok(Self { consumer: Some(consumer), _keeper: keeper, what })
    }

    pub(crate) fn consumer(&self) -> Result<&BaseConsumer<Ear>, PublishFault> {
        self.consumer.as_deref().ok_or_else(shutting_down)
    }

    /// The partitions of a topic, in ascending order. Brokers that are all down are not waited for as long as one that
    /// is slow.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Vec<i32>, PublishFault> {
        let metadata = self.metadata(topic)?;
        let refused = |code| reading_fault(&self.what, code);
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.ok_or_else(|| refused(RDKafkaErrorCode::UnknownTopicOrPartition))?;
        if let Some(error) = found.error() {
            return Err(refused(error.into()));
        }
        if found.partitions().is_empty() {
            return Err(refused(RDKafkaErrorCode::LeaderNotAvailable));
        }
        let mut partitions: Vec<_> = found.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        Ok(partitions)
    }

    fn metadata(&self, topic: &str) -> Result<Metadata, PublishFault> {
        let asked = Instant::now();
        loop {
            let error = match self.consumer()?.fetch_metadata(Some(topic), ASK) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            // What the client has to say comes only to whoever polls; there is nothing else to come yet.
            while self.consumer()?.poll(Duration::ZERO).is_some() {}
            let down = self.are_all_down()?;
            let is_away = *self.fault(&error).kind() == PublishFaultKind::Unavailable;
            if !is_away || down || asked.elapsed() > ANSWER_MAX {
                return Err(self.fault(&error));
            }
        }
    }

    /// Whether the client has said since this was asked last that no broker can be reached.
    pub(crate) fn are_all_down(&self) -> Result<bool, PublishFault> {
        Ok(self.consumer()?.context().all_down.swap(false, Ordering::Relaxed))
    }

    /// The fault of an error of the binding.
    pub(crate) fn fault(&self, error: &KafkaError) -> PublishFault {
        let Some(code) = code_of(error) else {
            return PublishFault::new(PublishFaultKind::Unknown, format!("{}: {error}", self.what));
        };
        let fault = reading_fault(&self.what, code);
        match self.heard() {
            Some(reason) if *fault.kind() == PublishFaultKind::Unavailable => {
                PublishFault::new(PublishFaultKind::Unavailable, format!("{}: {reason}", fault.message()))
            }
            _ => fault,
        }
    }

    /// The fault of brokers that are silent, or out of reach.
    pub(crate) fn unavailable(&self, says: impl FnOnce(&str) -> String) -> PublishFault {
        let reason = self.heard().unwrap_or_else(|| "no answer".to_owned());
        let message = format!("{}: {}", self.what, says(&reason));
        PublishFault::new(PublishFaultKind::Unavailable, message)
    }

    /// What the client said last of its connections.
    fn heard(&self) -> Option<String> {
        let consumer = self.consumer.as_ref()?;
        consumer.context().reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            drop_apart(consumer, drop);
        }
    }
}

/// What the client says, on the thread that polls it.
#[derive(Default)]
pub(crate) struct Ear {
    reason: Mutex<Option<String>>,
    all_down: AtomicBool,
}

impl ClientContext for Ear {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", reason, "{error}");
        // It comes with a count of brokers and no reason.
        if code_of(&error) == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.all_down.store(true, Ordering::Relaxed);
        } else {
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(plain_reason(reason));
        }
    }
}

impl ConsumerContext for Ear {}

/// A message's headers, in order.
pub(crate) fn headers_of(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    (0..headers.count()).map(|at| header(headers, at)).collect()
}

/// The binding panics over a name that is not UTF-8, and anybody who may write to the topic can send one.
fn header(headers: &impl Headers, at: usize) -> (String, Vec<u8>) {
    match catch_unwind(AssertUnwindSafe(|| headers.try_get(at))) {
        Ok(Some(header)) => (header.key.to_owned(), header.value.unwrap_or_default().to_vec()),
        _ => (char::REPLACEMENT_CHARACTER.into(), Vec::new()),
    }
}

/// Whether an error says that we may not look at the consumer's group: who tells a group nothing needs none, but
/// librdkafka asks for its coordinator all the same.
pub(crate) fn is_of_the_group(error: &KafkaError) -> bool {
    code_of(error) == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Header;

    use super::*;

    /// As the binding does over a name that is not UTF-8.
    struct Panicking;

    impl Headers for Panicking {
        fn count(&self) -> usize {
            1
        }

        fn try_get(&self, _: usize) -> Option<Header<'_, &[u8]>> {
            panic!("a name that is not UTF-8")
        }
    }

    #[test]
    fn a_name_that_is_not_utf_8_ends_no_reader() {
        assert_eq!(header(&Panicking, 0), ("\u{fffd}".to_owned(), Vec::new()));
    }
}
