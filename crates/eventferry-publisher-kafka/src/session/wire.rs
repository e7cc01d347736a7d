//! What librdkafka says, on the producer's thread, and where it is left for the session.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;
use tokio::sync::Notify;

use crate::credentials::Keeper;
use crate::fault::{code_of, fault};
use crate::route::Topics;
use crate::statistics::Statistics;

/// What librdkafka reported of a record.
pub(super) struct Delivery {
    pub(super) ticket: usize,
    pub(super) failure: Option<Failure>,
}

pub(super) struct Failure {
    pub(super) code: RDKafkaErrorCode,
    pub(super) possibly_written: bool,
}

/// Where the producer's thread leaves what it learns.
pub(super) struct Inbox {
    pub(super) deliveries: Mutex<Vec<Delivery>>,
    pub(super) bell: Notify,
    /// The bell of who waits for several sessions at once.
    bell_of_all: OnceLock<Arc<Notify>>,
    /// Takes nothing more.
    pub(super) ended: AtomicBool,
    /// Something went wrong that may have been fatal.
    pub(super) suspect: AtomicBool,
    pub(super) brokers: Box<str>,
    pub(super) trouble: Mutex<Trouble>,
    /// Whether `trouble` was said and is not over; read at every delivery.
    pub(super) troubled: AtomicBool,
}

/// What is wrong with the connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub(super) all_down: bool,
    /// The last thing that went wrong.
    pub(super) reason: String,
    /// What was said, so that it is said once.
    pub(super) said: Vec<RDKafkaErrorCode>,
    /// A broker has answered; before that the caller of `connect` is told, and says it.
    pub(super) answered: bool,
}

/// librdkafka's reason for people: without what it counts, and without advice that leads astray.
pub(crate) fn plain_reason(reason: &str) -> String {
    let reason = reason.split_once(" (after ").map_or(reason, |(reason, _)| reason);
    match reason.split_once("Receive failed: Invalid response size") {
        // It advises to raise receive.message.max.bytes: it took another protocol's first bytes for a size.
        Some((broker, _)) => {
            format!("{broker}what answers there is not Kafka, or wants TLS (security.protocol)")
        }
        None => reason.to_owned(),
    }
}

impl Inbox {
    pub(super) fn new(brokers: &str) -> Self {
        Self {
            deliveries: Mutex::default(),
            bell: Notify::new(),
            bell_of_all: OnceLock::new(),
            ended: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
            brokers: brokers.into(),
            trouble: Mutex::default(),
            troubled: AtomicBool::new(false),
        }
    }

    pub(super) fn push(&self, delivery: Delivery) {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let first = deliveries.is_empty();
        deliveries.push(delivery);
        drop(deliveries);
        if first {
            self.ring();
        }
    }

    /// Wakes whoever waits.
    fn ring(&self) {
        self.bell.notify_one();
        if let Some(bell) = self.bell_of_all.get() {
            bell.notify_one();
        }
    }

    pub(super) fn ring_also(&self, bell: Arc<Notify>) {
        // A second one would be of a second owner, and a session has one.
        drop(self.bell_of_all.set(bell));
    }

    pub(super) fn swap(&self, spare: &mut Vec<Delivery>) {
        mem::swap(&mut *self.deliveries.lock().unwrap_or_else(PoisonError::into_inner), spare);
    }

    pub(super) fn answered(&self) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).answered = true;
    }

    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what is wrong once a broker has answered, each thing once until all is well again.
    fn complain(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match code {
            // It comes with a count of brokers that is late or early, and no reason.
            RDKafkaErrorCode::AllBrokersDown => trouble.all_down = true,
            _ => trouble.reason = plain_reason(reason),
        }
        // One connection of many that closes is everyday life.
        let everyday = matches!(
            code,
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        );
        if everyday || !trouble.answered || trouble.said.contains(&code) {
            return;
        }
        trouble.said.push(code);
        self.troubled.store(true, Ordering::Release);
        let fault = fault("kafka", code);
        let reason = if trouble.reason.is_empty() { "connection lost" } else { &trouble.reason };
        tracing::warn!(brokers = &*self.brokers, reason, "{fault}");
    }

    /// A delivery went well: whatever was wrong is over.
    fn rejoice(&self) {
        self.troubled.store(false, Ordering::Release);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
            Trouble { answered: true, ..Trouble::default() };
        tracing::info!(brokers = &*self.brokers, "kafka: the brokers acknowledge again");
    }
}

/// What librdkafka calls, on the producer's thread.
pub(crate) struct Wire {
    pub(super) inbox: Arc<Inbox>,
    pub(super) topics: Arc<Topics>,
    pub(super) pipelining: bool,
    /// `None`: it tells none.
    pub(super) statistics: Option<Statistics>,
    pub(super) keeper: Option<Arc<Keeper>>,
}

impl ClientContext for Wire {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn stats_raw(&self, json: &[u8]) {
        if let Some(statistics) = &self.statistics {
            statistics.take(json);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = code_of(&error) else { return };
        if let Some(keeper) = self.keeper.as_ref().filter(|_| code == RDKafkaErrorCode::Authentication) {
            keeper.doubt();
        }
        self.inbox.complain(code, reason);
        self.inbox.suspect.store(true, Ordering::Release);
        self.inbox.ring();
    }
}

impl ProducerContext for Wire {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let failure = match result {
            Ok(_) => {
                if self.inbox.troubled.load(Ordering::Relaxed) {
                    self.inbox.rejoice();
                }
                None
            }
            Err((error, message)) => Some(self.failure(error, message)),
        };
        self.inbox.push(Delivery { ticket, failure });
    }
}

impl Wire {
    /// What a failed delivery means for the record, for the session and for its topic.
    fn failure(&self, error: &KafkaError, message: &BorrowedMessage<'_>) -> Failure {
        if self.pipelining {
            self.inbox.ended.store(true, Ordering::Release);
        }
        self.inbox.suspect.store(true, Ordering::Release);
        let code = code_of(error).unwrap_or(RDKafkaErrorCode::Unknown);
        if matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge) {
            // The limit is not, or no longer, the one that routing and batches go by.
            self.topics.doubt_there(message.topic());
        }
        #[expect(unsafe_code, reason = "the binding does not show librdkafka's word on persistence")]
        // The message lives as long as the borrow.
        let status = unsafe { rdkafka::bindings::rd_kafka_message_status(message.ptr()) };
        let not_written = rdkafka::bindings::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
        let given_up = matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight);
        Failure { code, possibly_written: given_up || status != not_written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_same_each_time_and_leads_nobody_astray() {
        for (reason, plain) in [
            (
                "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 1 \
                 identical error(s) suppressed)",
                "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            ),
            (
                "h:1/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): increase \
                 receive.message.max.bytes (after 3ms in state APIVERSION_QUERY)",
                "h:1/bootstrap: what answers there is not Kafka, or wants TLS (security.protocol)",
            ),
        ] {
            assert_eq!(plain_reason(reason), plain);
        }
    }
}
