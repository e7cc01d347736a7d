//! What a lane has parked: which aggregates wait, and which of their parked events are in hand again.

use alloc::collections::BTreeMap;

use super::entry::AggregateKey;

/// A lane's parked events.
#[derive(Default)]
pub(super) struct ParkedBook {
    aggregates: BTreeMap<AggregateKey, HeldAggregate>,
    /// The parked events that are in hand or about which something is to be told, by their ordinals: asked for again
    /// they are not wanted.
    pub(super) loaded: BTreeMap<i64, Loaded>,
    /// How many are unsettled.
    pub(super) records: usize,
    /// About how many bytes those take.
    pub(super) bytes: u64,
    /// Some of them left whose size was not known.
    guessed: bool,
    /// What the ledger has listed so far, while the bytes are counted anew, less what was settled meanwhile.
    count: Option<i64>,
}

/// An aggregate of which something is parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldAggregate {
    /// Its unsettled events in the ledger.
    pub(super) parked: u32,
    /// Those of them that are in hand to be sent.
    pub(super) in_hand: u32,
    /// Records of the log that are to be parked.
    pub(super) parking: u32,
    /// Parked events about which something is to be told that keeps what follows waiting.
    pub(super) telling: u32,
    /// What this round of asking or an earlier one found of it is not wanted: an event before it has left the hand.
    pub(super) barred: u64,
}

/// What a parked event is doing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// In hand, as this entry.
    InHand(u32),
    /// What became of it is to be told, with the words of this entry's refusal if it was refused.
    Told(Option<u32>),
}

impl HeldAggregate {
    /// Whether a record of the log may follow: everything parked before it is in hand, so that it comes after it.
    fn lets_pass(self) -> bool {
        self.parked == self.in_hand && self.parking == 0
    }

    /// Whether the ledger has some of it that are not in hand.
    pub(super) fn has_more(self) -> bool {
        self.parked > self.in_hand
    }

    fn is_free(self) -> bool {
        self.parked == 0 && self.parking == 0 && self.telling == 0
    }
}

impl ParkedBook {
    /// Whether a record of the log has to be parked behind what is parked of its aggregate.
    pub(super) fn holds(&self, key: AggregateKey) -> bool {
        self.aggregates.get(&key).is_some_and(|held| !held.lets_pass())
    }

    /// Whether an event found in this round of asking may be taken in hand.
    pub(super) fn takes(&self, key: AggregateKey, round: u64) -> bool {
        self.aggregates.get(&key).is_some_and(|held| held.telling == 0 && held.barred < round)
    }

    pub(super) fn get(&self, key: AggregateKey) -> HeldAggregate {
        self.aggregates.get(&key).copied().unwrap_or_default()
    }

    /// Changes an aggregate's counts.
    pub(super) fn update(&mut self, key: AggregateKey, change: impl FnOnce(&mut HeldAggregate)) {
        let held = self.aggregates.entry(key).or_default();
        change(held);
        if held.is_free() {
            self.aggregates.remove(&key);
        }
    }

    /// An event is in the ledger.
    pub(super) fn add(&mut self, key: AggregateKey, size_bytes: u64) {
        self.records += 1;
        self.bytes += size_bytes;
        self.update(key, |held| held.parked += 1);
    }

    /// An event is settled; `None`: its size is not known, and is taken for the average.
    pub(super) fn settle(&mut self, key: AggregateKey, size_bytes: Option<u64>) {
        let average = self.bytes / self.records.max(1) as u64;
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size_bytes.unwrap_or(average));
        self.guessed |= size_bytes.is_none();
        if self.records == 0 {
            (self.bytes, self.guessed) = (0, false);
        }
        if let (Some(count), Some(size_bytes)) = (&mut self.count, size_bytes) {
            *count -= size_bytes as i64;
        }
        self.update(key, |held| held.parked = held.parked.saturating_sub(1));
    }

    /// Whether its bytes are a guess that reaches this bound: one that is too high would keep its lane full for ever.
    pub(super) fn wants_count(&self, bytes_max: u64) -> bool {
        self.guessed && self.bytes >= bytes_max && self.count.is_none()
    }

    /// The ledger is going to list all its events, for their sizes.
    pub(super) fn begin_count(&mut self) {
        self.count = Some(0);
    }

    pub(super) fn is_counting(&self) -> bool {
        self.count.is_some()
    }

    pub(super) fn count(&mut self, size_bytes: u64) {
        if let Some(count) = &mut self.count {
            *count += size_bytes as i64;
        }
    }

    pub(super) fn end_count(&mut self) {
        if let Some(count) = self.count.take() {
            (self.bytes, self.guessed) = (u64::try_from(count).unwrap_or(0), false);
        }
    }

    /// An event leaves the hand unsettled: what was found behind it has to leave too.
    pub(super) fn unhand(&mut self, key: AggregateKey, round: u64) {
        self.update(key, |held| {
            held.in_hand = held.in_hand.saturating_sub(1);
            held.barred = round;
        });
    }
}
