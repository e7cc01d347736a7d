//! What a dead letter says beside the event.

use std::borrow::Cow;

use eventferry_core::Timestamp;

/// What the headers begin with that a dead letter has beside the event's.
const PREFIX: &str = "dlq-";

/// Why, when and where an event was given up. Words that are not UTF-8 are shown as well as they can be; a number or
/// time that cannot be read is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter<'a> {
    /// The broker's reason, in words.
    pub reason: Cow<'a, str>,
    /// The reason's short name, such as `MessageSizeTooLarge`.
    pub error_class: Cow<'a, str>,
    /// The topic for which the event was.
    pub original_topic: Cow<'a, str>,
    /// The partition for which it was, if the application asked for one.
    pub original_partition: Option<i32>,
    /// When it was refused last.
    pub failed_at: Option<Timestamp>,
    /// How many attempts were counted.
    pub attempts: Option<u32>,
    /// Where it was given up, for people; only where relays were told to say so.
    pub detail: Option<Cow<'a, str>>,
}

/// Takes what a dead letter says out of the headers; `None`, and nothing is taken: it is none.
///
/// The last header of a name is the relay's: an application may have enqueued a dead letter as it was, and what it
/// said before is no header of the event's own either.
pub(crate) fn take<'a>(headers: &mut Vec<(&'a str, &'a [u8])>) -> Option<DeadLetter<'a>> {
    let said = |name: &str| {
        let found = headers.iter().rev().find(|(found, _)| *found == name);
        found.map(|(_, value)| String::from_utf8_lossy(value))
    };
    let original_topic = said("dlq-original-topic")?;
    let letter = DeadLetter {
        reason: said("dlq-reason").unwrap_or_default(),
        error_class: said("dlq-error-class").unwrap_or_default(),
        original_topic,
        original_partition: said("dlq-original-partition").and_then(|text| text.parse().ok()),
        failed_at: said("dlq-failed-at").and_then(|text| time(&text)),
        attempts: said("dlq-attempts").and_then(|text| text.parse().ok()),
        detail: said("dlq-detail"),
    };
    headers.retain(|(name, _)| !name.starts_with(PREFIX));
    Some(letter)
}

/// A time as [`Timestamp`] is shown: RFC 3339 in UTC with microseconds.
fn time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if bytes.len() != 27 || marks.iter().any(|(at, mark)| bytes[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = &bytes[from..to];
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    let parsed = Timestamp(seconds * 1_000_000 + number(20, 26)?);
    // A day or an hour that the calendar does not have comes out as another one.
    (parsed.to_string() == text).then_some(parsed)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, with years that begin in March, so that the leap day is a
/// year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_shown() {
        for micros in [0, -1, 951_782_400_000_000, 4_107_542_400_000_001, 1_795_726_520_123_456] {
            assert_eq!(time(&Timestamp(micros).to_string()), Some(Timestamp(micros)));
        }
        for text in [
            "",
            "yesterday",
            "2026-02-30T00:00:00.000000Z",
            "2026-13-01T00:00:00.000000Z",
            "2026-11-26T25:00:00.000000Z",
            "2026-11-26T20:55:20.12345+Z",
            "2026-11-26T20:55:20.123456z",
            "2026-11-26T20:55:20Z",
            "größe-11-26T20:55:20.12345Z",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_dead_letter_that_was_enqueued_as_it_was_goes_by_what_the_relay_added() {
        let mut headers = vec![
            ("dlq-original-topic", &b"older"[..]),
            ("dlq-detail", b"older"),
            ("a", b"1"),
            ("dlq-original-topic", b"orders"),
            ("dlq-attempts", b"many"),
            ("dlq-reason", &[b'x', 255]),
        ];
        let letter = take(&mut headers).unwrap();
        assert_eq!((&*letter.original_topic, &*letter.reason), ("orders", "x\u{fffd}"));
        assert_eq!((letter.attempts, letter.failed_at), (None, None));
        assert_eq!(headers, [("a", &b"1"[..])]);
    }
}
