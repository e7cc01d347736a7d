use eventferry::Event;

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
struct NoId {
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
struct TwoIds {
    #[event(aggregate_id)]
    id: u64,
    #[event(aggregate_id)]
    other: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "")]
struct NoKind {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders")]
struct Missing {
    #[event(aggregate_id)]
    id: u64,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order", aggregate_id)]
struct Misplaced {
    id: u64,
}

fn main() {}
