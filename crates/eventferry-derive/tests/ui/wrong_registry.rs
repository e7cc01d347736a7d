use eventferry::Event;
use eventferry::events::registry;

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", version = 12)]
struct OrderCreated {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", version = 12)]
struct OrderPaid {
    #[event(aggregate_id)]
    id: u64,
}

fn main() {
    let _ = registry![OrderCreated, OrderPaid];
}
