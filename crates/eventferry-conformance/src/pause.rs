//! Waiting without a runtime: the back end's executor is unknown, so the waking is done by a thread.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// A pause that starts when first polled.
pub(crate) struct Pause {
    length: Duration,
    timer: Option<Timer>,
}

struct Timer {
    shared: Arc<Mutex<Ringing>>,
    /// Dropped with the pause, which ends the thread at once.
    _running: mpsc::Sender<()>,
}

/// What the pause and its thread tell each other.
struct Ringing {
    is_over: bool,
    /// Whom to wake: the waker of the latest poll.
    waker: Waker,
}

impl Pause {
    pub(crate) fn of(length: Duration) -> Self {
        Self { length, timer: None }
    }
}

impl Timer {
    fn start(length: Duration, waker: &Waker) -> Self {
        let (running, dropped) = mpsc::channel::<()>();
        let shared = Arc::new(Mutex::new(Ringing { is_over: false, waker: waker.clone() }));
        let to_ring = Arc::clone(&shared);
        thread::spawn(move || {
            if dropped.recv_timeout(length) == Err(mpsc::RecvTimeoutError::Timeout) {
                let mut ringing = to_ring.lock().unwrap_or_else(PoisonError::into_inner);
                ringing.is_over = true;
                ringing.waker.wake_by_ref();
            }
        });
        Self { shared, _running: running }
    }

    /// Whether the time is over; if not, this waker is woken when it is.
    fn is_over(&self, waker: &Waker) -> bool {
        let mut ringing = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        ringing.waker.clone_from(waker);
        ringing.is_over
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &self.timer {
            Some(timer) if timer.is_over(context.waker()) => return Poll::Ready(()),
            Some(_) => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block_on;

    #[test]
    fn pauses_end_also_when_they_are_short_and_many() {
        for _ in 0..500 {
            block_on(Pause::of(Duration::from_micros(10)));
        }
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        let never = std::future::pending::<()>();
        assert_eq!(block_on(within(Duration::from_millis(1), never)), None);
        assert_eq!(block_on(within(Duration::from_secs(60), async { 7 })), Some(7));
    }

    #[test]
    fn both_run_though_the_first_waits_for_the_second() {
        let bell = Mutex::new(false);
        let waits = poll_fn(|context| match *bell.lock().unwrap() {
            true => Poll::Ready(1),
            false => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        });
        let rings = async {
            *bell.lock().unwrap() = true;
            2
        };
        assert_eq!(block_on(both(waits, rings)), (1, 2));
    }
}
