//! The unit of ownership: a hash slice of aggregates.

use crate::sha256;

/// A hash slice of aggregates: at any time one relay at most may ship a lane's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

/// How many lanes an outbox has unless it was made with another number.
pub const LANES_DEFAULT: u16 = 64;

/// The most lanes an outbox can have.
pub const LANES_MAX: u16 = 1024;

impl Lane {
    /// The lane of an aggregate among `lanes` lanes: [`lane_hash`] modulo their number.
    ///
    /// `lanes` is 1 to [`LANES_MAX`]; 0 counts as 1.
    pub fn of(aggregate_type: &str, aggregate_id: &str, lanes: u16) -> Self {
        Self(lane_hash(aggregate_type, aggregate_id) % lanes.max(1))
    }
}

/// The lane hash: the first two bytes, big-endian, of SHA-256 over the aggregate's type in UTF-8, a zero byte, and
/// its id in UTF-8.
///
/// Part of the contract: a store may compute it in its own language, and it never changes between versions.
/// `lane_hash("order", "42")` is 18,682 in every one of them.
pub fn lane_hash(aggregate_type: &str, aggregate_id: &str) -> u16 {
    let digest = sha256::digest(&[aggregate_type.as_bytes(), &[0], aggregate_id.as_bytes()]);
    u16::from_be_bytes([digest[0], digest[1]])
}

/// Aggregates and their lane hash, for a store that computes it itself to hold its own against.
pub const LANE_HASH_VECTORS: [(&str, &str, u16); 6] = [
    ("order", "42", 18_682),
    ("order", "", 2_042),
    ("", "", 28_212),
    ("a", "b", 22_962),
    ("ab", "", 38_556),
    ("größe", "日本", 24_635),
];

/// A relay's right to a lane. Its epoch fences every former owner: it grows each time the lane changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// The lane that is held.
    pub lane: Lane,
    /// How often the lane had changed hands when this lease was given.
    pub epoch: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_hold() {
        for (aggregate_type, aggregate_id, hash) in LANE_HASH_VECTORS {
            assert_eq!(lane_hash(aggregate_type, aggregate_id), hash, "{aggregate_type:?} {aggregate_id:?}");
        }
    }

    #[test]
    fn a_lane_is_below_the_number_of_lanes() {
        for lanes in [0, 1, 3, 64, LANES_MAX] {
            assert!(Lane::of("order", "42", lanes).0 < lanes.max(1));
        }
    }
}
