//! What the storm writes about: a few hot aggregates and many others, over topics of 1, 4 and 8 partitions.

use eventferry::{Event, Header};

use super::dice::Dice;

/// The aggregates that half of all events are about.
pub(super) const HOT: u32 = 5;
const AGGREGATES: u32 = 305;
pub(super) const KIND: &str = "storm";

/// The topics, with their numbers of partitions.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    pub(super) topics: Vec<(String, i32)>,
}

/// How an application enqueues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `eventferry.enqueue(...)`, an event a statement.
    Function,
    /// A plain INSERT into the outbox, an event a statement.
    Insert,
    /// `PostgresOutbox::enqueue`, an event a statement.
    Outbox,
    /// `PostgresOutbox::enqueue_many`: all of them in one statement.
    Many,
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Json,
    Text,
    Bytes,
    /// None at all.
    Tombstone,
}

/// An event that is yet to get its number.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) aggregate: u32,
    pub(super) body: Body,
    topic: usize,
    partition: Option<i32>,
    key: Option<u64>,
    headers: usize,
    bytes: usize,
    /// Only the function gives a payload its content type unasked.
    way: Way,
}

/// The topic that may have a limit.
pub(super) const LIMITED: usize = 1;

/// The header that holds the number of an event without a payload.
pub(super) const NUMBER: &str = "number";

impl Subjects {
    /// Sketches an event of some aggregate, or of this one.
    pub(super) fn draft(&self, dice: &mut Dice, way: Way, aggregate: Option<u32>) -> Draft {
        let any = |dice: &mut Dice| match dice.once_in(2) {
            true => dice.below(HOT as usize) as u32,
            false => dice.within(u64::from(HOT)..u64::from(AGGREGATES)) as u32,
        };
        let aggregate = aggregate.unwrap_or_else(|| any(dice));
        // Mostly at home, so that events are pipelined; often enough elsewhere, so that order crosses topics.
        let topic = match dice.once_in(6) {
            true => dice.below(self.topics.len()),
            false => aggregate as usize % self.topics.len(),
        };
        // The function has no word for a partition.
        let chooses = way != Way::Function && dice.once_in(8);
        let partition = chooses.then(|| dice.below(self.topics[topic].1 as usize) as i32);
        let body = dice.weighed(&[(4, Body::Json), (3, Body::Text), (2, Body::Bytes), (1, Body::Tombstone)]);
        Draft {
            aggregate,
            body,
            topic,
            partition,
            key: dice.once_in(6).then(|| dice.within(0..40)),
            headers: dice.below(4),
            bytes: if dice.once_in(300) { dice.below(100_000) } else { dice.below(200) },
            way,
        }
    }

    /// Sketches an event of this aggregate that is over the limit of the topic that has one, the second.
    pub(super) fn poison(&self, aggregate: u32) -> Draft {
        let (body, way) = (Body::Bytes, Way::Outbox);
        Draft { aggregate, body, topic: LIMITED, partition: None, key: None, headers: 0, bytes: 60_000, way }
    }

    /// The aggregate that an event is about, as its number here.
    pub(super) fn aggregate_of(event: &Event) -> u32 {
        event.aggregate.id.parse().unwrap_or(u32::MAX)
    }

    /// The event of this number: always the same for a draft, a seed and a number.
    pub(super) fn event(&self, draft: &Draft, seed: u64, number: u64) -> Event {
        let mut dice = Dice::for_one(seed, number);
        let mut event = Event::new(&self.topics[draft.topic].0, (KIND, draft.aggregate));
        event.partition = draft.partition;
        event.key = draft.key.map(|key| format!("key-{key}").into_bytes());
        event.payload = draft.payload(&mut dice, number);
        event.content_type = draft.content_type();
        if draft.body == Body::Tombstone {
            event = event.header(NUMBER, number.to_string());
        }
        for _ in 0..draft.headers {
            // Few names, so that they repeat.
            let name = ["tenant", "trace", "größe"][dice.below(3)];
            let value = match draft.way {
                // It takes text only.
                Way::Function => format!("wert \u{2192} {}", dice.below(1000)).into_bytes(),
                _ => dice.throw().to_be_bytes()[..dice.below(9)].to_vec(),
            };
            event.headers.push(Header { name: name.to_owned(), value });
        }
        event
    }
}

impl Draft {
    fn payload(&self, dice: &mut Dice, number: u64) -> Option<Vec<u8>> {
        let pad =
            |dice: &mut Dice| (0..self.bytes).map(|_| char::from(b'a' + dice.below(26) as u8)).collect();
        match self.body {
            // As jsonb writes it: shorter names first, a blank after each colon and comma.
            Body::Json => {
                let pad: String = pad(dice);
                Some(format!("{{\"n\": {number}, \"pad\": \"{pad}\"}}").into_bytes())
            }
            Body::Text => {
                let pad: String = pad(dice);
                Some(format!("{number} C:\\\\tmp \\\" ü {pad}").into_bytes())
            }
            Body::Bytes => {
                let mut bytes = format!("{number}:").into_bytes();
                bytes.extend((0..self.bytes).map(|_| dice.throw() as u8));
                Some(bytes)
            }
            Body::Tombstone => None,
        }
    }

    fn content_type(&self) -> Option<String> {
        let default = match self.body {
            Body::Json => "application/json",
            Body::Text => "text/plain; charset=utf-8",
            Body::Bytes => "application/octet-stream",
            Body::Tombstone => return None,
        };
        // Without one, too, where one is not given unasked.
        (self.way == Way::Function || !self.bytes.is_multiple_of(3)).then(|| default.to_owned())
    }
}

/// The number in a payload: its first digits.
pub(super) fn number_in(payload: &[u8]) -> Option<u64> {
    let digits = payload.iter().skip_while(|byte| !byte.is_ascii_digit());
    let digits: String =
        digits.take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_by_its_number_and_is_always_the_same() {
        let subjects = Subjects { topics: vec![("a".into(), 1), ("b".into(), 4)] };
        let mut dice = Dice::for_one(0, 3);
        for number in 0..500 {
            let way = dice.weighed(&[(1, Way::Function), (1, Way::Insert)]);
            let draft = subjects.draft(&mut dice, way, None);
            let event = subjects.event(&draft, 9, number);
            assert_eq!(event, subjects.event(&draft, 9, number));
            assert_eq!(Subjects::aggregate_of(&event), draft.aggregate);
            let found = match &event.payload {
                Some(payload) => number_in(payload),
                None => number_in(&event.headers[0].value),
            };
            assert_eq!(found, Some(number), "{event:?}");
        }
    }

    #[test]
    fn the_function_is_asked_for_nothing_it_cannot_do() {
        let subjects = Subjects { topics: vec![("a".into(), 8)] };
        let mut dice = Dice::for_one(0, 4);
        for number in 0..500 {
            let event = subjects.event(&subjects.draft(&mut dice, Way::Function, None), 1, number);
            assert_eq!(event.partition, None);
            assert!(event.headers.iter().all(|header| str::from_utf8(&header.value).is_ok()));
        }
    }
}
