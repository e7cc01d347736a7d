use eventferry::Event;
use eventferry::events::registry;

#[derive(serde::Serialize, Event)]
#[event(topic = "orders.created", aggregate = "order", version = 2)]
struct OrderCreated {
    #[event(aggregate_id)]
    id: u64,
}

mod elsewhere {
    pub use eventferry::events;
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders.created", aggregate = "order", name = "OrderCreated", crate = "crate::elsewhere::events")]
struct OrderCreatedV1 {
    #[event(aggregate_id)]
    id: u64,
}

fn main() {
    let registry = registry![OrderCreated, OrderCreatedV1].build().unwrap();
    assert_eq!(registry.event_types().count(), 2);
}
