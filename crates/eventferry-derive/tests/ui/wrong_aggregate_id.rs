use eventferry::Event;

#[derive(serde::Serialize)]
struct OrderId(u64);

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
struct OrderCreated {
    #[event(aggregate_id)]
    id: OrderId,
}

fn main() {}
