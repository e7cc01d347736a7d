use eventferry::Event;

struct Money(u32);

#[derive(serde::Serialize, Event)]
#[event(topic = "orders", aggregate = "order")]
struct OrderCreated {
    #[event(aggregate_id)]
    id: u64,
    total: Money,
}

#[derive(Event)]
#[event(topic = "orders", aggregate = "order")]
struct OrderPaid {
    #[event(aggregate_id)]
    id: u64,
}

fn main() {}
