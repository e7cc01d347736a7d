//! Exactly-once: the end of a transaction reaches partitions one by one, and what must not be read before it waits.

use alloc::vec::Vec;

use super::Core;
use super::lane::LanePhase;

impl<M: Clone> Core<M> {
    /// Whether a record waits for all partitions to know of a transaction that is committed.
    pub(super) fn somebody_waits_for_the_end(&self) -> bool {
        let Some(transactions) = &self.transactions else { return false };
        if transactions.ending.is_some() {
            return false;
        }
        if self.lanes.values().any(|lane| lane.phase == LanePhase::Draining) {
            return !self.all_is_readable();
        }
        if self.entries.len() == 0 {
            return false;
        }
        let mut aggregates = transactions.unfinished.iter().flat_map(|(_, aggregates)| aggregates);
        aggregates.any(|number| self.aggregates.is_waited_for(*number))
    }

    /// Whether the transaction that is filling waits for no company: a record waits for its end, or for it to show the
    /// end of one before.
    pub(super) fn hurries(&self) -> bool {
        let filling = self.transactions.as_ref().and_then(|transactions| transactions.filling.as_ref());
        let members = filling.iter().flat_map(|filling| &filling.members);
        let mut indices = members.filter_map(|token| self.entries.find(*token));
        indices.any(|index| self.aggregates.is_waited_for(self.entries[index].aggregate_number))
            || self.somebody_waits_for_the_end()
    }

    /// Whether all partitions know of what is committed: before that lanes are not handed over, for their next owner
    /// may send without transactions, and be read first where the end of one has not come yet.
    pub(super) fn all_is_readable(&self) -> bool {
        let unfinished = self.transactions.iter().flat_map(|transactions| &transactions.unfinished);
        unfinished.map(|(_, aggregates)| aggregates).all(Vec::is_empty)
    }

    /// All partitions know of the transactions up to this one: what waited for that goes.
    pub(super) fn finish(&mut self, through: u64) {
        while let Some(transactions) = &mut self.transactions
            && transactions.unfinished.front().is_some_and(|(ordinal, _)| *ordinal <= through)
        {
            let aggregates = transactions.unfinished.pop_front().map(|(_, aggregates)| aggregates);
            for number in aggregates.into_iter().flatten() {
                self.land(number);
            }
        }
    }
}
