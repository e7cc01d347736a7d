//! A session whose messages travel in transactions: two producers in turn, each with a transactional id of its own.
//!
//! Right after a commit the coordinator is still writing its markers and takes no new transaction of that id, so one is
//! filled with the other id while the first is committed. librdkafka's calls that wait for the coordinator run on
//! threads of their own; what they come to is reported like a message's fate.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventferry_core::publisher::{Domain, Outcome, Report, Session, Taken, Token};
use eventferry_core::{Envelope, Stamp};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Streaming, Wire};
use crate::config::TRANSACTION_MAX;
use crate::credentials::Edition;
use crate::fault::fault_of;
use crate::stamp;

/// How many transactional ids a session has, used in turn.
pub(crate) const IDS: usize = 2;

/// How long one call waits for the coordinator before it is made again.
const ANSWER: Duration = Duration::from_secs(2);

/// librdkafka's `flush`, with which a commit begins, waits a tenth of a second for a report that nobody has taken; it
/// is taken in a moment.
const TAKING: Duration = Duration::from_millis(50);

/// See the module.
pub(super) struct Transacting {
    halves: [Streaming; IDS],
    /// The one whose transaction was begun last.
    current: usize,
    /// Those whose transactions are begun and not ended, in that order.
    open: Vec<usize>,
    /// The topic of stamps.
    stamps: String,
    calls: Arc<Calls>,
    _ends: EndsCalls,
    /// Under which tokens calls of the coordinator are under way.
    waits: Vec<(Token, usize)>,
    /// The certificates that the producers have: where there are newer ones, no transaction is begun any more.
    edition: Edition,
    /// When they were first seen to be outdated.
    outdated_at: Option<Instant>,
}

/// What calls of the coordinator came to.
#[derive(Default)]
struct Calls {
    answers: Mutex<Vec<Report>>,
    /// Rung by the producers, too.
    bell: Arc<Notify>,
    /// The session is being ended: they are not made again.
    over: AtomicBool,
}

impl Calls {
    fn answer(&self, token: Token, outcome: Outcome) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(Report { token, outcome });
        self.bell.notify_one();
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// Makes no call again once the session is dropped: a runtime that ends waits for the threads that make them.
struct EndsCalls(Arc<Calls>);

impl Drop for EndsCalls {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

impl Transacting {
    /// A session of producers whose transactions are initialized.
    pub(super) fn new(mut halves: [Streaming; IDS], stamps: String) -> Self {
        let (open, waits, calls) = (Vec::new(), Vec::new(), Arc::<Calls>::default());
        let ends = EndsCalls(Arc::clone(&calls));
        halves.iter().for_each(|half| half.ring_also(Arc::clone(&calls.bell)));
        // The session ends, and not one of its producers.
        let [edition, _] = halves.each_mut().map(|half| mem::take(&mut half.edition));
        let current = IDS - 1;
        Self { halves, current, open, stamps, calls, _ends: ends, waits, edition, outdated_at: None }
    }

    /// Waits for reports, whatever certificates there are.
    async fn reported(&mut self, into: &mut Vec<Report>) {
        let before = into.len();
        loop {
            self.collect(into);
            if into.len() > before {
                return;
            }
            self.calls.bell.notified().await;
        }
    }

    /// Moves what has arrived into `into`: what calls came to after what was reported before they did.
    fn collect(&mut self, into: &mut Vec<Report>) {
        let mut answers = self.calls.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = mem::take(&mut *answers);
        for half in &mut self.halves {
            half.purge_if_dead();
            half.collect(into);
        }
        for answer in answers {
            if let Some(at) = self.waits.iter().position(|(token, _)| *token == answer.token) {
                let (_, half) = self.waits.remove(at);
                let given_up = self.halves[half].give_up();
                into.extend(given_up);
            }
            into.push(answer);
        }
    }

    fn is_quiet(&self) -> bool {
        self.waits.is_empty() && self.halves.iter().all(|half| half.slots.taken == 0)
    }

