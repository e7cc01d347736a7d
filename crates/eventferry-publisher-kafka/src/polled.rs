//! A producer and the thread that takes its reports.
//!
//! The driver's own (`ThreadedProducer`) waits for reports a tenth of a second at a time, and spins for the last part
//! of a millisecond each time, which librdkafka's clock does not count: nearly a hundredth of a processor while nothing
//! happens. This one waits so only while something is in flight; else it sleeps, and looks ten times a second for what
//! else librdkafka has to say.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};

/// How long the thread waits at a time. Reports are taken at once in any case.
const LOOK: Duration = Duration::from_millis(100);

/// How many events are taken at a look while nothing is in flight: such as that each of some brokers is down.
const EVENTS_MAX: usize = 16;

/// A producer whose reports are taken on a thread of its own.
pub(crate) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    ends: AtomicBool,
    /// The thread sleeps, or is about to.
    sleeps: AtomicBool,
}

impl<C: ProducerContext + 'static> Polled<C> {
    /// Makes it.
    ///
    /// # Errors
    /// librdkafka's: it does not take the configuration, or there is no thread to be had.
    pub(crate) fn open(client: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        let producer: Arc<BaseProducer<C>> = Arc::new(client.create_with_context(context)?);
        let state = Arc::new(State::default());
        let (polled, seen) = (Arc::clone(&producer), Arc::clone(&state));
        let poll = move || {
            while !seen.ends.load(Ordering::SeqCst) {
                seen.sleeps.store(true, Ordering::SeqCst);
                // Whoever sends after this wakes the thread.
                if polled.in_flight_count() == 0 && !seen.ends.load(Ordering::SeqCst) {
                    std::thread::park_timeout(LOOK);
                }
                seen.sleeps.store(false, Ordering::SeqCst);
                if polled.in_flight_count() > 0 {
                    polled.poll(LOOK);
                } else {
                    // One event at a time, without waiting.
                    (0..EVENTS_MAX).for_each(|_| polled.poll(Duration::ZERO));
                }
            }
        };
        let thread = std::thread::Builder::new().name("kafka-reports".into()).spawn(poll);
        let no_thread = |_| KafkaError::ClientCreation(RDKafkaErrorCode::CriticalSystemResource.to_string());
        Ok(Self { producer, state, thread: Some(thread.map_err(no_thread)?) })
    }

    /// Hands a record to librdkafka, which does not wait.
    ///
    /// # Errors
    /// librdkafka's: it was not taken.
    pub(crate) fn send<K: ToBytes + ?Sized, P: ToBytes + ?Sized>(
        &self,
        record: BaseRecord<'_, K, P, C::DeliveryOpaque>,
    ) -> Result<(), KafkaError> {
        let sent = self.producer.send(record);
        self.wake();
        sent.map_err(|(error, _)| error)
    }

    /// The producer, for whoever tells it something while it lives.
    pub(crate) fn shared(&self) -> &Arc<BaseProducer<C>> {
        &self.producer
    }

    fn wake(&self) {
        if self.state.sleeps.swap(false, Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }

    fn end(&self) {
        self.state.ends.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Gives up queue and flight at once, so that what the broker has of a partition is a prefix, and ends the
    /// producer; blocks. Its context has had all reports that come of it when this returns.
    pub(crate) fn close(mut self) {
        self.end();
        self.producer.purge(PurgeConfig::default().queue().inflight());
        if let Some(thread) = self.thread.take() {
            // A panic on it was printed, and there is nothing more to be done here.
            drop(thread.join());
        }
    }
}

impl<C: ProducerContext + 'static> Deref for Polled<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for Polled<C> {
    fn drop(&mut self) {
        // The thread ends by itself, and the last of both ends the producer.
        self.end();
    }
}
