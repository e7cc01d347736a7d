//! What the store and the broker of these tests can do, if a test does not say otherwise.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::publisher::{Abilities, Pipeline, Refusal};
use crate::store::{Capabilities, Keeps, Order, Ownership, Stall};

/// What a log with leases per lane can do.
pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        order: Order::Strict,
        keeps: Keeps::Log,
        ownership: Ownership::PerLane,
        stall: Stall::None,
        savepoints: true,
        doorbell: true,
        events_per_transaction_max: u64::MAX,
        in_table: true,
        payload_bytes_max: 1 << 20,
        settle_items_max: 1000,
        intents: true,
    }
}

/// What a broker can do that keeps order by itself, and has transactions.
pub(super) fn kafka_like() -> Abilities {
    Abilities {
        pipeline: Pipeline::Gapless,
        first_alone: Some(Duration::from_secs(3600)),
        refusal: Refusal::PerBatch,
        durable_ack: true,
        transactions: NonZeroU32::new(2),
    }
}
