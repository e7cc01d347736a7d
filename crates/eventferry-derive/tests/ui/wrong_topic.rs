use eventferry::Event;

#[derive(serde::Serialize, Event)]
#[event(topic = "", aggregate = "order")]
struct Empty {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders created", aggregate = "order")]
struct Spaced {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "..", aggregate = "order")]
struct Dots {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(
    topic = "o123456789o123456789o123456789o123456789o123456789o123456789o123456789o123456789o123456789\
        o123456789o123456789o123456789o123456789o123456789o123456789o123456789o123456789o123456789\
        o123456789o123456789o123456789o123456789o123456789o123456789o123456789",
    aggregate = "order"
)]
struct Long {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(aggregate = "order")]
struct Missing {
    #[event(aggregate_id)]
    id: u64,
}

fn main() {}
