//! Listeners: the program's own code, told what happens on a thread of its own.
//!
//! The relay never waits for a listener: what happens goes into a bounded queue, and what does not fit is counted and
//! told later, in its place.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::happening::Happening;

/// How many happenings wait for a listener at most. Each holds a few names and at most 1,000 characters of a cause.
const QUEUE_MAX: usize = 1_024;

/// How long a listener may take, after the relay has ended, for what is still in its queue.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program's code to tell what happens.
pub(crate) type Ear = Box<dyn FnMut(Happening) + Send + 'static>;

/// Ears that no relay has yet.
#[derive(Default)]
pub(crate) struct Ears(pub(crate) Vec<Ear>);

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}

/// What is counted instead of told one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) read: u64,
    pub(crate) shipped: u64,
    pub(crate) parked_along: u64,
}

impl Counts {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.read += more.read;
        self.shipped += more.shipped;
        self.parked_along += more.parked_along;
    }

    fn happenings(self) -> impl Iterator<Item = Happening> {
        let Self { read, shipped, parked_along } = self;
        let all = [
            (read, Happening::Read { records: read }),
            (shipped, Happening::Shipped { records: shipped }),
            (parked_along, Happening::ParkedAlong { records: parked_along }),
        ];
        all.into_iter().filter(|(count, _)| *count > 0).map(|(_, happening)| happening)
    }
}

/// What goes through the queue.
enum Word {
    Counts(Counts),
    One(Happening),
}

/// One listener, as the relay knows it.
pub(crate) struct Listener {
    /// `None`: nobody listens any more.
    queue: Option<SyncSender<Word>>,
    /// Counted and not yet in the queue.
    counts: Counts,
    left: Arc<Left>,
    ended: oneshot::Receiver<()>,
}

/// What is not in the queue, for want of room: told when there is some, by the thread when it ends.
#[derive(Default)]
struct Left {
    /// How many happenings were left out.
    missed: AtomicU64,
    /// What was counted, once the relay has ended.
    counts: Mutex<Counts>,
}

impl Listener {
    /// Gives the ear a thread.
    pub(crate) fn start(ear: Ear) -> Self {
        let (queue, words) = sync_channel(QUEUE_MAX);
        let (ending, ended) = oneshot::channel();
        let left = Arc::new(Left::default());
        // What is said there is said to whom the relay says it.
        let voice = tracing::dispatcher::get_default(Clone::clone);
        let thread = thread::Builder::new().name("eventferry-listener".into()).spawn({
            let left = Arc::clone(&left);
            move || {
                let _voice = tracing::dispatcher::set_default(&voice);
                let mut ear = ear;
                // What a listener leaves behind when it panics is its own; it is never called again.
                let heard = catch_unwind(AssertUnwindSafe(|| hear(&mut ear, &words, &left)));
                // Nobody puts anything more into the queue.
                drop(words);
                let gone = catch_unwind(AssertUnwindSafe(|| drop(ear)));
                if heard.is_err() || gone.is_err() {
                    tracing::error!(
                        "a listener panicked, which is a bug in it: it hears nothing more, events are carried as before"
                    );
                }
                drop(ending);
            }
        });
        if let Err(error) = &thread {
            tracing::error!(%error, "a listener got no thread: it hears nothing, events are carried as before");
        }
        Self { queue: thread.is_ok().then_some(queue), counts: Counts::default(), left, ended }
    }

    pub(crate) fn count(&mut self, counts: Counts) {
        if self.queue.is_some() {
            self.counts.add(counts);
        }
    }

    /// Tells it, after everything that was counted before. Says whether it had to be left out.
    pub(crate) fn tell(&mut self, happening: Happening) -> bool {
        self.flush();
        // What does not fit leaves a gap, and nothing goes past the words about it.
        let told = !self.is_behind() && self.put(Word::One(happening)).is_ok();
        let missed = !told && self.queue.is_some();
        if missed {
            self.left.missed.fetch_add(1, Ordering::Relaxed);
        }
        missed
    }

    /// Puts into the queue what was counted, and how much was left out, if it has room now.
    pub(crate) fn flush(&mut self) {
        let missed = self.left.missed.swap(0, Ordering::Relaxed);
        if missed > 0 && self.put(Word::One(Happening::Missed { happenings: missed })).is_err() {
            self.left.missed.fetch_add(missed, Ordering::Relaxed);
            return;
        }
        let counts = std::mem::take(&mut self.counts);
        if !counts.is_empty() && self.put(Word::Counts(counts)).is_err() {
            self.counts = counts;
        }
    }

    /// Whether something waits for the next flush.
    pub(crate) fn is_behind(&self) -> bool {
        self.queue.is_some() && (!self.counts.is_empty() || self.left.missed.load(Ordering::Relaxed) > 0)
    }

