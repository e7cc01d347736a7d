use eventferry::Event;

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", schema)]
struct OrderCreated {
    #[event(aggregate_id)]
    id: u64,
}

fn main() {}
