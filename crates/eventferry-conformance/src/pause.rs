//! Waiting without a runtime: the back end's executor is unknown, so the waking is done by a thread.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// A pause that starts when first polled.
pub(crate) struct Pause {
    length: Duration,
    timer: Option<Timer>,
}

struct Timer {
    until: Instant,
    /// Whom the thread wakes: the waker of the latest poll.
    waker: Arc<Mutex<Waker>>,
    /// Dropped with the pause, which ends the thread at once.
    _running: mpsc::Sender<()>,
}

impl Pause {
    pub(crate) fn of(length: Duration) -> Self {
        Self { length, timer: None }
    }
}

impl Timer {
    fn start(length: Duration, waker: &Waker) -> Self {
        let (running, dropped) = mpsc::channel::<()>();
        let waker = Arc::new(Mutex::new(waker.clone()));
        let to_wake = Arc::clone(&waker);
        thread::spawn(move || {
            if dropped.recv_timeout(length) == Err(mpsc::RecvTimeoutError::Timeout) {
                to_wake.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
            }
        });
        Self { until: Instant::now() + length, waker, _running: running }
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &self.timer {
            Some(timer) if timer.until <= Instant::now() => return Poll::Ready(()),
            Some(timer) => {
                timer.waker.lock().unwrap_or_else(PoisonError::into_inner).clone_from(context.waker())
            }
            None => self.timer = Some(Timer::start(self.length, context.waker())),
        }
        Poll::Pending
    }
}

/// Runs `work` for at most this long.
pub(crate) async fn within<T>(length: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut pause = pin!(Pause::of(length));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => pause.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Polls a future once and drops it, as a relay does that stops or runs out of time.
pub(crate) async fn poll_once<T>(work: impl Future<Output = T>) {
    let mut work = pin!(work);
    poll_fn(|context| {
        let _ = work.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// Runs two futures side by side.
pub(crate) async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(value) = one.as_mut().poll(context)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = other.as_mut().poll(context)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (one_of_them, the_other) => {
                (first, second) = (one_of_them, the_other);
                Poll::Pending
            }
        }
    })
    .await
}
