//! Stamps: what a transaction is called, as a record of the outbox's own topic.
//!
//! The topic has one partition and is compacted, and every stamp has the same key: what is kept is the last one of a
//! transaction that was committed. Beside it is the last mark of a take-over.

use eventferry_core::{OutboxId, PublishFault, PublishFaultKind, Stamp};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::BaseRecord;
use rdkafka::{Offset, TopicPartitionList};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

use crate::credentials::Keeper;
use crate::fault::{fault, fault_of};
use crate::publisher::{ANSWER_MAX, Quiet, setting};
use crate::reader::{LOOK, Reader, is_of_the_group};

/// The partition of the only group of lanes there is.
pub(crate) const PARTITION: i32 = 0;

/// The key of every stamp.
pub(crate) const KEY: &[u8] = b"stamp";

/// The key of every mark: see [`last`].
pub(crate) const MARK: &[u8] = b"mark";

/// The greatest number a stamp has: databases count no further.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// How many offsets before the end the last stamp is looked for first. Ends of transactions take offsets too.
const NEAR: i64 = 64;

/// The name of an outbox's topic of stamps.
pub(crate) fn topic(prefix: &str, outbox: &OutboxId) -> String {
    format!("{prefix}{}", outbox.0)
}

/// A stamp as a record has it, for people too.
pub(crate) fn text(Stamp { number, nonce }: Stamp) -> String {
    format!("{number}:{nonce:016x}")
}

/// What is written into a topic of stamps.
pub(crate) fn record<'a>(
    topic: &'a str,
    key: &'a [u8],
    text: &'a str,
    ticket: usize,
) -> BaseRecord<'a, [u8], [u8], usize> {
    BaseRecord {
        topic,
        partition: Some(PARTITION),
        payload: Some(text.as_bytes()),
        key: Some(key),
        timestamp: None,
        headers: None,
        delivery_opaque: ticket,
    }
}

fn parse(payload: &[u8]) -> Option<Stamp> {
    let (number, nonce) = std::str::from_utf8(payload).ok()?.split_once(':')?;
    let number = number.parse().ok().filter(|number| *number <= NUMBER_MAX)?;
    Some(Stamp { number, nonce: u64::from_str_radix(nonce, 16).ok()? })
}

/// Makes the topic, unless it is there. Where that may not be done, it may have been made by hand all the same.
pub(crate) async fn ensure(client: &AdminClient<Quiet>, topic: &str) -> Result<(), PublishFault> {
    let wanted = NewTopic::new(topic, 1, TopicReplication::Fixed(-1)).set("cleanup.policy", "compact");
    let options = AdminOptions::new().request_timeout(Some(ANSWER_MAX)).operation_timeout(Some(ANSWER_MAX));
    let what = format!("making topic `{topic}`, which exactly-once delivery needs");
    let results = client.create_topics(&[wanted], &options).await.map_err(|error| fault_of(&what, error))?;
    match results.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(()),
        Some(Err((
            _,
            code
            @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed),
        ))) => Err(PublishFault::new(
            PublishFaultKind::Misconfigured,
            format!(
                "{what}: no permission (code {}); make it with one partition and cleanup.policy=compact, or grant \
                 CREATE",
                code as i32
            ),
        )),
        Some(Err((_, code))) => Err(fault(&what, code)),
    }
}

/// Whether stamps are removed with time, which leaves nobody who knows what was committed.
pub(crate) async fn are_removed(client: &AdminClient<Quiet>, topic: &str) -> bool {
    let policy = setting(client, None, topic, "cleanup.policy").await;
    policy.is_some_and(|policy| policy.contains("delete"))
}

/// The stamp of the transaction committed last; blocks. Every transaction of this outbox has ended.
///
/// Where the topic ends is what its leader says at the moment: one that was elected just now may not know yet of all
/// that is committed, and what comes after another program's open transaction is not shown. So `write` puts a mark
/// behind everything, in a transaction, and is called once it is clear that the topic is there; who has read the mark
/// has read everything before it.
pub(crate) fn last(
    client: &ClientConfig,
    keeper: Option<Arc<Keeper>>,
    topic: &str,
    write: impl FnOnce(&str) -> Result<(), PublishFault>,
) -> Result<Option<Stamp>, PublishFault> {
    let reader = Reader::new(client, keeper, format!("reading topic `{topic}`"))?;
    let consumer = reader.consumer()?;
    let (low, high) =
        consumer.fetch_watermarks(topic, PARTITION, ANSWER_MAX).map_err(|error| reader.fault(&error))?;
    // Keys of the standard library's hash tables are random.
    let mark = format!("{:016x}", RandomState::new().build_hasher().finish());
    write(&mark)?;
    let (mut from, mut near) = ((high - NEAR).max(low), NEAR);
    loop {
        let mut list = TopicPartitionList::new();
        let at = list.add_partition_offset(topic, PARTITION, Offset::Offset(from));
        at.and_then(|()| consumer.assign(&list)).map_err(|error| reader.fault(&error))?;
        let found = last_before(&mark, &reader, topic)?;
        if found.is_some() || from == low {
            return Ok(found);
        }
        near = near.saturating_mul(16);
        from = (high - near).max(low);
    }
}

/// The last stamp from where the consumer stands to the mark.
fn last_before(mark: &str, reader: &Reader, topic: &str) -> Result<Option<Stamp>, PublishFault> {
    let mut found = None;
    let mut heard_at = Instant::now();
    loop {
        match reader.consumer()?.poll(LOOK) {
            Some(Ok(message)) if message.key() == Some(MARK) => {
                if message.payload() == Some(mark.as_bytes()) {
                    return Ok(found);
                }
                heard_at = Instant::now();
            }
            Some(Ok(message)) => {
                let stamp = message.payload().and_then(parse);
                found = Some(stamp.ok_or_else(|| {
                    let says = "holds something that is no stamp; give each outbox a topic of its own";
                    PublishFault::new(PublishFaultKind::Misconfigured, format!("topic `{topic}` {says}"))
                })?);
                heard_at = Instant::now();
            }
            // More is to come, or the mark is: both are waited for.
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) if is_of_the_group(&error) => {}
            Some(Err(error)) => return Err(reader.fault(&error)),
            None if heard_at.elapsed() > ANSWER_MAX => {
                return Err(reader.unavailable(|reason| {
                    format!(
                        "what was written last is not shown yet, {reason}; if this stays so, another program has a \
                         transaction open in it (kafka-transactions.sh find-hanging)"
                    )
                }));
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_nothing_else_is_one() {
        for stamp in [
            Stamp { number: 0, nonce: 0 },
            Stamp { number: 17, nonce: 0x00ab_0000_0000_0001 },
            Stamp { number: NUMBER_MAX, nonce: u64::MAX },
        ] {
            assert_eq!(parse(text(stamp).as_bytes()), Some(stamp), "{stamp:?}");
        }
        let beyond = "9223372036854775808:1";
        for other in ["", "1", "1:", ":1", "1:x", "x:1", "1:2:3", "\u{fffd}", beyond] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(parse(&[0xff, b':', b'1']), None);
    }
}
