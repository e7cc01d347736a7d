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

const SENDS: u32 = 2_000;
const ROUNDS: u32 = 50;

/// Allocations and nanoseconds of a sending, in the best of many rounds: others use the machine too.
async fn cost(traced: &Traced<Abyss>, row: &StoredEvent) -> (f64, f64) {
    let (mut allocations, mut nanos) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let mut session = traced.connect(Role::Main).await.unwrap();
        let (before, begun) = (ALLOCATIONS.with(Cell::get), Instant::now());
        for token in 0..SENDS {
            session.send(Token(token.into()), Domain(0), black_box(&Envelope::of(row)));
        }
        nanos = nanos.min(begun.elapsed().as_nanos() as f64 / f64::from(SENDS));
        allocations = allocations.min((ALLOCATIONS.with(Cell::get) - before) as f64 / f64::from(SENDS));
    }
    (allocations, nanos)
}

#[tokio::test]
async fn an_event_that_is_not_sampled_costs_no_allocation() {
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let (off, on) = (Traced::off(Abyss), Traced::new(Abyss).tracer_provider(&provider));
    let event = Event::new("t", ("order", 1)).header("tenant", "acme").header("event-type", "OrderCreated");
    let with = |flags: &str| {
        let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        event.clone().traceparent(parent)
    };
    let of = async |what: &str, traced: &Traced<Abyss>, event: Event| {
        let row = StoredEvent { message_id: MessageId([1; 16]), event, enqueued_at: Timestamp(0) };
        let (allocations, nanos) = cost(traced, &row).await;
        println!("{what}: {nanos:.1} ns and {allocations:.2} allocations a sending");
        allocations
    };
    for (what, event) in [("no trace", event.clone()), ("not sampled", with("00"))] {
        assert_eq!(of(&format!("{what}, off"), &off, event.clone()).await, 0.0);
        assert_eq!(of(&format!("{what}, on"), &on, event).await, 0.0);
    }
    assert!(of("sampled, on", &on, with("01")).await > 0.0, "the counter counts");
}
