//! The rows in the relay's hands, by token.

use eventferry_core::machine::TopicId;
use eventferry_core::parked::Death;
use eventferry_core::publisher::Token;
use eventferry_core::{DeadLetter, Envelope, Row};

use crate::happening::EventName;
use crate::topics::TopicNumbers;

/// Rows by token, as long as the core may ask for them.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    slots: Vec<Slot<R>>,
}

/// A slot is given to the next token as soon as the core has let go of the last one, which may be before the engine
/// hears of it: so each knows whose it is.
#[derive(Debug)]
struct Slot<R> {
    token: Token,
    content: Content<R>,
}

#[derive(Debug)]
enum Content<R> {
    Empty,
    /// From the log.
    Logged(R),
    /// Parked, and handed over again.
    Due(Box<DueRow<R>>),
    /// Parked, and acknowledged now: what is said of it comes after its row is needed no longer.
    Departed(Box<Departed>),
}

/// A parked event that is tried again, or carried to the dead-letter topic.
#[derive(Debug)]
pub(crate) struct DueRow<R> {
    pub(crate) row: R,
    pub(crate) attempts: u32,
    /// It was given up.
    pub(crate) dying: bool,
    /// `None`: it goes to its own topic, or, if it is dying, nowhere.
    pub(crate) letter: Option<Letter>,
}

/// What a dead letter says, and where it goes.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) topic: TopicId,
    pub(crate) death: Death,
    pub(crate) detail: Option<String>,
}

/// What is said of a parked event that was acknowledged.
#[derive(Debug)]
pub(crate) struct Departed {
    pub(crate) event: EventName,
    pub(crate) attempts: u32,
    pub(crate) death: Option<Death>,
}

/// The core gives tokens whose low half is small and dense.
fn slot(token: Token) -> usize {
    (token.0 & u64::from(u32::MAX)) as usize
}

impl<R: Row> DueRow<R> {
    pub(crate) fn envelope<'a>(&'a self, topics: &'a TopicNumbers) -> Envelope<'a> {
        match &self.letter {
            None => Envelope::of(&self.row),
            Some(Letter { topic, death, detail }) => {
                let (topic, attempts, detail) = (topics.name(*topic), self.attempts, detail.as_deref());
                Envelope::of_dead(&self.row, DeadLetter { topic, death, attempts, detail })
            }
        }
    }
}

