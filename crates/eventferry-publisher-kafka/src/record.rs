//! A record as it is read.

use std::fmt;

use eventferry_core::Timestamp;
use rdkafka::message::{BorrowedMessage, Message};

use crate::reader::headers_of;

/// A record of a topic.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicRecord {
    /// In which partition it is.
    pub partition: i32,
    /// At which place of it.
    pub offset: i64,
    /// Its time, to the millisecond, if it has one.
    pub timestamp: Option<Timestamp>,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Its headers, in order, repeated names included; a value that is null is empty here. One whose name is not
    /// UTF-8, which the client cannot hand over, is named U+FFFD and is empty.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Without key, payload and headers' values.
impl fmt::Debug for TopicRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicRecord")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl TopicRecord {
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().map(|millis| Timestamp(millis.saturating_mul(1000))),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers_of(message),
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        size_of::<Self>() + bytes(&self.key) + bytes(&self.payload) + headers.sum::<usize>()
    }
}
