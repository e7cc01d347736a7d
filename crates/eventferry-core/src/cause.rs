//! What an event follows from: correlation and causation.

use crate::event::MessageId;

/// The name of the header that all events of one story share: the first one's message id, unless the application has a
/// name of its own for it.
pub const CORRELATION_ID: &str = "correlation-id";

/// The name of the header with the message id of the event whose handling enqueued this one.
pub const CAUSATION_ID: &str = "causation-id";

/// What causes events: a message that arrived, or only its id.
pub trait Cause {
    /// The message's identity.
    fn message_id(&self) -> MessageId;

    /// The story it belongs to; `None` (the default): it begins one.
    fn correlation_id(&self) -> Option<&str> {
        None
    }
}

impl Cause for MessageId {
    fn message_id(&self) -> MessageId {
        *self
    }
}