impl<R: Row> Rows<R> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new() }
    }

    pub(crate) fn insert(&mut self, token: Token, row: R) {
        self.put(token, Content::Logged(row));
    }

    pub(crate) fn insert_due(&mut self, token: Token, row: DueRow<R>) {
        self.put(token, Content::Due(Box::new(row)));
    }

    fn put(&mut self, token: Token, content: Content<R>) {
        let at = slot(token);
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || Slot { token, content: Content::Empty });
        }
        self.slots[at] = Slot { token, content };
    }

    fn get(&self, token: Token) -> &Content<R> {
        let slot = self.slots.get(slot(token)).filter(|slot| slot.token == token);
        slot.map_or(&Content::Empty, |slot| &slot.content)
    }

    fn take(&mut self, token: Token) -> Content<R> {
        match self.slots.get_mut(slot(token)) {
            Some(slot) if slot.token == token => std::mem::replace(&mut slot.content, Content::Empty),
            _ => Content::Empty,
        }
    }

    /// What is sent of a record.
    pub(crate) fn envelope<'a>(&'a self, token: Token, topics: &'a TopicNumbers) -> Option<Envelope<'a>> {
        match self.get(token) {
            Content::Logged(row) => Some(Envelope::of(row)),
            Content::Due(due) => Some(due.envelope(topics)),
            Content::Departed(_) | Content::Empty => None,
        }
    }

    /// What people call a record, in hand or just acknowledged.
    pub(crate) fn name(&self, token: Token) -> Option<EventName> {
        match self.get(token) {
            Content::Logged(row) => Some(EventName::of(row)),
            Content::Due(due) => Some(EventName::of(&due.row)),
            Content::Departed(departed) => Some(departed.event.clone()),
            Content::Empty => None,
        }
    }

    /// What people call the event of a dead letter in hand; `None`: it is another record.
    pub(crate) fn letter(&self, token: Token) -> Option<EventName> {
        match self.get(token) {
            Content::Due(due) if due.dying => Some(EventName::of(&due.row)),
            _ => None,
        }
    }

    /// The number of the topic that a record goes to.
    pub(crate) fn topic(&self, token: Token, topics: &TopicNumbers) -> Option<TopicId> {
        match self.get(token) {
            Content::Logged(row) => topics.known(row.topic()),
            Content::Due(due) => {
                let letter = due.letter.as_ref().map(|letter| letter.topic);
                letter.or_else(|| topics.known(due.row.topic()))
            }
            Content::Departed(_) | Content::Empty => None,
        }
    }

    /// The broker has a record. Says whether it was shipped to its own topic; if not, it was a dead letter.
    pub(crate) fn acknowledged(&mut self, token: Token) -> bool {
        let Content::Due(due) = self.take(token) else { return true };
        let DueRow { row, attempts, letter, .. } = *due;
        let death = letter.map(|letter| letter.death);
        let shipped = death.is_none();
        self.put(
            token,
            Content::Departed(Box::new(Departed { event: EventName::of(&row), attempts, death })),
        );
        shipped
    }

    /// What is left of a parked event that was acknowledged, once.
    pub(crate) fn departed(&mut self, token: Token) -> Option<Departed> {
        match self.take(token) {
            Content::Departed(departed) => Some(*departed),
            _ => None,
        }
    }

    /// A copy of the row of a record that is needed here too.
    pub(crate) fn copy(&self, token: Token) -> Option<R>
    where
        R: Clone,
    {
        match self.get(token) {
            Content::Logged(row) => Some(row.clone()),
            Content::Due(due) => Some(due.row.clone()),
            Content::Departed(_) | Content::Empty => None,
        }
    }

    /// The row of a record that is needed no longer here.
    pub(crate) fn remove(&mut self, token: Token) -> Option<R> {
        match self.take(token) {
            Content::Logged(row) => Some(row),
            Content::Due(due) => Some(due.row),
            Content::Departed(_) | Content::Empty => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use eventferry_core::envelope::collect_headers;
    use eventferry_core::{Event, MessageId, StoredEvent, Timestamp};

    use super::*;

    fn row(topic: &str) -> StoredEvent {
        let event = Event::new(topic, ("order", 1)).payload("x", "text/plain");
        StoredEvent { message_id: MessageId([7; 16]), event, enqueued_at: Timestamp(0) }
    }

    fn due(letter: Option<Letter>) -> DueRow<StoredEvent> {
        DueRow { row: row("orders"), attempts: 4, dying: letter.is_some(), letter }
    }

    fn letter(topic: TopicId) -> Letter {
        let death = Death { class: "Large".into(), message: "too large".into(), failed_at: Timestamp(5) };
        Letter { topic, death, detail: Some("lane 3".into()) }
    }

    #[test]
    fn a_dying_event_is_sent_as_a_dead_letter_and_any_other_as_itself() {
        let (mut rows, mut topics) = (Rows::new(), TopicNumbers::default());
        let dead = topics.number("orders.dlq").0;
        rows.insert(Token(0), row("orders"));
        rows.insert_due(Token(1), due(None));
        rows.insert_due(Token(2), due(Some(letter(dead))));
        let sent = |token| rows.envelope(Token(token), &topics).unwrap();
        assert_eq!([0, 1, 2].map(|token| sent(token).topic()), ["orders", "orders", "orders.dlq"]);
        let headers = collect_headers(&sent(2));
        let value =
            |name: &str| headers.iter().find(|header| header.0 == name).map(|header| header.1.clone());
        assert_eq!(value("dlq-error-class").unwrap(), b"Large");
        assert_eq!(value("dlq-attempts").unwrap(), b"4");
        assert_eq!(value("dlq-detail").unwrap(), b"lane 3");
        assert!(rows.envelope(Token(3), &topics).is_none());
    }

    #[test]
    fn what_is_said_of_a_parked_event_outlives_its_row_and_not_its_slot() {
        let (mut rows, topics) = (Rows::new(), TopicNumbers::default());
        rows.insert_due(Token(0), due(Some(letter(TopicId(0)))));
        assert!(!rows.acknowledged(Token(0)));
        assert!(rows.envelope(Token(0), &topics).is_none());
        assert_eq!(rows.name(Token(0)).unwrap().topic, "orders");
        assert_eq!(rows.departed(Token(0)).unwrap().death.unwrap().class, "Large");
        assert!(rows.departed(Token(0)).is_none());

        rows.insert_due(Token(1), due(None));
        assert!(rows.acknowledged(Token(1)));
        // The same slot under another token: whoever asks for that one means another event.
        let later = Token(1 << 32 | 1);
        assert!(rows.departed(later).is_none() && rows.name(later).is_none());
        rows.insert(later, row("other"));
        assert!(rows.departed(Token(1)).is_none());
        assert_eq!(rows.name(later).unwrap().topic, "other");
    }

    #[test]
    fn forgetting_a_record_late_does_not_take_the_row_of_the_next_in_its_slot() {
        let mut rows = Rows::new();
        let (first, next) = (Token(0), Token(1 << 32));
        rows.insert_due(first, due(None));
        rows.insert(next, row("other"));
        assert!(rows.remove(first).is_none());
        assert!(rows.acknowledged(first));
        assert_eq!(rows.remove(next).unwrap().topic(), "other");
    }
}
