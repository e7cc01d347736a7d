//! Events listed together, checked while the program is compiled.

/// Begins a registry of these event types: `registry![OrderCreated, OrderPaid].build()?`.
///
/// Two that are the same version of the same topic are a compile error that names both. What else must fit is found by
/// [`RegistryBuilder::build`](crate::RegistryBuilder::build).
#[macro_export]
macro_rules! registry {
    ($($event:ty),* $(,)?) => {{
        const _: () = $crate::hidden::refuse_duplicates(&[$((
            <$event as $crate::TypedEvent>::NAME,
            <$event as $crate::TypedEvent>::TOPIC,
            <$event as $crate::TypedEvent>::VERSION,
        )),*]);
        $crate::Registry::builder()$(.event::<$event>())*
    }};
}

/// Names, topics and versions: no two with the same topic and version.
///
/// # Panics
/// There are two, which are named. Called where constants are evaluated, that is a compile error.
pub const fn refuse_duplicates(events: &[(&str, &str, u32)]) {
    let mut second = 1;
    while second < events.len() {
        let mut first = 0;
        while first < second {
            let ((one, topic, version), (other, other_topic, other_version)) =
                (events[first], events[second]);
            if version == other_version && is_same(topic, other_topic) {
                let message = Message::new()
                    .and("`")
                    .and(one)
                    .and("` and `")
                    .and(other)
                    .and("` are both version ")
                    .and_number(version)
                    .and(" of the topic `")
                    .and(topic)
                    .and("`: give one of them another version or another topic");
                panic!("{}", message.text());
            }
            first += 1;
        }
        second += 1;
    }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // From the end: topics of one application begin alike.
    let mut left = if one.len() == other.len() { one.len() } else { return false };
    while left > 0 && one[left - 1] == other[left - 1] {
        left -= 1;
    }
    left == 0
}

/// A text put together where nothing can be allocated. Names are short; what does not fit is left out.
struct Message {
    bytes: [u8; Message::BYTES_MAX],
    length: usize,
}

impl Message {
    const BYTES_MAX: usize = 2048;

    const fn new() -> Self {
        Self { bytes: [0; Self::BYTES_MAX], length: 0 }
    }

    const fn and(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() && text.len() <= Self::BYTES_MAX - self.length + at {
            self.bytes[self.length] = text[at];
            self.length += 1;
            at += 1;
        }
        self
    }

    const fn and_number(self, number: u32) -> Self {
        let more = if number >= 10 { self.and_number(number / 10) } else { self };
        let digit = [b'0' + (number % 10) as u8];
        match str::from_utf8(&digit) {
            Ok(digit) => more.and(digit),
            Err(_) => more,
        }
    }

    const fn text(&self) -> &str {
        match str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "two events are the same version of the same topic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_topic_and_version_is_refused() {
        refuse_duplicates(&[("A", "a", 1), ("A", "a", 2), ("B", "ab", 1), ("C", "b", 1)]);
    }

    #[test]
    #[should_panic(
        expected = "`A` and `B` are both version 120 of the topic `a`: give one of them another version"
    )]
    fn the_same_topic_and_version_is_refused_with_both_names() {
        refuse_duplicates(&[("C", "c", 120), ("A", "a", 120), ("B", "a", 120)]);
    }
}
