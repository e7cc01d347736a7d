//! A record of Kafka's as the clauses look at it.

use eventferry_conformance::publisher::Delivered;
use rdkafka::message::{Headers, Message, OwnedMessage};

pub(crate) fn delivered(message: &OwnedMessage) -> Delivered {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Delivered {
        partition: message.partition(),
        key: message.key().map(Into::into),
        payload: message.payload().map(Into::into),
        headers: headers.map(|one| (one.key.into(), one.value.unwrap_or_default().into())).collect(),
        millis: message.timestamp().to_millis(),
    }
}
