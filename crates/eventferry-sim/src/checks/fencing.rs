//! Promise 5: a relay that lost a lease moves nothing, and a running one sends nothing after its lease.

use eventferry_core::{Lease, Stamp};

use crate::agenda::Time;

/// A settlement has moved a position or parked events of a lane, which this owner holds now under this lease.
pub(crate) fn moved(relay: usize, lease: Lease, owner: Option<usize>, now: Lease) -> Option<String> {
    let owned = owner == Some(relay) && now == lease;
    (!owned).then(|| {
        format!(
            "r{relay} moved lane {} under epoch {}, but it is {owner:?}'s under epoch {}",
            lease.lane.0, lease.epoch, now.epoch
        )
    })
}

/// A settlement has changed parked events of a lane that was not its relay's.
pub(crate) fn changed(relay: usize, lease: Lease) -> Option<String> {
    let (lane, epoch) = (lease.lane.0, lease.epoch);
    Some(format!(
        "r{relay} changed parked events of lane {lane} under epoch {epoch}, which is not its any more"
    ))
}

/// An intent was written down for leases that its relay does not have.
pub(crate) fn intended(relay: usize, stamp: Stamp) -> Option<String> {
    Some(format!(
        "r{relay} wrote down what transaction {} settles in lanes that are not its any more",
        stamp.number
    ))
}

/// What was shipped was carried out, and the rest forgotten, for leases that nobody has who asked for it.
pub(crate) fn resolved(relay: usize) -> Option<String> {
    Some(format!("r{relay} had intents carried out and forgotten in lanes that are not its any more"))
}

/// A running relay hands an event to its client; the database has told it that its leases run until then.
pub(crate) fn sent(relay: usize, until: Time, now: Time) -> Option<String> {
    (now >= until).then(|| format!("r{relay} sends {} us after its lease ran out", now - until))
}
