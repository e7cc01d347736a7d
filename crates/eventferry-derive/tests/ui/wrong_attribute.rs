use eventferry::Event;

#[derive(serde::Serialize, Event)]
#[event(topics = "orders", aggregate = "order")]
struct Unknown {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", topic = "orders", aggregate = "order")]
struct Twice {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
struct OnField {
    #[event(id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", content_type = "application/avro", name = "")]
struct NotJson {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", crate = "not a path")]
struct NoPath {
    #[event(aggregate_id)]
    id: u64,
}

fn main() {}
