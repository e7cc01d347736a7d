//! A producer and the thread that takes its reports.
//!
//! The driver's own (`ThreadedProducer`) looks ten times a second whether it is to end, and each look spins for the
//! last part of a millisecond that librdkafka's clock does not count: nearly a hundredth of a processor while nothing
//! happens. This one looks as often while something is in flight, and less often else.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};

/// How long the end may be waited for while something is in flight. Reports are taken at once in any case.
const BUSY_LOOK: Duration = Duration::from_millis(100);

/// How long while nothing is.
const IDLE_LOOK: Duration = Duration::from_millis(300);

/// A producer whose reports are taken on a thread of its own.
pub(crate) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<C: ProducerContext + 'static> Polled<C> {
    /// Makes it.
    ///
    /// # Errors
    /// librdkafka's: it does not take the configuration, or there is no thread to be had.
    pub(crate) fn open(client: &ClientConfig, context: C) -> Result<Self, KafkaError> {
        let producer: Arc<BaseProducer<C>> = Arc::new(client.create_with_context(context)?);
        let ends = Arc::new(AtomicBool::new(false));
        let (polled, end) = (Arc::clone(&producer), Arc::clone(&ends));
        let poll = move || {
            while !end.load(Ordering::Acquire) {
                let look = if polled.in_flight_count() > 0 { BUSY_LOOK } else { IDLE_LOOK };
                polled.poll(look);
            }
        };
        let thread = std::thread::Builder::new().name("kafka-reports".into()).spawn(poll);
        let no_thread = |_| KafkaError::ClientCreation(RDKafkaErrorCode::CriticalSystemResource.to_string());
        Ok(Self { producer, ends, thread: Some(thread.map_err(no_thread)?) })
    }

    /// Gives up queue and flight at once, so that what the broker has of a partition is a prefix, and ends the
    /// producer; blocks. Its context has had all reports that come of it when this returns.
    pub(crate) fn close(mut self) {
        self.ends.store(true, Ordering::Release);
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
        self.ends.store(true, Ordering::Release);
    }
}
