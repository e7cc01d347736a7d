//! Events held against their schemas: at enqueue, and before they are sent.

use std::future::{Future, ready};
use std::sync::Mutex;

use eventferry::Event;
use eventferry::core::{
    Enqueue, EnqueueFault, EnqueueFaultKind, Intercepted, MessageId, NotSerialized, PublishFaultKind,
    Serialized, Serializer as _, StoredEvent, Timestamp,
};
use eventferry::events::Checks;

use crate::shop::{order, shop};

/// A database that says what it was asked for.
#[derive(Default)]
struct Asked(Mutex<usize>);

impl Enqueue<()> for Asked {
    fn enqueue(
        &self,
        (): &mut (),
        events: &[Event],
    ) -> impl Future<Output = Result<Vec<MessageId>, EnqueueFault>> + Send {
        *self.0.lock().unwrap() += 1;
        ready(Ok(events.iter().map(|_| MessageId([0; 16])).collect()))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn event(version: &str, payload: &str) -> Event {
    let event = Event::new("orders.created", ("order", 1)).header("event-version", version);
    event.payload(payload, "application/json")
}

const WRONG: &str =
    r#"{"id": 1, "total": {"amount": "sesame", "currency": "EUR"}, "customer": "a", "note": null}"#;

#[test]
fn the_database_is_asked_nothing_for_an_event_that_fails() {
    let outbox = Intercepted::new(Asked::default(), shop());
    assert!(block_on(outbox.enqueue(&mut (), &order())).is_ok());
    assert_eq!(*outbox.outbox().0.lock().unwrap(), 1);
    let fault = block_on(outbox.enqueue(&mut (), event("2", WRONG))).unwrap_err();
    assert_eq!(fault.kind(), EnqueueFaultKind::Refused);
    assert_eq!(
        fault.to_string(),
        "event for topic `orders.created`: `/total/amount` breaks a rule of version 2: type: integer"
    );
    let many = [order().try_into_event(), event("2", WRONG)];
    assert!(block_on(outbox.enqueue_many(&mut (), many)).is_err());
    assert_eq!(*outbox.outbox().0.lock().unwrap(), 1);
}

trait TryIntoEvent {
    fn try_into_event(self) -> Event;
}

impl TryIntoEvent for crate::shop::OrderCreated {
    fn try_into_event(self) -> Event {
        eventferry::events::TypedEvent::to_event(&self).unwrap()
    }
}

fn checked(checks: &Checks, event: Event) -> Result<Serialized, String> {
    let row = StoredEvent { message_id: MessageId([0; 16]), event, enqueued_at: Timestamp(0) };
    checks.serialize(&row).map_err(|fault| {
        let NotSerialized::Refused(fault) = fault else { panic!("it is to be learned") };
        assert_eq!((fault.kind(), fault.class()), (&PublishFaultKind::Rejected, Some("SchemaMismatch")));
        fault.message().to_owned()
    })
}

#[test]
fn what_does_not_match_is_refused_before_it_is_sent_and_what_does_is_left_as_it_is() {
    let checks = Checks::new(shop());
    assert_eq!(checked(&checks, order().try_into_event()), Ok(Serialized::default()));
    // Without the header it is version 1.
    let old =
        Event::new("orders.created", ("order", 1)).payload(r#"{"id": 1, "total": 2}"#, "application/json");
    assert_eq!(checked(&checks, old.clone()), Ok(Serialized::default()));
    // SQL may leave the content type out.
    let mut bare = old;
    bare.content_type = None;
    assert_eq!(checked(&checks, bare.clone()), Ok(Serialized::default()));
    bare.payload = Some(b"sesame".to_vec());
    for (event, says) in [
        (event("2", WRONG), "`/total/amount` breaks a rule of version 2: type: integer"),
        (event("1", "{\"id\": 1}"), "`/total` breaks a rule of version 1: required: it is missing"),
        (event("1", "[\"sesame\"]"), "the payload breaks a rule of version 1: type: object"),
        (event("2", "{\"sesame\""), "the payload is not JSON: EOF"),
        (
            event("3", "{}"),
            "no schema has version 3; known are 1, 2, and the header event-version says which",
        ),
        (event("sesame", "{}"), "event-version is no number"),
        (bare, "the payload is not JSON"),
    ] {
        let message = checked(&checks, event).unwrap_err();
        assert!(message.contains(says) && !message.contains("sesame"), "{message}");
    }
}

#[test]
fn what_no_schema_names_passes_unless_it_must_not() {
    let elsewhere = Event::new("others", ("order", 1)).payload("x", "text/plain");
    let avro = || Event::new("orders.created", ("order", 1)).payload([0, 1], "application/avro");
    let without = Event::new("orders.paid", ("order", 1)).payload("7", "application/json");
    let tombstone = Event::new("orders.created", ("order", 1));
    let lenient = Checks::new(shop());
    let strict = Checks::new(shop()).strict(true).strict_for("free", false);
    for (event, says) in [
        (elsewhere, Some("no schema names this topic")),
        (avro(), Some("the content type is not JSON")),
        (without, Some("its version has no JSON Schema")),
        (tombstone, None),
        (Event::new("free", ("order", 1)), None),
    ] {
        assert_eq!(checked(&lenient, event.clone()), Ok(Serialized::default()));
        match says {
            None => assert_eq!(checked(&strict, event), Ok(Serialized::default())),
            Some(says) => assert!(checked(&strict, event).unwrap_err().contains(says), "{says}"),
        }
    }
    let one = Checks::new(shop()).strict_for("orders.created", true);
    assert!(checked(&one, avro()).is_err());
}

#[test]
fn a_payload_can_be_checked_by_itself() {
    let mismatch = shop().check("orders.created", 2, WRONG.as_bytes()).unwrap_err();
    assert_eq!(mismatch.pointer(), Some("/total/amount"));
    assert_eq!(shop().check("others", 1, b"x"), Ok(()));
}
