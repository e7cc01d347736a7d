//! The broker's clock: this machine's where the broker is ours, or else asked by a record of a topic that keeps the
//! time of appending.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::failure::{Failure, failure};
use crate::topic::Topic;

/// How long the broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

pub(super) enum BrokerClock {
    /// The broker runs here, and may not answer.
    Here,
    Asked {
        producer: FutureProducer,
        topic: String,
    },
}

impl BrokerClock {
    /// Asks by records of this topic.
    pub(super) fn of(topic: &Topic) -> Result<Self, Failure> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", topic.brokers())
            .set("acks", "all")
            .set("linger.ms", "0")
            .create()?;
        Ok(Self::Asked { producer, topic: topic.name.clone() })
    }

    /// Its time, in milliseconds.
    pub(super) async fn ask(&self) -> Result<i64, Failure> {
        let (producer, topic) = match self {
            Self::Here => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                return Ok(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
            }
            Self::Asked { producer, topic } => (producer, topic),
        };
        let record = FutureRecord::<(), [u8]>::to(topic).payload(b"what is the time");
        let sent = producer.send(record, ANSWER_MAX).await;
        let delivery = sent.map_err(|(error, _)| failure(format!("ask the broker for the time: {error}")))?;
        delivery.timestamp.to_millis().ok_or_else(|| failure("the broker gives no time"))
    }
}