    /// Makes a call of a producer's on a thread of its own.
    fn call(
        &mut self,
        token: Token,
        half: usize,
        call: impl FnOnce(&BaseProducer<Wire>, &Calls) -> Outcome + Send + 'static,
    ) {
        let Some(producer) =
            self.halves[half].producer.as_ref().map(|producer| Arc::clone(producer.shared()))
        else {
            self.calls.answer(token, Outcome::Uncertain);
            return;
        };
        self.waits.push((token, half));
        let calls = Arc::clone(&self.calls);
        drop(spawn_blocking(move || {
            let outcome = call(&producer, &calls);
            calls.answer(token, outcome);
        }));
    }
}

impl Session for Transacting {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        match self.halves[self.current].send(token, domain, envelope) {
            // Something in this transaction was refused, and that is about to be reported.
            Taken::Ended if self.halves[self.current].slots.taken > 0 => Taken::Full,
            taken => taken,
        }
    }

    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken {
        if self.edition.is_outdated() {
            return Taken::Ended;
        }
        let next = (self.current + 1) % IDS;
        let half = &mut self.halves[next];
        let Some(producer) = &half.producer else { return Taken::Ended };
        if let Err(error) = producer.begin_transaction() {
            tracing::debug!("{}", fault_of("beginning a transaction", error));
            return Taken::Ended;
        }
        let payload = stamp::text(stamp);
        let ticket = half.slots.take(token, payload.len());
        if let Err(error) = producer.send(stamp::record(&self.stamps, stamp::KEY, &payload, ticket)) {
            tracing::debug!("{}", fault_of("beginning a transaction", error));
            half.slots.free(ticket);
            return Taken::Ended;
        }
        self.current = next;
        self.open.push(next);
        Taken::Yes
    }

    fn commit(&mut self, token: Token) {
        if self.open.is_empty() {
            self.calls.answer(token, Outcome::Uncertain);
            return;
        }
        let half = self.open.remove(0);
        self.call(token, half, commit);
    }

    fn abort(&mut self, token: Token) {
        let Some(half) = self.open.pop() else {
            self.calls.answer(token, Outcome::Uncertain);
            return;
        };
        self.call(token, half, abort);
    }

    async fn reports(&mut self, into: &mut Vec<Report>) {
        let is_idle = self.open.is_empty() && self.is_quiet();
        let edition = self.edition.clone();
        if edition.is_outdated() {
            self.outdated_at.get_or_insert_with(Instant::now);
        }
        let outdated_at = self.outdated_at;
        let outdated = async move {
            edition.outdated().await;
            let at = outdated_at.unwrap_or_else(Instant::now);
            if !is_idle {
                // What is open is given time to end, and not for ever: it may be that no broker lets the former
                // certificates in. Later than this it is aborted.
                sleep_until(at + TRANSACTION_MAX).await;
            }
        };
        tokio::select! {
            biased;
            () = self.reported(into) => {}
            // Without a report: it is over.
            () = outdated => {}
        }
    }

    async fn abandon(mut self, within: Duration) -> Vec<Report> {
        let deadline = Instant::now() + within;
        let mut reports = Vec::new();
        self.calls.over.store(true, Ordering::Release);
        while !self.is_quiet() {
            if timeout_at(deadline, self.reported(&mut reports)).await.is_err() {
                break;
            }
        }
        self.collect(&mut reports);
        for half in self.halves {
            reports.extend(half.abandon(Duration::ZERO).await);
        }
        let waits = self.waits.into_iter();
        reports.extend(waits.map(|(token, _)| Report { token, outcome: Outcome::Uncertain }));
        reports
    }
}

/// Commits a producer's transaction; blocks.
fn commit(producer: &BaseProducer<Wire>, calls: &Calls) -> Outcome {
    until_taken(producer);
    loop {
        let error = match producer.commit_transaction(ANSWER) {
            Ok(()) => return Outcome::Acknowledged,
            Err(error) => error,
        };
        match &error {
            _ if is_passing(&error) && !calls.is_over() => {}
            KafkaError::Transaction(why) if why.txn_requires_abort() => {
                return Outcome::Refused(Box::new(fault_of("committing a transaction", error)));
            }
            // Whoever fenced us may have found it committed.
            _ => return Outcome::Uncertain,
        }
    }
}

/// Throws a producer's transaction away; blocks.
fn abort(producer: &BaseProducer<Wire>, calls: &Calls) -> Outcome {
    loop {
        let error = match producer.abort_transaction(ANSWER) {
            Ok(()) => break,
            Err(error) => error,
        };
        if !is_passing(&error) || calls.is_over() {
            return Outcome::Refused(Box::new(fault_of("aborting a transaction", error)));
        }
    }
    // What it gave up is reported by then.
    until_taken(producer);
    Outcome::Acknowledged
}

/// Waits for the reports of what is in flight to be taken: see [`TAKING`].
pub(crate) fn until_taken(producer: &BaseProducer<Wire>) {
    let since = std::time::Instant::now();
    while producer.in_flight_count() > 0 && since.elapsed() < TAKING {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Whether a call may be made again.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(why) => why.is_retriable(),
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}
