use eventferry::Event;

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
enum Order {
    Created,
}

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
struct Tuple(#[event(aggregate_id)] u64);

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
struct Unit;

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
struct Generic<T> {
    #[event(aggregate_id)]
    id: u64,
    body: T,
}

fn main() {}
