//! Ringing at a relay's door from within its own process, without the database.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::enqueue::{Enqueue, EnqueueFault};
use crate::event::{Event, MessageId};

/// A relay's doorbell for the process it runs in: cheap to clone, and to ring.
///
/// A ring says that something was enqueued or is just being: the relay looks at once, and often for a moment, because
/// the commit may still be under way. Where much passes between enqueueing and committing, ring after the commit; a
/// ring that comes too early costs some looks in vain, and loses nothing.
#[derive(Clone)]
pub struct Ringer(Arc<dyn Fn() + Send + Sync>);

impl Ringer {
    /// A ringer that does this; it must not block.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(ring))
    }

    /// Rings.
    pub fn ring(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Ringer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ringer").finish_non_exhaustive()
    }
}

/// An outbox that rings at a relay in the same process whenever it has appended events.
#[derive(Clone, Debug)]
pub struct Ringing<O> {
    outbox: O,
    ringer: Ringer,
}

impl<O> Ringing<O> {
    /// Rings with `ringer` after each call of `outbox` that appended something.
    pub fn new(outbox: O, ringer: Ringer) -> Self {
        Self { outbox, ringer }
    }
}

impl<Tx: ?Sized + Send, O: Enqueue<Tx> + Sync> Enqueue<Tx> for Ringing<O> {
    async fn enqueue(&self, transaction: &mut Tx, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        let ids = self.outbox.enqueue(transaction, events).await?;
        if !ids.is_empty() {
            self.ringer.ring();
        }
        Ok(ids)
    }
}
