//! Topics by number.

use std::collections::HashMap;

use eventferry_core::machine::TopicId;

/// Gives each topic a number, for the core.
///
/// A dead-letter topic has numbers apart, also where events are enqueued for it: the core keeps policies by number, and
/// what follows a dead letter is said by the policy of the topic the event comes from.
#[derive(Debug, Default)]
pub(crate) struct TopicNumbers {
    numbers: HashMap<String, TopicId>,
    letters: HashMap<LetterTopic, TopicId>,
    names: Vec<String>,
    /// The last one asked for: events come in runs.
    last: Option<TopicId>,
}

/// A dead-letter topic as the core tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LetterTopic {
    /// Its name at the broker.
    pub(crate) name: String,
    /// The topic that its letters come from, if that has a policy of its own.
    pub(crate) from: Option<String>,
}

impl TopicNumbers {
    /// The number of an event's own topic, and whether it is new.
    pub(crate) fn number(&mut self, name: &str) -> (TopicId, bool) {
        if let Some(last) = self.last.filter(|last| self.name(*last) == name) {
            return (last, false);
        }
        let known = self.numbers.get(name).copied();
        let number = known.unwrap_or_else(|| {
            let number = self.next(name.to_owned());
            self.numbers.insert(name.to_owned(), number);
            number
        });
        self.last = Some(number);
        (number, known.is_none())
    }

    /// The number of an event's own topic, if it has one.
    pub(crate) fn known(&self, name: &str) -> Option<TopicId> {
        self.numbers.get(name).copied()
    }

    /// The number of a dead-letter topic, and whether it is new.
    pub(crate) fn letter_number(&mut self, topic: LetterTopic) -> (TopicId, bool) {
        if let Some(number) = self.letters.get(&topic) {
            return (*number, false);
        }
        let number = self.next(topic.name.clone());
        self.letters.insert(topic, number);
        (number, true)
    }

    fn next(&mut self, name: String) -> TopicId {
        // As many as there are topics.
        let number = TopicId(self.names.len() as u32);
        self.names.push(name);
        number
    }

    /// The names of these, each once.
    pub(crate) fn names(&self, numbers: &[TopicId]) -> Vec<String> {
        let mut names: Vec<String> = numbers.iter().map(|number| self.name(*number).to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(crate) fn name(&self, number: TopicId) -> &str {
        self.names.get(number.0 as usize).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_keeps_its_number() {
        let mut topics = TopicNumbers::default();
        let ((a, new), (b, _)) = (topics.number("a"), topics.number("b"));
        assert!(new && a != b);
        assert_eq!([topics.number("a"), topics.number("b"), topics.number("b")], [(a, false), (b, false), (b, false)]);
        assert_eq!(topics.name(b), "b");
    }

    #[test]
    fn a_dead_letter_topic_has_a_number_for_each_policy_that_may_follow() {
        let mut topics = TopicNumbers::default();
        let letter = |from: Option<&str>| LetterTopic { name: "dead".into(), from: from.map(Into::into) };
        let own = topics.number("dead").0;
        let numbers = [letter(None), letter(Some("a")), letter(Some("b"))].map(|topic| topics.letter_number(topic));
        assert!(numbers.iter().all(|(number, new)| *new && *number != own));
        assert!(numbers[0] != numbers[1] && numbers[1] != numbers[2]);
        assert_eq!(topics.letter_number(letter(Some("a"))), (numbers[1].0, false));
        assert_eq!(topics.number("dead"), (own, false));
        assert_eq!(topics.names(&[own, numbers[0].0, numbers[1].0]), ["dead"]);
        assert!(numbers.iter().all(|(number, _)| topics.name(*number) == "dead"));
    }
}
