//! The events of a shop.

use std::fmt;

use eventferry::events::Registry;
use eventferry::events::registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct OrderId(pub(crate) u64);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order-{}", self.0)
    }
}

/// An amount, in hundredths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Money {
    pub(crate) amount: u32,
    pub(crate) currency: String,
}

/// Somebody bought something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, eventferry::Event)]
#[event(topic = "orders.created", aggregate = "order", version = 2, schema)]
pub(crate) struct OrderCreated {
    #[event(aggregate_id)]
    pub(crate) id: OrderId,
    /// What it costs.
    pub(crate) total: Money,
    #[event(key)]
    pub(crate) customer: String,
    pub(crate) note: Option<String>,
}

/// The same as it was.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, eventferry::Event)]
#[event(topic = "orders.created", aggregate = "order", version = 1, name = "OrderCreated", schema)]
pub(crate) struct OrderCreatedV1 {
    #[event(aggregate_id)]
    pub(crate) id: OrderId,
    pub(crate) total: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, eventferry::Event)]
#[event(
    topic = "orders.paid",
    aggregate = "order",
    avro = r#"{"type": "record"}"#,
    protobuf = "message OrderPaid {}"
)]
#[event(content_type = "application/vnd.shop.order+json")]
pub(crate) struct OrderPaid {
    #[event(aggregate_id)]
    pub(crate) id: OrderId,
}

pub(crate) fn order() -> OrderCreated {
    let total = Money { amount: 700, currency: "EUR".into() };
    OrderCreated { id: OrderId(42), total, customer: "ada".into(), note: None }
}

pub(crate) fn shop() -> Registry {
    registry![OrderCreatedV1, OrderCreated, OrderPaid].build().unwrap()
}
