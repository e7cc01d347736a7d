//! The sending of a message.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventferry_core::parked::Death;
use eventferry_core::publisher::{
    Abilities, Domain, Outcome, Pipeline, Publisher, Refusal, Report, Role, Route, Session, Taken, Token,
};
use eventferry_core::{
    DeadLetter, Envelope, Event, MessageId, OutboxId, PublishFault, PublishFaultKind, Stamp, StoredEvent,
    Timestamp,
};
use eventferry_otel::{Traced, TracedSession};
use opentelemetry::trace::{SpanKind, Status};

use crate::spans::{Spans, attribute};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A broker that answers what the test says.
#[derive(Clone, Default)]
struct Broker(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: VecDeque<Report>,
    calls: Vec<&'static str>,
    is_full: bool,
}

impl Broker {
    fn answers(&self, token: u64, outcome: Outcome) {
        self.0.lock().unwrap().answers.push_back(Report { token: Token(token), outcome });
    }

    fn called(&self, call: &'static str) {
        self.0.lock().unwrap().calls.push(call);
    }
}

impl Publisher for Broker {
    type Session = Broker;

    fn abilities(&self) -> Abilities {
        Abilities {
            pipeline: Pipeline::Gapless,
            first_alone: None,
            refusal: Refusal::PerRecord,
            durable_ack: true,
            transactions: NonZeroU32::new(1),
        }
    }

    async fn connect(&self, _: Role) -> Result<Broker, PublishFault> {
        Ok(self.clone())
    }

    async fn take_over(&self, _: &OutboxId) -> Result<(Broker, Option<Stamp>), PublishFault> {
        Ok((self.clone(), None))
    }

    async fn learn(&self, _: &str) -> Result<(), PublishFault> {
        self.called("learn");
        Ok(())
    }

    fn route(&self, _: &Envelope<'_>) -> Route {
        Route::To(Domain(0))
    }
}

impl Session for Broker {
    fn send(&mut self, _: Token, _: Domain, _: &Envelope<'_>) -> Taken {
        if self.0.lock().unwrap().is_full { Taken::Full } else { Taken::Yes }
    }

    fn begin(&mut self, _: Token, _: Stamp) -> Taken {
        self.called("begin");
        Taken::Yes
    }

    fn commit(&mut self, _: Token) {
        self.called("commit");
    }

    fn abort(&mut self, _: Token) {
        self.called("abort");
    }

    async fn reports(&mut self, into: &mut Vec<Report>) {
        into.extend(self.0.lock().unwrap().answers.drain(..));
    }

    async fn abandon(self, _: Duration) -> Vec<Report> {
        self.0.lock().unwrap().answers.drain(..).collect()
    }
}

fn stored(event: Event) -> StoredEvent {
    StoredEvent { message_id: MessageId([7; 16]), event, enqueued_at: Timestamp(0) }
}

fn event() -> Event {
    let event = Event::new("orders.created", ("order", 42)).payload("{}", "application/json");
    event.traceparent(PARENT).header("tracestate", "a=1")
}

async fn session(broker: &Broker, spans: &Spans) -> TracedSession<Broker> {
    Traced::new(broker.clone()).tracer_provider(&spans.provider).connect(Role::Main).await.unwrap()
}

fn send(session: &mut TracedSession<Broker>, token: u64, event: Event) -> Taken {
    let row = stored(event);
    session.send(Token(token), Domain(0), &Envelope::of(&row))
}

#[tokio::test]
async fn a_sending_is_a_span_until_the_broker_answers() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let mut session = session(&broker, &spans).await;
    send(&mut session, 1, event().correlation_id("story").partition(3));
    assert!(spans.ended().is_empty(), "it is in flight");
    broker.answers(1, Outcome::Acknowledged);
    let mut reports = Vec::new();
    session.reports(&mut reports).await;
    assert_eq!(reports.len(), 1);

    let sent = spans.one();
    assert_eq!((sent.name.as_ref(), sent.span_kind.clone()), ("send orders.created", SpanKind::Client));
    assert_eq!(sent.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(sent.parent_span_id.to_string(), "00f067aa0ba902b7");
    let link = &sent.links.links[0].span_context;
    assert_eq!(link.span_id().to_string(), "00f067aa0ba902b7");
    assert_eq!(link.trace_state().header(), "a=1");
    assert_eq!(sent.status, Status::Unset);
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "send"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "orders.created"),
        ("messaging.destination.partition.id", "3"),
        ("messaging.message.id", &MessageId([7; 16]).to_string()),
        ("messaging.message.conversation_id", "story"),
        ("messaging.kafka.message.key", "42"),
    ] {
        assert_eq!(attribute(&sent, name).as_deref(), Some(value), "{name}");
    }
    for name in ["error.type", "messaging.kafka.message.tombstone", "messaging.batch.message_count"] {
        assert_eq!(attribute(&sent, name), None, "{name}");
    }
}

#[tokio::test]
async fn a_sending_that_failed_says_how() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let mut session = session(&broker, &spans).await;
    let fault = |kind| PublishFault::new(kind, "too large for the topic");
    let refused = |fault| Outcome::Refused(Box::new(fault));
    let outcomes = [
        (refused(fault(PublishFaultKind::Rejected).of_class("MessageSizeTooLarge")), "MessageSizeTooLarge"),
        (refused(fault(PublishFaultKind::Unavailable)), "unavailable"),
        (refused(fault(PublishFaultKind::Unknown)), "_OTHER"),
        (Outcome::Uncertain, "uncertain"),
    ];
    let (outcomes, classes): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
    for (token, outcome) in (1..).zip(outcomes) {
        send(&mut session, token, event());
        broker.answers(token, outcome);
    }
    session.reports(&mut Vec::new()).await;
    let ended = spans.ended();
    let told: Vec<_> = ended.iter().map(|span| attribute(span, "error.type").unwrap()).collect();
    assert_eq!(told, classes);
    assert_eq!(ended[0].status, Status::error("too large for the topic"));
    assert!(ended.iter().all(|span| matches!(span.status, Status::Error { .. })));
}

