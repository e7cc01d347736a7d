//! Which topics are whose.

use std::fmt;
use std::str::FromStr;

use eventferry_core::PublishFault;
use eventferry_core::enqueue::TOPIC_CHARS_MAX;

use crate::config::wrong;

/// What stands for any characters.
const ANY: char = '*';

/// A pattern of topics' names: `*` stands for any characters or none, anywhere and as often as one likes; everything
/// else stands for itself, upper and lower case apart. It matches whole names: `payments.*` is for `payments.eu.paid`,
/// and neither for `payments` nor for `my.payments.paid`.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicPattern(Box<str>);

impl TopicPattern {
    /// Whether it is for this topic.
    pub fn matches(&self, topic: &str) -> bool {
        let Some((before, after)) = self.0.split_once(ANY) else { return topic == &*self.0 };
        let Some(rest) = topic.strip_prefix(before) else { return false };
        let (between, end) = after.rsplit_once(ANY).unwrap_or(("", after));
        let Some(rest) = rest.strip_suffix(end) else { return false };
        // Each part where it comes first: what is left for the next ones is then as long as it can be.
        let mut rest = Some(rest);
        between.split(ANY).all(|part| {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
            rest.is_some()
        })
    }

    /// Whether it is for every topic that the other is for. The other's `*` may be anything, which only a `*` of this
    /// one is for; so it is enough to look at the other as if it were a name.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }

    /// The one for all topics.
    pub(super) fn of_all() -> Self {
        Self(ANY.to_string().into())
    }
}

impl FromStr for TopicPattern {
    type Err = PublishFault;

    /// # Errors
    /// `Misconfigured`: it is empty, or longer than a topic's name can be.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let literal = text.chars().filter(|c| *c != ANY).count();
        match (text.is_empty(), literal > TOPIC_CHARS_MAX) {
            (true, _) => Err(wrong("a pattern for topics is empty: give one such as `payments.*`")),
            (_, true) => Err(wrong(format!(
                "a pattern for topics has {literal} characters: no topic's name has more than {TOPIC_CHARS_MAX}"
            ))),
            _ => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_stands_for_any_characters_and_the_rest_for_itself() {
        for (text, is_for, is_not_for) in [
            (
                "payments.*",
                &["payments.", "payments.eu.paid"][..],
                &["payments", "my.payments.x", "Payments.x"][..],
            ),
            ("*.dlq", &[".dlq", "a.dlq", "a.dlq.dlq"], &["dlq", "a.dlq.b"]),
            ("orders", &["orders"], &["orders.x", "order", ""]),
            ("*", &["", "a", "ä.b"], &[]),
            ("a*a", &["aa", "aba", "aaa"], &["a", "ab", ""]),
            ("a*b*c", &["abc", "axbxc", "abcbc", "abbc"], &["ac", "acb", "abcd", "xabc"]),
            ("*aab*", &["aaab", "xaabx"], &["aba", "ab"]),
            ("a**b", &["ab", "axb"], &["a", "b"]),
            ("*ab*ab", &["abab", "xabxab"], &["ab", "aab", "abb"]),
            ("a.b", &["a.b"], &["axb"]),
            ("ä*", &["ä", "äx"], &["a"]),
        ] {
            is_for.iter().for_each(|topic| assert!(pattern(text).matches(topic), "{text} {topic}"));
            is_not_for.iter().for_each(|topic| assert!(!pattern(text).matches(topic), "{text} {topic}"));
        }
    }

    /// All texts of these characters, up to a length.
    fn texts(characters: &[char], length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..length {
            let longer: Vec<_> = all[from..]
                .iter()
                .flat_map(|text| characters.iter().map(move |character| format!("{text}{character}")))
                .collect();
            from = all.len();
            all.extend(longer);
        }
        all
    }

    /// Whether a pattern is for a topic, by trying all that each star may stand for.
    fn tried(pattern: &str, topic: &str) -> bool {
        match pattern.chars().next() {
            None => topic.is_empty(),
            Some(ANY) => (0..=topic.len()).any(|at| tried(&pattern[1..], &topic[at..])),
            Some(first) => topic.strip_prefix(first).is_some_and(|rest| tried(&pattern[1..], rest)),
        }
    }

    #[test]
    fn every_short_pattern_is_for_what_trying_finds_and_covers_what_it_is_for() {
        let topics = texts(&['a', 'b', 'c'], 5);
        let patterns: Vec<_> =
            texts(&['a', 'b', ANY], 4).into_iter().filter(|text| !text.is_empty()).collect();
        let found: Vec<Vec<bool>> =
            patterns.iter().map(|text| topics.iter().map(|topic| tried(text, topic)).collect()).collect();
        for (text, found) in patterns.iter().zip(&found) {
            for (topic, found) in topics.iter().zip(found) {
                assert_eq!(pattern(text).matches(topic), *found, "{text} {topic}");
            }
        }
        for (one, of_one) in patterns.iter().zip(&found) {
            for (other, of_other) in patterns.iter().zip(&found) {
                let covers = of_one.iter().zip(of_other).all(|(one, other)| *one || !*other);
                assert_eq!(pattern(one).covers(&pattern(other)), covers, "{one} {other}");
            }
        }
    }

    #[test]
    fn what_no_topic_can_match_is_refused() {
        let refusal = |text: &str| text.parse::<TopicPattern>().unwrap_err().to_string();
        assert!(refusal("").contains("such as `payments.*`"));
        assert!(refusal(&"a".repeat(TOPIC_CHARS_MAX + 1)).contains("250 characters"));
        pattern(&format!("*{}*", "a".repeat(TOPIC_CHARS_MAX)));
    }
}
