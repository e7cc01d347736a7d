//! What a publisher supplies so that the clauses can be run against it.

use std::future::Future;
use std::time::Duration;

use eventferry_core::publisher::Publisher;

use crate::bench::PATIENCE;
use crate::subject::Trouble;

/// A publisher under test: how to make one, and how to see what its broker has.
///
/// Clauses run side by side on several threads, each with topics of its own. An error of these methods fails the
/// clause, with its text. Futures need not be `Send`: they are polled inside one [`Subject::block_on`], on one thread.
pub trait Subject: Send + Sync + 'static {
    /// The publisher under test.
    type Publisher: Publisher;

    /// What the broker has and this test can do; the clauses ask no more.
    fn reach(&self) -> Reach;

    /// A new publisher, as a relay process would make it when it starts: it has learned nothing.
    fn publisher(&self) -> impl Future<Output = Result<Self::Publisher, Trouble>>;

    /// Makes a topic that did not exist, with so many partitions where the broker has them. Its name is of lower-case
    /// letters, digits and hyphens, and it is ready to be written when this returns.
    fn create(&self, topic: &str, partitions: u16) -> impl Future<Output = Result<(), Trouble>>;

    /// Lets the broker refuse, from now on, messages of more than `bytes` in a topic with one partition that was made
    /// and learned before: a payload of half of that is taken, one of twice that is refused. Called only with
    /// [`Reach::limits`].
    fn limit(&self, topic: &str, bytes: usize) -> impl Future<Output = Result<(), Trouble>> {
        let _ = (topic, bytes);
        async { Err("this subject sets no limits".into()) }
    }

    /// Reads all messages of a topic as an ordinary consumer does, those of a partition in their order: where messages
    /// travel in transactions, those that are committed.
    fn read(&self, topic: &str) -> impl Future<Output = Result<Vec<Delivered>, Trouble>>;

    /// How long a clause waits for what must come. Default: [`PATIENCE`](crate::PATIENCE).
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Runs a future to its end on this thread, with whatever its parts need around them (a runtime, a reactor).
    fn block_on<F: Future>(&self, work: F) -> F::Output;
}

/// What a broker has, and a test of it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Whether topics have partitions that an event can ask for.
    pub partitions: bool,
    /// Whether messages carry a time that the publisher sets.
    pub times: bool,
    /// Whether [`Subject::limit`] is there.
    pub limits: bool,
}

/// A message as a consumer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// In which partition; 0 where there are none.
    pub partition: i32,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload; `None`: a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Its headers, in their order, repeated names included.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its time in milliseconds since 1970; `None` where messages carry none.
    pub millis: Option<i64>,
}
