//! The model's session: sends, reports, ends.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use eventferry_core::publisher::{Domain, Outcome, Pipeline, Report, Role, Session, Taken, Token};
use eventferry_core::{Envelope, OutboxId, PublishFault, PublishFaultKind, Stamp};

use super::Shared;
use super::broker::{Broker, Message};
use super::coordinator::Fenced;
use super::flaw::Flaw;
use crate::publisher::subject::Delivered;

/// How many messages a session has in flight at most.
const IN_FLIGHT_MAX: usize = 64;

/// The model's session.
#[derive(Debug)]
pub struct ModelSession {
    broker: Shared,
    /// Whether nothing is written after a refusal.
    gapless: bool,
    in_flight: VecDeque<(Token, Task)>,
    /// Whose transactions its messages travel in, and under which number it took over.
    transactions: Option<(OutboxId, u64)>,
    /// A message of the transaction begun last was refused.
    doomed: bool,
    ended: bool,
    /// Only a flawed model looks at it.
    last: Option<Token>,
    ended_all: u64,
}

/// What a session was asked to do.
#[derive(Debug)]
enum Task {
    Send(Message),
    Begin(Stamp),
    Commit,
    Abort,
}

impl ModelSession {
    pub(super) fn new(broker: Shared, role: Role, pipeline: Pipeline) -> Self {
        let gapless = role == Role::Main && pipeline == Pipeline::Gapless;
        let ended_all = broker.lock().ended_all;
        let (in_flight, transactions, doomed) = (VecDeque::new(), None, false);
        Self { broker, gapless, in_flight, transactions, doomed, ended: false, last: None, ended_all }
    }

    /// A session whose messages travel in transactions.
    pub(super) fn of_transactions(self, outbox: &OutboxId, instance: u64) -> Self {
        Self { transactions: Some((outbox.clone(), instance)), ..self }
    }

    /// Lets the broker have what is in flight, and adds what it answers.
    fn deliver(&mut self, into: &mut Vec<Report>) {
        let shared = self.broker.clone();
        let mut broker = shared.lock();
        let neighbours_suffer = broker.has(Flaw::RefusesNeighbours)
            && self
                .in_flight
                .iter()
                .any(|(_, task)| matches!(task, Task::Send(message) if broker.refuses(message)));
        if broker.has(Flaw::Reorders) {
            self.in_flight.make_contiguous().reverse();
        }
        if broker.ended_all > self.ended_all {
            let lost = self.in_flight.drain(..);
            into.extend(lost.map(|(token, _)| Report { token, outcome: Outcome::Uncertain }));
            return;
        }
        let first = into.len();
        while let Some((token, task)) = self.in_flight.pop_front() {
            let outcome = match (task, self.transactions.clone()) {
                (Task::Send(message), None) => self.outcome(&mut broker, message, neighbours_suffer),
                (task, Some((outbox, instance))) => self.transact(&mut broker, &outbox, instance, task),
                (_, None) => Outcome::Uncertain,
            };
            self.last = Some(token);
            into.push(Report { token, outcome });
        }
        if broker.has(Flaw::ReportsTwice)
            && let Some(Report { token, .. }) = into.get(first)
        {
            let token = *token;
            into.push(Report { token, outcome: Outcome::Acknowledged });
        }
        if broker.has(Flaw::LosesReports) && into.len() > first + 1 {
            into.pop();
        }
    }

    /// Does what belongs to a transaction.
    fn transact(&mut self, broker: &mut Broker, outbox: &OutboxId, instance: u64, task: Task) -> Outcome {
        let done = match task {
            Task::Send(_) if self.doomed => return Outcome::Uncertain,
            Task::Send(message) if broker.refuses(&message) => {
                self.doomed = true;
                return too_large();
            }
            Task::Send(message) => broker.write_into(outbox, instance, message),
            Task::Begin(stamp) => broker.begin(outbox, instance, stamp),
            Task::Commit => broker.commit(outbox, instance),
            Task::Abort => {
                (self.doomed, self.ended) = (false, broker.has(Flaw::AbortEndsTheSession));
                broker.abort(outbox, instance)
            }
        };
        match done {
            Ok(()) => Outcome::Acknowledged,
            Err(Fenced) => {
                self.ended = true;
                let words = "another session has taken over";
                Outcome::Refused(Box::new(PublishFault::new(PublishFaultKind::Fenced, words)))
            }
        }
    }

