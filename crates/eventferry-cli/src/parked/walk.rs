//! Reading parked events page by page, so that any number of them takes the memory of one page.

use eventferry::core::parked::{Desk, ParkedFilter, ParkedKey, ShowAsk, ShownEvent};

use crate::ending::Trouble;

/// The most events in a page.
const PAGE_RECORDS: u32 = 500;

/// The most bytes in a page, save for one larger event.
const PAGE_BYTES: u64 = 4 << 20;

/// A walk over the parked events that match a filter, in the order of their keys.
pub(super) struct Walk<'a, D> {
    desk: &'a mut D,
    filter: &'a ParkedFilter,
    after: Option<ParkedKey>,
    /// How many more are wanted.
    left: u64,
    more: bool,
}

impl<'a, D: Desk> Walk<'a, D> {
    /// A walk from the first event, over at most `limit` of them.
    pub(super) fn new(desk: &'a mut D, filter: &'a ParkedFilter, limit: Option<u64>) -> Self {
        Self { desk, filter, after: None, left: limit.unwrap_or(u64::MAX), more: true }
    }

    /// The next events; none at the end, or once the limit is reached.
    ///
    /// # Errors
    /// The store's fault; what was read before is good.
    pub(super) async fn next(&mut self) -> Result<Vec<ShownEvent<D::Row>>, Trouble> {
        if !self.more || self.left == 0 {
            return Ok(Vec::new());
        }
        let records_max = u32::try_from(self.left).map_or(PAGE_RECORDS, |left| left.min(PAGE_RECORDS));
        let ask = ShowAsk { filter: self.filter, after: self.after, records_max, bytes_max: PAGE_BYTES };
        let page = self.desk.show(ask).await?;
        self.after = page.events.last().map(|event| event.key).or(self.after);
        self.left = self.left.saturating_sub(page.events.len() as u64);
        self.more = page.more && !page.events.is_empty();
        Ok(page.events)
    }

    /// Whether there are more than the limit let through.
    pub(super) fn was_cut(&self) -> bool {
        self.more
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use eventferry::Event;
    use eventferry::core::parked::{Act, Decision, Decisions, ShownPage, Stage};
    use eventferry::core::{Lane, MessageId, StoreFault, StoredEvent, Timestamp};

    /// A desk with so many events that shows at most three at a time.
    struct Few(i64);

    /// A parked event, the `ordinal`th of its lane.
    pub(crate) fn event(ordinal: i64) -> ShownEvent<StoredEvent> {
        let event = Event::new("orders", ("order", ordinal)).payload("{}", "application/json");
        let row = StoredEvent { message_id: MessageId([7; 16]), event, enqueued_at: Timestamp(0) };
        ShownEvent {
            key: ParkedKey { lane: Lane(3), ordinal },
            row,
            stage: Stage::Waiting,
            attempts: 5,
            class: Some("MessageSizeTooLarge".into()),
            message: Some("the record is over the limit".into()),
            parked_at: Timestamp(0),
            due_at: None,
            decision: None,
        }
    }

    impl Desk for Few {
        type Row = StoredEvent;

        async fn show(&mut self, ask: ShowAsk<'_>) -> Result<ShownPage<StoredEvent>, StoreFault> {
            let first = ask.after.map_or(0, |key| key.ordinal + 1);
            let end = self.0.min(first + i64::from(ask.records_max.min(3)));
            Ok(ShownPage { events: (first..end).map(event).collect(), more: end < self.0 })
        }

        async fn decide(&mut self, _: &ParkedFilter, _: Decision, _: &Act) -> Result<Decisions, StoreFault> {
            Ok(Decisions::default())
        }

        async fn record(&mut self, _: &str, _: &Act) -> Result<(), StoreFault> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_walk_goes_to_the_end_or_to_its_limit() {
        for (events, limit, walked, cut) in [
            (0, None, 0, false),
            (7, None, 7, false),
            (7, Some(7), 7, false),
            (7, Some(5), 5, true),
            (7, Some(6), 6, true),
        ] {
            let (mut desk, filter) = (Few(events), ParkedFilter::default());
            let mut walk = Walk::new(&mut desk, &filter, limit);
            let mut ordinals = Vec::new();
            loop {
                let page = walk.next().await.unwrap();
                if page.is_empty() {
                    break;
                }
                ordinals.extend(page.iter().map(|event| event.key.ordinal));
            }
            assert_eq!((ordinals, walk.was_cut()), ((0..walked).collect(), cut), "{events} {limit:?}");
        }
    }
}