    /// Puts a word into the queue, without waiting. Nothing is behind a listener that has gone.
    fn put(&mut self, word: Word) -> Result<(), ()> {
        let Some(queue) = &self.queue else { return Ok(()) };
        match queue.try_send(word) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(()),
            Err(TrySendError::Disconnected(_)) => {
                self.queue = None;
                Ok(())
            }
        }
    }

    /// Lets it hear what is in its queue, for a moment.
    pub(crate) async fn end(mut self) {
        self.flush();
        *self.left.counts.lock().unwrap_or_else(PoisonError::into_inner) = self.counts;
        self.queue = None;
        if tokio::time::timeout(LAST_WORDS, &mut self.ended).await.is_err() {
            tracing::warn!("a listener is slow: it has not heard everything");
        }
    }
}

fn hear(ear: &mut Ear, words: &Receiver<Word>, left: &Left) {
    for word in words {
        match word {
            Word::Counts(counts) => counts.happenings().for_each(&mut *ear),
            Word::One(happening) => ear(happening),
        }
    }
    let happenings = left.missed.swap(0, Ordering::Relaxed);
    if happenings > 0 {
        ear(Happening::Missed { happenings });
    }
    let counts = *left.counts.lock().unwrap_or_else(PoisonError::into_inner);
    counts.happenings().for_each(ear);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use eventferry_core::Lane;

    use super::*;

    /// A listener that says what it hears, and then waits for leave to hear more.
    fn slow() -> (Listener, Sender<()>, Receiver<Happening>) {
        let (leave, wait) = channel::<()>();
        let (said, heard) = channel();
        let listener = Listener::start(Box::new(move |happening| {
            let _ = said.send(happening);
            // A test that has let go of it lets everything pass.
            let _ = wait.recv();
        }));
        (listener, leave, heard)
    }

    fn gained(lane: u16) -> Happening {
        Happening::LanesGained(vec![Lane(lane)])
    }

    async fn all(listener: Listener, leave: Sender<()>, heard: Receiver<Happening>) -> Vec<Happening> {
        drop(leave);
        listener.end().await;
        heard.iter().collect()
    }

    #[tokio::test]
    async fn counts_are_told_together_and_before_what_happened_after_them() {
        let (mut listener, leave, heard) = slow();
        for _ in 0..3 {
            listener.count(Counts { read: 2, shipped: 1, ..Counts::default() });
        }
        listener.tell(gained(1));
        listener.count(Counts { parked_along: 4, ..Counts::default() });
        assert!(listener.is_behind());
        let expected = [
            Happening::Read { records: 6 },
            Happening::Shipped { records: 3 },
            gained(1),
            Happening::ParkedAlong { records: 4 },
        ];
        assert_eq!(all(listener, leave, heard).await, expected);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_left_out_counted_and_told_in_its_place() {
        let (mut listener, leave, heard) = slow();
        listener.tell(gained(0));
        assert_eq!(heard.recv(), Ok(gained(0)));
        let many = QUEUE_MAX as u16;
        let missed = (1..=3 * many).filter(|lane| listener.tell(gained(*lane))).count();
        assert_eq!(missed, 2 * QUEUE_MAX);
        listener.count(Counts { shipped: 7, ..Counts::default() });
        // Room for what follows.
        for lane in 1..=2 {
            leave.send(()).unwrap();
            assert_eq!(heard.recv(), Ok(gained(lane)));
        }
        listener.flush();
        assert!(!listener.is_behind());
        let heard = all(listener, leave, heard).await;
        let (names, rest) = heard.split_at(QUEUE_MAX - 2);
        assert!(names.iter().cloned().eq((3..=many).map(gained)), "in order, without a gap before the gap");
        assert_eq!(
            rest,
            [Happening::Missed { happenings: missed as u64 }, Happening::Shipped { records: 7 }]
        );
    }

    #[tokio::test]
    async fn what_was_left_out_last_is_told_at_the_end() {
        let (mut listener, leave, heard) = slow();
        listener.tell(gained(0));
        assert_eq!(heard.recv(), Ok(gained(0)));
        let missed = (1..=2 * QUEUE_MAX as u16).filter(|lane| listener.tell(gained(*lane))).count();
        listener.count(Counts { read: 9, ..Counts::default() });
        let heard = all(listener, leave, heard).await;
        let last = [Happening::Missed { happenings: missed as u64 }, Happening::Read { records: 9 }];
        assert_eq!(heard[heard.len() - 2..], last);
    }

    #[tokio::test]
    async fn a_listener_that_panics_hears_nothing_more_and_holds_nothing_up() {
        let (said, heard) = channel();
        let mut listener = Listener::start(Box::new(move |happening| {
            said.send(happening).unwrap();
            panic!("a bug in the listener");
        }));
        listener.tell(gained(0));
        assert_eq!(heard.iter().collect::<Vec<_>>(), [gained(0)], "its thread has ended");
        for lane in 1..=2 * QUEUE_MAX as u16 {
            assert!(!listener.tell(gained(lane)), "nobody is there to miss it");
        }
        assert!(!listener.is_behind());
        listener.end().await;
    }
}