    fn outcome(&mut self, broker: &mut Broker, message: Message, neighbours_suffer: bool) -> Outcome {
        if self.ended && self.gapless && !broker.has(Flaw::WritesOnAfterRefusal) {
            return Outcome::Uncertain;
        }
        if !broker.refuses(&message) && !neighbours_suffer {
            broker.write(message);
            return Outcome::Acknowledged;
        }
        if broker.has(Flaw::RefusesTheWritten) {
            broker.write(message);
        }
        self.ended |= self.gapless && !broker.has(Flaw::TakesAfterTheEnd);
        if broker.has(Flaw::SaysUncertain) {
            return Outcome::Uncertain;
        }
        too_large()
    }
}

fn too_large() -> Outcome {
    let fault = PublishFault::new(PublishFaultKind::Rejected, "the message is over the topic's limit");
    Outcome::Refused(Box::new(fault.of_class("MessageSizeTooLarge")))
}

impl Session for ModelSession {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        let broker = self.broker.lock();
        if self.ended {
            return Taken::Ended;
        }
        let message = message(&broker, domain, envelope);
        let is_full = self.in_flight.len() >= IN_FLIGHT_MAX;
        if is_full && !broker.has(Flaw::FullTakesIt) {
            return Taken::Full;
        }
        self.in_flight.push_back((token, Task::Send(message)));
        if is_full { Taken::Full } else { Taken::Yes }
    }

    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken {
        if self.ended || self.transactions.is_none() {
            return Taken::Ended;
        }
        self.in_flight.push_back((token, Task::Begin(stamp)));
        Taken::Yes
    }

    fn commit(&mut self, token: Token) {
        self.in_flight.push_back((token, Task::Commit));
    }

    fn abort(&mut self, token: Token) {
        self.in_flight.push_back((token, Task::Abort));
    }

    async fn reports(&mut self, into: &mut Vec<Report>) {
        if self.in_flight.is_empty() {
            pending::<()>().await;
        }
        let mut early = Vec::new();
        if self.broker.lock().has(Flaw::DroppedWaitLoses) {
            self.deliver(&mut early);
        }
        // A broker takes its time.
        let mut polled = false;
        poll_fn(|context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.deliver(into);
        into.append(&mut early);
    }

    async fn abandon(mut self, within: Duration) -> Vec<Report> {
        let mut reports = Vec::new();
        let flaw = self.broker.lock().flaw;
        if !within.is_zero() && flaw != Some(Flaw::AbandonsAtOnce) {
            self.deliver(&mut reports);
        }
        // What was next on its way may have arrived, unheard of.
        let rest = std::mem::take(&mut self.in_flight);
        let mut broker = self.broker.lock();
        for (nth, (token, task)) in rest.into_iter().enumerate() {
            match (nth, task) {
                // Of transactions nothing is written that was not committed.
                (_, _) if self.transactions.is_some() => {}
                (0, Task::Send(message)) if !broker.refuses(&message) && !self.ended => broker.write(message),
                (_, Task::Send(message)) if flaw == Some(Flaw::AbandonLingers) => broker.linger([message]),
                _ => {}
            }
            if flaw != Some(Flaw::AbandonForgets) {
                reports.push(Report { token, outcome: Outcome::Uncertain });
            }
        }
        if flaw == Some(Flaw::AbandonRepeats)
            && let Some(token) = self.last
        {
            reports.push(Report { token, outcome: Outcome::Uncertain });
        }
        if flaw == Some(Flaw::AbandonEndsAll) {
            broker.ended_all += 1;
        }
        reports
    }
}

/// An envelope as a consumer will read it.
fn message(broker: &Broker, domain: Domain, envelope: &Envelope<'_>) -> Message {
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    envelope.headers(|name, value| headers.push((name.into(), value.into())));
    if broker.has(Flaw::HeadersAreAMap) {
        let all = std::mem::take(&mut headers);
        for (name, value) in all {
            match headers.iter_mut().find(|(kept, _)| *kept == name) {
                Some((_, kept)) => *kept = value,
                None => headers.push((name, value)),
            }
        }
    }
    if broker.has(Flaw::HeadersAreText) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_bytes();
        headers.iter_mut().for_each(|(_, value)| *value = text(value));
    }
    if broker.has(Flaw::HeadersEndAtTen) {
        headers.truncate(10);
    }
    let mut payload = envelope.payload().map(<[u8]>::to_vec);
    if broker.has(Flaw::TombstoneIsEmpty) {
        payload = Some(payload.unwrap_or_default());
    }
    let stamps = broker.has(Flaw::StampsItsOwnTime);
    let delivered = Delivered {
        partition: i32::try_from(domain.0 & 0xffff_ffff).unwrap_or(0),
        key: Some(envelope.key().to_vec()),
        payload,
        headers,
        millis: Some(if stamps { 1_700_000_000_000 } else { envelope.timestamp().millis() }),
    };
    Message { topic: envelope.topic().into(), delivered }
}
