//! Whether the promises held: what was committed, held against what was delivered.

use std::collections::{HashMap, HashSet};

use super::sale::Sale;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Committed events.
    pub(crate) events: u64,
    /// The aggregates they are about.
    pub(crate) aggregates: u64,
    /// Deliveries of a message that had been delivered before.
    pub(crate) duplicates: u64,
    /// First deliveries after that of a later event of their aggregate.
    pub(crate) order_violations: u64,
    /// Committed, and never delivered.
    pub(crate) lost: u64,
    /// Delivered, and never committed.
    pub(crate) phantoms: u64,
    /// Delivered with other contents than were committed.
    pub(crate) damaged: u64,
}

impl Verdict {
    /// Holds deliveries, in the order of their reading (of one aggregate: of their partition), against what was
    /// committed. A delivery that could not be read is `None`.
    pub(crate) fn of(committed: &[Sale], deliveries: &[Option<Sale>]) -> Self {
        let expected: HashMap<_, _> = committed.iter().map(|sale| (sale.message_id, sale)).collect();
        let orders: HashSet<u32> = committed.iter().map(|sale| sale.order).collect();
        let mut verdict =
            Self { events: committed.len() as u64, aggregates: orders.len() as u64, ..Self::default() };
        let mut seen = HashSet::with_capacity(committed.len());
        let mut newest: HashMap<u32, u32> = HashMap::with_capacity(orders.len());
        for delivery in deliveries {
            let Some(sale) = delivery else {
                verdict.damaged += 1;
                continue;
            };
            let Some(committed) = expected.get(&sale.message_id) else {
                verdict.phantoms += 1;
                continue;
            };
            verdict.damaged += u64::from(*committed != sale);
            let sale = committed;
            if !seen.insert(sale.message_id) {
                verdict.duplicates += 1;
                continue;
            }
            let newest = newest.entry(sale.order).or_default();
            if sale.sequence < *newest {
                verdict.order_violations += 1;
            }
            *newest = sale.sequence.max(*newest);
        }
        verdict.lost = verdict.events - seen.len() as u64;
        verdict
    }

    /// The promises that broke, each said in a few words. A duplicate breaks one only where no send can have been
    /// uncertain: with a broker of our own.
    pub(crate) fn broken(&self, duplicates_allowed: bool) -> Vec<String> {
        let duplicates = if duplicates_allowed { 0 } else { self.duplicates };
        [
            (self.lost, "committed and not delivered"),
            (self.order_violations, "delivered after a later event of the same aggregate"),
            (duplicates, "delivered again, with no send uncertain"),
            (self.phantoms, "delivered without having been committed"),
            (self.damaged, "delivered with other contents than were committed"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventferry::MessageId;

    fn sale(id: u8, order: u32, sequence: u32) -> Sale {
        Sale { message_id: MessageId([id; 16]), order, sequence }
    }

    /// Two orders: one changes three times, the other once.
    fn committed() -> Vec<Sale> {
        vec![sale(1, 1, 1), sale(2, 1, 2), sale(3, 2, 1), sale(4, 1, 3)]
    }

    fn verdict(deliveries: &[Sale]) -> Verdict {
        let deliveries: Vec<_> = deliveries.iter().copied().map(Some).collect();
        Verdict::of(&committed(), &deliveries)
    }

    #[test]
    fn everything_once_and_in_order_breaks_nothing() {
        let verdict = verdict(&[sale(3, 2, 1), sale(1, 1, 1), sale(2, 1, 2), sale(4, 1, 3)]);
        assert_eq!(verdict, Verdict { events: 4, aggregates: 2, ..Verdict::default() });
        assert_eq!(verdict.broken(false), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_delivered_is_lost() {
        let verdict = verdict(&[sale(1, 1, 1), sale(3, 2, 1), sale(4, 1, 3)]);
        assert_eq!((verdict.lost, verdict.order_violations), (1, 0));
        assert_eq!(verdict.broken(true), ["1 committed and not delivered"]);
    }

    #[test]
    fn a_later_event_first_is_a_violation_and_a_trailing_duplicate_is_none() {
        let verdict = verdict(&[sale(2, 1, 2), sale(1, 1, 1), sale(3, 2, 1), sale(4, 1, 3), sale(1, 1, 1)]);
        assert_eq!((verdict.order_violations, verdict.duplicates, verdict.lost), (1, 1, 0));
    }

    #[test]
    fn a_duplicate_counts_only_where_no_send_was_uncertain() {
        let verdict = verdict(&[sale(1, 1, 1), sale(1, 1, 1), sale(2, 1, 2), sale(3, 2, 1), sale(4, 1, 3)]);
        assert_eq!(verdict.duplicates, 1);
        assert!(verdict.broken(true).is_empty());
        assert_eq!(verdict.broken(false).len(), 1);
    }

    #[test]
    fn what_was_rolled_back_must_not_arrive() {
        let verdict = verdict(&[sale(1, 1, 1), sale(9, 1, 2), sale(2, 1, 2), sale(3, 2, 1), sale(4, 1, 3)]);
        assert_eq!((verdict.phantoms, verdict.order_violations, verdict.duplicates), (1, 0, 0));
        assert_eq!(verdict.broken(true).len(), 1);
    }

    #[test]
    fn other_contents_are_damage() {
        let mut deliveries: Vec<_> = committed().into_iter().map(Some).collect();
        deliveries[3] = Some(sale(4, 2, 3));
        deliveries.push(None);
        assert_eq!(Verdict::of(&committed(), &deliveries).damaged, 2);
    }
}
