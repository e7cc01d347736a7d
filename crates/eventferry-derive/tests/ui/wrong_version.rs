use eventferry::Event;

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", version = 0)]
struct Zero {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", version = "2")]
struct Text {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", version = 4294967296)]
struct Large {
    #[event(aggregate_id)]
    id: u64,
}

fn main() {}
