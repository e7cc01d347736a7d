//! What brokers say of topics, in one request: partitions, replicas, and what this client may do there.
//!
//! The binding has no word for it (`rd_kafka_DescribeTopics`, librdkafka 2.3), so this file speaks to librdkafka.

use std::ffi::{CStr, CString};
use std::ptr;
use std::slice;
use std::time::Duration;

use eventferry_core::PublishFault;
use rdkafka::admin::AdminClient;
use rdkafka::bindings as native;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::{RDKafka, RDKafkaRespErr};

use crate::fault::fault;
use crate::publisher::Quiet;

/// What a broker says of one topic.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) name: String,
    /// Why it says nothing more.
    pub(super) error: Option<RDKafkaErrorCode>,
    pub(super) internal: bool,
    pub(super) partitions: Vec<Partition>,
    /// `None`: the broker does not say (Kafka before 2.3, some others that speak its protocol).
    pub(super) may: Option<May>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Partition {
    /// `None`: there is none now.
    pub(super) leader: Option<i32>,
    pub(super) replicas: usize,
    pub(super) in_sync: usize,
}

/// What this client may do with a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct May {
    pub(super) write: bool,
}

/// Asks about topics; blocks, up to `within`.
///
/// # Errors
/// No answer came; `what` was being done.
pub(super) fn describe(
    client: &AdminClient<Quiet>,
    names: &[String],
    within: Duration,
    what: &str,
) -> Result<Vec<Described>, PublishFault> {
    // A name with a zero byte is no topic's.
    let names: Vec<CString> = names.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let millis = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let client = client.inner().native_ptr();
    #[expect(unsafe_code, reason = "the binding has no DescribeTopics")]
    // What is made here is destroyed here, in the order librdkafka wants: event, options, collection, queue. What the
    // event holds is copied before. The client outlives the call, being borrowed.
    unsafe {
        let queue = native::rd_kafka_queue_new(client);
        let asked = native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options = options(client, millis);
        native::rd_kafka_DescribeTopics(client, asked, options, queue);
        // Its own limit is the request's; this one is for a client that never comes to send it.
        let event = native::rd_kafka_queue_poll(queue, millis.saturating_add(1000));
        let answer = answer(event);
        if !event.is_null() {
            native::rd_kafka_event_destroy(event);
        }
        native::rd_kafka_AdminOptions_destroy(options);
        native::rd_kafka_TopicCollection_destroy(asked);
        native::rd_kafka_queue_destroy(queue);
        answer.map_err(|code| fault(what, code))
    }
}

#[expect(unsafe_code, reason = "as above")]
unsafe fn options(client: *mut RDKafka, millis: i32) -> *mut native::rd_kafka_AdminOptions_t {
    let op = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    unsafe {
        let options = native::rd_kafka_AdminOptions_new(client, op);
        native::rd_kafka_AdminOptions_set_request_timeout(options, millis, ptr::null_mut(), 0);
        let refused = native::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !refused.is_null() {
            native::rd_kafka_error_destroy(refused);
        }
        options
    }
}

/// Copies what an event says.
#[expect(unsafe_code, reason = "as above")]
unsafe fn answer(event: *mut native::rd_kafka_event_t) -> Result<Vec<Described>, RDKafkaErrorCode> {
    if event.is_null() {
        return Err(RDKafkaErrorCode::OperationTimedOut);
    }
    unsafe {
        let code = native::rd_kafka_event_error(event);
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(code.into());
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        Ok(list(topics.cast_const(), count).iter().map(|topic| described(*topic)).collect())
    }
}

/// librdkafka's lists are null where they are empty.
#[expect(unsafe_code, reason = "as above")]
unsafe fn list<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 { &[] } else { unsafe { slice::from_raw_parts(first, count) } }
}

#[expect(unsafe_code, reason = "as above")]
unsafe fn described(topic: *const native::rd_kafka_TopicDescription_t) -> Described {
    use native::rd_kafka_AclOperation_t::{RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_OPERATION_WRITE};
    unsafe {
        let error = native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(topic));
        let mut count = 0;
        let partitions = native::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let partitions = list(partitions.cast_const(), count).iter().map(|found| partition(*found)).collect();
        let mut count = 0;
        let operations = native::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        let may = (!operations.is_null()).then(|| May {
            write: list(operations, count)
                .iter()
                .any(|may| [RD_KAFKA_ACL_OPERATION_ALL, RD_KAFKA_ACL_OPERATION_WRITE].contains(may)),
        });
        Described {
            name: CStr::from_ptr(native::rd_kafka_TopicDescription_name(topic))
                .to_string_lossy()
                .into_owned(),
            error: (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into()),
            internal: native::rd_kafka_TopicDescription_is_internal(topic) != 0,
            partitions,
            may,
        }
    }
}

#[expect(unsafe_code, reason = "as above")]
unsafe fn partition(found: *const native::rd_kafka_TopicPartitionInfo_t) -> Partition {
    unsafe {
        let leader = native::rd_kafka_TopicPartitionInfo_leader(found);
        let leader = (!leader.is_null()).then(|| native::rd_kafka_Node_id(leader)).filter(|id| *id >= 0);
        let (mut replicas, mut in_sync) = (0, 0);
        native::rd_kafka_TopicPartitionInfo_replicas(found, &raw mut replicas);
        native::rd_kafka_TopicPartitionInfo_isr(found, &raw mut in_sync);
        Partition { leader, replicas, in_sync }
    }
}