#[tokio::test]
async fn what_is_in_flight_when_a_session_ends_has_an_outcome_too() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let mut ending = session(&broker, &spans).await;
    send(&mut ending, 1, event());
    broker.answers(1, Outcome::Acknowledged);
    assert_eq!(ending.abandon(Duration::ZERO).await.len(), 1);
    assert_eq!(spans.one().status, Status::Unset);
    let mut dropped = session(&broker, &spans).await;
    send(&mut dropped, 2, event());
    drop(dropped);
    assert_eq!(attribute(&spans.ended()[1], "error.type").as_deref(), Some("uncertain"));
}

#[tokio::test]
async fn an_event_that_is_not_sampled_has_no_span() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let mut session = session(&broker, &spans).await;
    let plain = Event::new("t", ("order", 1));
    let not_sampled = PARENT.replace("-01", "-00");
    let twice = plain.clone().traceparent(PARENT).traceparent(PARENT);
    let events = [plain.clone(), plain.clone().traceparent(not_sampled), plain.traceparent("no"), twice];
    for (token, event) in (1..).zip(events) {
        send(&mut session, token, event);
        broker.answers(token, Outcome::Acknowledged);
    }
    session.reports(&mut Vec::new()).await;
    drop(session);
    assert!(spans.ended().is_empty());
}

#[tokio::test]
async fn what_a_session_did_not_take_has_no_span() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let mut session = session(&broker, &spans).await;
    broker.0.lock().unwrap().is_full = true;
    assert_eq!(send(&mut session, 1, event()), Taken::Full);
    drop(session);
    assert!(spans.ended().is_empty());
}

#[tokio::test]
async fn a_dead_letter_has_a_span_to_its_own_topic() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let mut session = session(&broker, &spans).await;
    let row = stored(event());
    let death = Death { class: "c".into(), message: "m".into(), failed_at: Timestamp(0) };
    let letter = DeadLetter { topic: "orders.dlq", death: &death, attempts: 5, detail: None };
    session.send(Token(1), Domain(0), &Envelope::of_dead(&row, letter));
    broker.answers(1, Outcome::Acknowledged);
    session.reports(&mut Vec::new()).await;
    assert_eq!(spans.one().name, "send orders.dlq");
    assert_eq!(spans.one().parent_span_id.to_string(), "00f067aa0ba902b7");
}

#[tokio::test]
async fn a_tombstone_and_a_key_are_told_as_kafkas_conventions_ask() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let event = || Event::new("t", ("order", 42)).traceparent(PARENT);
    let mut ended = 0;
    let mut sent = async |traced: Traced<Broker>, event: Event| {
        let traced = traced.tracer_provider(&spans.provider);
        let mut session = traced.connect(Role::Main).await.unwrap();
        send(&mut session, 1, event);
        drop(session);
        ended += 1;
        let span = spans.ended()[ended - 1].clone();
        let of = |name: &str| attribute(&span, name);
        (of("messaging.kafka.message.key"), of("messaging.kafka.message.tombstone"), of("messaging.system"))
    };
    let some = |text: &str| Some(text.to_owned());
    let kafka = || Traced::new(broker.clone());
    assert_eq!(sent(kafka(), event()).await, (some("42"), some("true"), some("kafka")));
    assert_eq!(sent(kafka(), event().key([255])).await.0, None);
    assert_eq!(sent(kafka(), event().key("k".repeat(257))).await.0, None);
    assert_eq!(sent(kafka().without_keys(), event()).await.0, None);
    assert_eq!(sent(kafka().system("nats"), event()).await, (None, None, some("nats")));
}

#[tokio::test]
async fn transactions_pass_through_and_an_aborted_sending_is_no_success() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let traced = Traced::new(broker.clone()).tracer_provider(&spans.provider);
    assert_eq!(traced.abilities(), broker.abilities());
    let outbox = OutboxId("outbox".into());
    let (mut session, _) = traced.take_over(&outbox).await.unwrap();
    let stamp = Stamp { number: 1, nonce: 0 };
    assert_eq!(session.begin(Token(0), stamp), Taken::Yes);
    send(&mut session, 1, event());
    session.abort(Token(0));
    broker.answers(1, Outcome::Uncertain);
    session.reports(&mut Vec::new()).await;
    session.commit(Token(0));
    assert_eq!(broker.0.lock().unwrap().calls, ["begin", "abort", "commit"]);
    assert_eq!(attribute(&spans.one(), "error.type").as_deref(), Some("uncertain"));
}

#[tokio::test]
async fn a_publisher_whose_tracing_is_off_makes_no_spans() {
    let (broker, spans) = (Broker::default(), Spans::new());
    let traced = Traced::off(broker.clone()).tracer_provider(&spans.provider).system("nats").without_keys();
    let mut session = traced.connect(Role::Main).await.unwrap();
    send(&mut session, 1, event());
    drop(session);
    assert!(spans.ended().is_empty());
}
