//! Topics by number.

use std::collections::HashMap;

use eventferry_core::machine::TopicId;

/// Gives each topic a number, for the core.
#[derive(Debug, Default)]
pub(crate) struct TopicNumbers {
    numbers: HashMap<String, TopicId>,
    names: Vec<String>,
    /// The last one asked for: events come in runs.
    last: Option<TopicId>,
}

impl TopicNumbers {
    /// The number of a topic, and whether it is new.
    pub(crate) fn number(&mut self, name: &str) -> (TopicId, bool) {
        if let Some(last) = self.last.filter(|last| self.name(*last) == name) {
            return (last, false);
        }
        let known = self.numbers.get(name).copied();
        let number = known.unwrap_or_else(|| {
            // As many as there are topics.
            let number = TopicId(self.names.len() as u32);
            self.names.push(name.to_owned());
            self.numbers.insert(name.to_owned(), number);
            number
        });
        self.last = Some(number);
        (number, known.is_none())
    }

    /// The number of a topic that has one.
    pub(crate) fn known(&self, name: &str) -> Option<TopicId> {
        self.numbers.get(name).copied()
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
        assert_eq!(
            [topics.number("a"), topics.number("b"), topics.number("b")],
            [(a, false), (b, false), (b, false)]
        );
        assert_eq!((topics.name(b), topics.known("a"), topics.known("c")), ("b", Some(a), None));
        assert_eq!(topics.names(&[b, a, b]), ["a", "b"]);
    }
}
