//! What tracing costs an event that is not sampled: no allocation, and next to no time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use eventferry_core::publisher::{
    Abilities, Domain, Pipeline, Publisher, Refusal, Report, Role, Route, Session, Taken, Token,
};
use eventferry_core::{Envelope, Event, MessageId, OutboxId, PublishFault, Stamp, StoredEvent, Timestamp};
use eventferry_otel::Traced;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

#[expect(unsafe_code, reason = "an allocator that counts is an allocator")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A broker that takes everything and answers nothing.
struct Abyss;

impl Publisher for Abyss {
    type Session = Abyss;

    fn abilities(&self) -> Abilities {
        Abilities {
            pipeline: Pipeline::Gapless,
            first_alone: None,
            refusal: Refusal::PerRecord,
            durable_ack: true,
            transactions: None,
        }
    }

    async fn connect(&self, _: Role) -> Result<Abyss, PublishFault> {
        Ok(Abyss)
    }

    async fn take_over(&self, _: &OutboxId) -> Result<(Abyss, Option<Stamp>), PublishFault> {
        Ok((Abyss, None))
    }

    async fn learn(&self, _: &str) -> Result<(), PublishFault> {
        Ok(())
    }

    fn route(&self, _: &Envelope<'_>) -> Route {
        Route::To(Domain(0))
    }
}

impl Session for Abyss {
    fn send(&mut self, token: Token, _: Domain, envelope: &Envelope<'_>) -> Taken {
        black_box((token, envelope.payload()));
        Taken::Yes
    }

    fn begin(&mut self, _: Token, _: Stamp) -> Taken {
        Taken::Yes
    }

    fn commit(&mut self, _: Token) {}

    fn abort(&mut self, _: Token) {}

    async fn reports(&mut self, _: &mut Vec<Report>) {}

    async fn abandon(self, _: Duration) -> Vec<Report> {
        Vec::new()
    }
}

const SENDS: u32 = 100_000;

/// Allocations and time of a sending.
fn cost(session: &mut impl Session, row: &StoredEvent) -> (f64, f64) {
    let (before, begun) = (ALLOCATIONS.with(Cell::get), Instant::now());
    for token in 0..SENDS {
        session.send(Token(token.into()), Domain(0), black_box(&Envelope::of(row)));
    }
    let nanos = begun.elapsed().as_nanos() as f64 / f64::from(SENDS);
    ((ALLOCATIONS.with(Cell::get) - before) as f64 / f64::from(SENDS), nanos)
}

#[tokio::test]
async fn an_event_that_is_not_sampled_costs_no_allocation() {
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let session = async |traced: Traced<Abyss>| traced.connect(Role::Main).await.unwrap();
    let mut plain = Abyss;
    let mut off = session(Traced::off(Abyss)).await;
    let mut on = session(Traced::new(Abyss).tracer_provider(&provider)).await;
    let event = Event::new("t", ("order", 1)).header("tenant", "acme").header("event-type", "OrderCreated");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";
    for (what, event) in [
        ("two headers, no trace", event.clone()),
        ("a trace, not sampled", event.clone().traceparent(format!("{parent}0"))),
    ] {
        let row = StoredEvent { message_id: MessageId([1; 16]), event, enqueued_at: Timestamp(0) };
        for (who, (allocations, nanos)) in
            [("plain", cost(&mut plain, &row)), ("off", cost(&mut off, &row)), ("on", cost(&mut on, &row))]
        {
            println!("{what}, {who}: {nanos:.1} ns and {allocations} allocations a sending");
            assert_eq!(allocations, 0.0, "{what}, {who}");
        }
    }
    let row = StoredEvent {
        message_id: MessageId([1; 16]),
        event: event.traceparent(format!("{parent}1")),
        enqueued_at: Timestamp(0),
    };
    let (allocations, nanos) = cost(&mut on, &row);
    println!("sampled: {nanos:.1} ns and {allocations} allocations a sending");
    assert!(allocations > 0.0, "the counter counts");
}
