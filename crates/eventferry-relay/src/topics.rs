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
    pub(crate) fn number(&mut self, name: &str) -> TopicId {
        if let Some(last) = self.last.filter(|last| self.name(*last) == name) {
            return last;
        }
        let number = self.numbers.get(name).copied().unwrap_or_else(|| {
            // As many as there are topics.
            let number = TopicId(self.names.len() as u32);
            self.names.push(name.to_owned());
            self.numbers.insert(name.to_owned(), number);
            number
        });
        self.last = Some(number);
        number
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
        let (a, b) = (topics.number("a"), topics.number("b"));
        assert_ne!(a, b);
        assert_eq!((topics.number("a"), topics.number("b")), (a, b));
        assert_eq!(topics.name(b), "b");
    }
}
