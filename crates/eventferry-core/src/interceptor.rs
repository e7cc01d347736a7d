//! What an application does to its events before they are appended: checks them, or adds headers.

use alloc::vec::Vec;
use core::future::Future;

use crate::enqueue::{Append, Enqueue, EnqueueFault, IntoEvent, only_id};
use crate::event::{Event, MessageId};

/// Looks at each event before anything is asked of the database.
///
/// A pair of interceptors is one, too: the first is asked first.
pub trait Interceptor: Send + Sync {
    /// May add to the event, or refuse it.
    ///
    /// # Errors
    /// [`Refused`](crate::EnqueueFaultKind::Refused): nothing of the call is appended, the transaction has not been
    /// touched, and it can go on.
    fn intercept(&self, event: &mut Event) -> Result<(), EnqueueFault>;
}

impl<I: Interceptor + ?Sized> Interceptor for alloc::sync::Arc<I> {
    fn intercept(&self, event: &mut Event) -> Result<(), EnqueueFault> {
        (**self).intercept(event)
    }
}

impl<A: Interceptor, B: Interceptor> Interceptor for (A, B) {
    fn intercept(&self, event: &mut Event) -> Result<(), EnqueueFault> {
        self.0.intercept(event)?;
        self.1.intercept(event)
    }
}

/// An outbox whose events an [`Interceptor`] sees first.
#[derive(Clone, Debug)]
pub struct Intercepted<O, I> {
    outbox: O,
    interceptor: I,
}

impl<O, I: Interceptor> Intercepted<O, I> {
    /// `outbox`, with `interceptor` before it.
    pub fn new(outbox: O, interceptor: I) -> Self {
        Self { outbox, interceptor }
    }

    /// Another one, asked after those that are there.
    #[must_use]
    pub fn with<J: Interceptor>(self, interceptor: J) -> Intercepted<O, (I, J)> {
        Intercepted { outbox: self.outbox, interceptor: (self.interceptor, interceptor) }
    }

    /// The event as it will be appended: for adapters whose drivers do not wait.
    ///
    /// # Errors
    /// As [`Interceptor::intercept`] and [`IntoEvent::into_event`].
    pub fn event(&self, event: impl IntoEvent) -> Result<Event, EnqueueFault> {
        let mut event = event.into_event()?;
        self.interceptor.intercept(&mut event)?;
        Ok(event)
    }

    /// The same for several: all of them, or what is wrong with the first that is refused.
    ///
    /// # Errors
    /// As [`Intercepted::event`].
    pub fn events(
        &self,
        events: impl IntoIterator<Item = impl IntoEvent>,
    ) -> Result<Vec<Event>, EnqueueFault> {
        events.into_iter().map(|event| self.event(event)).collect()
    }

    /// The outbox itself.
    pub fn outbox(&self) -> &O {
        &self.outbox
    }

    /// Appends one event to `transaction` and returns its message id. See [`Enqueue::enqueue`].
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`], and what the interceptor refuses.
    pub async fn enqueue<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        event: impl IntoEvent,
    ) -> Result<MessageId, EnqueueFault>
    where
        O: Enqueue<Tx>,
    {
        let event = self.event(event)?;
        let ids = self.outbox.enqueue(transaction, core::slice::from_ref(&event)).await?;
        only_id(&ids)
    }

    /// Appends events to `transaction`, in their order and in one round trip. See [`Enqueue::enqueue`].
    ///
    /// # Errors
    /// As [`Enqueue::enqueue`], and what the interceptor refuses: then none is appended.
    pub async fn enqueue_many<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        events: impl IntoIterator<Item = impl IntoEvent>,
    ) -> Result<Vec<MessageId>, EnqueueFault>
    where
        O: Enqueue<Tx>,
    {
        self.outbox.enqueue(transaction, &self.events(events)?).await
    }

    /// Appends one event by a driver that does not wait, and returns its message id. See [`Append::append`].
    ///
    /// # Errors
    /// As [`Append::append`], and what the interceptor refuses.
    pub fn append<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        event: impl IntoEvent,
    ) -> Result<MessageId, EnqueueFault>
    where
        O: Append<Tx>,
    {
        let event = self.event(event)?;
        let ids = self.outbox.append(transaction, core::slice::from_ref(&event))?;
        only_id(&ids)
    }

    /// Appends events by a driver that does not wait, in their order. See [`Append::append`].
    ///
    /// # Errors
    /// As [`Append::append`], and what the interceptor refuses: then none is appended.
    pub fn append_many<Tx: ?Sized>(
        &self,
        transaction: &mut Tx,
        events: impl IntoIterator<Item = impl IntoEvent>,
    ) -> Result<Vec<MessageId>, EnqueueFault>
    where
        O: Append<Tx>,
    {
        self.outbox.append(transaction, &self.events(events)?)
    }
}

impl<Tx: ?Sized, O: Append<Tx>, I: Interceptor> Append<Tx> for Intercepted<O, I> {
    fn append(&self, transaction: &mut Tx, events: &[Event]) -> Result<Vec<MessageId>, EnqueueFault> {
        self.append_many(transaction, events)
    }
}

impl<Tx: ?Sized + Send, O: Enqueue<Tx> + Sync, I: Interceptor> Enqueue<Tx> for Intercepted<O, I> {
    fn enqueue(
        &self,
        transaction: &mut Tx,
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<MessageId>, EnqueueFault>> + Send {
        let seen = self.events(events);
        async move { self.outbox.enqueue(transaction, &seen?).await }
    }
}
