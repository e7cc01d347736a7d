//! Dates and times between RFC 3339's text and Avro's counts.

use std::fmt::Write as _;

/// The logical types of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Days since 1970.
    Date,
    /// Since midnight.
    TimeOfDay(Unit),
    /// Since 1970 in UTC.
    Timestamp(Unit),
    /// Since 1970, wherever that is.
    LocalTimestamp(Unit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Nanos,
}

const DAY_NANOS: i128 = 86_400_000_000_000;
const SECOND_NANOS: i128 = 1_000_000_000;

impl Unit {
    fn nanos(self) -> i128 {
        match self {
            Self::Millis => 1_000_000,
            Self::Micros => 1000,
            Self::Nanos => 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        }
    }
}

impl Clock {
    /// The count that a text stands for.
    pub(crate) fn read(self, text: &str) -> Result<i64, String> {
        let mut rest = text.as_bytes();
        let nanos = self.nanos(&mut rest).filter(|_| rest.is_empty());
        let nanos = nanos.ok_or_else(|| format!("wants {}", self.wanted()))?;
        let unit = match self {
            Self::Date => return Ok((nanos / DAY_NANOS) as i64),
            Self::TimeOfDay(unit) | Self::Timestamp(unit) | Self::LocalTimestamp(unit) => unit,
        };
        if nanos % unit.nanos() != 0 {
            return Err(format!("is finer than the {} that the schema counts in", unit.name()));
        }
        i64::try_from(nanos / unit.nanos()).map_err(|_| "is beyond what the schema can count".to_owned())
    }

    /// The text of a count; `None`: it has none, and is written as a number.
    pub(crate) fn text(self, count: i64) -> Option<String> {
        let nanos = match self {
            Self::Date => i128::from(count) * DAY_NANOS,
            Self::TimeOfDay(unit) | Self::Timestamp(unit) | Self::LocalTimestamp(unit) => {
                i128::from(count) * unit.nanos()
            }
        };
        if let Self::TimeOfDay(_) = self {
            return (0..DAY_NANOS).contains(&nanos).then(|| time_text(nanos));
        }
        let (year, month, day) = civil(nanos.div_euclid(DAY_NANOS) as i64);
        if !(0..=9999).contains(&year) {
            return None;
        }
        let mut text = format!("{year:04}-{month:02}-{day:02}");
        if self != Self::Date {
            text.push('T');
            text.push_str(&time_text(nanos.rem_euclid(DAY_NANOS)));
        }
        if let Self::Timestamp(_) = self {
            text.push('Z');
        }
        Some(text)
    }

    /// What a message says it wants.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Self::Date => "a date such as \"2024-02-29\", or a number of days since 1970",
            Self::TimeOfDay(_) => "a time such as \"23:59:59.5\", or a number",
            Self::Timestamp(_) => {
                "a time with its offset such as \"2024-02-29T23:59:59.5Z\" (RFC 3339), or a number"
            }
            Self::LocalTimestamp(_) => "a time without offset such as \"2024-02-29T23:59:59.5\", or a number",
        }
    }

    fn nanos(self, rest: &mut &[u8]) -> Option<i128> {
        if let Self::TimeOfDay(_) = self {
            return time(rest);
        }
        let days = i128::from(date(rest)?) * DAY_NANOS;
        if self == Self::Date {
            return Some(days);
        }
        let [b'T' | b't' | b' ', after @ ..] = *rest else { return None };
        *rest = after;
        let local = days + time(rest)?;
        match self {
            Self::Timestamp(_) => Some(local - offset(rest)?),
            _ => Some(local),
        }
    }
}

fn date(rest: &mut &[u8]) -> Option<i64> {
    let year = number(rest, 4)?;
    passed(rest, b'-')?;
    let month = number(rest, 2)?;
    passed(rest, b'-')?;
    let day = number(rest, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=last).contains(&day).then(|| days(year, month, day))
}

fn time(rest: &mut &[u8]) -> Option<i128> {
    let hours = number(rest, 2).filter(|hours| *hours < 24)?;
    passed(rest, b':')?;
    let minutes = number(rest, 2).filter(|minutes| *minutes < 60)?;
    passed(rest, b':')?;
    let seconds = number(rest, 2).filter(|seconds| *seconds < 60)?;
    let mut nanos = i128::from(hours * 3600 + minutes * 60 + seconds) * SECOND_NANOS;
    if passed(rest, b'.').is_some() {
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = rest.split_at(count);
        let (kept, dropped) = digits.split_at(count.min(9));
        // What is finer than a nanosecond no schema counts.
        if kept.is_empty() || dropped.iter().any(|byte| *byte != b'0') {
            return None;
        }
        let fraction = kept.iter().fold(0, |sum, byte| sum * 10 + i128::from(byte - b'0'));
        nanos += fraction * 10_i128.pow(9 - kept.len() as u32);
        *rest = after;
    }
    Some(nanos)
}

fn offset(rest: &mut &[u8]) -> Option<i128> {
    let [sign, after @ ..] = *rest else { return None };
    *rest = after;
    let sign = match sign {
        b'Z' | b'z' => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = number(rest, 2).filter(|hours| *hours < 24)?;
    passed(rest, b':')?;
    let minutes = number(rest, 2).filter(|minutes| *minutes < 60)?;
    Some(sign * i128::from(hours * 3600 + minutes * 60) * SECOND_NANOS)
}

fn number(rest: &mut &[u8], digits: usize) -> Option<i64> {
    let (head, after) = rest.split_at_checked(digits)?;
    *rest = after;
    head.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn passed(rest: &mut &[u8], wanted: u8) -> Option<()> {
    let [first, after @ ..] = *rest else { return None };
    if *first != wanted {
        return None;
    }
    *rest = after;
    Some(())
}

/// `hh:mm:ss`, and 3, 6 or 9 digits of a second as are needed.
fn time_text(nanos: i128) -> String {
    let (seconds, fraction) = (nanos / SECOND_NANOS, nanos % SECOND_NANOS);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (fraction, digits) = match fraction {
        0 => return text,
        _ if fraction % 1_000_000 == 0 => (fraction / 1_000_000, 3),
        _ if fraction % 1000 == 0 => (fraction / 1000, 6),
        _ => (fraction, 9),
    };
    // Writing into a string does not fail.
    let _ = write!(text, ".{fraction:0digits$}");
    text
}

/// Years of 400, counted from a first of March, so that a leap day comes last.
const ERA_DAYS: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Days since 1970 of a day in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - EPOCH_DAYS
}

/// Year, month and day of a count of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_calendars_cycle_goes_there_and_back() {
        let day = |text| Clock::Date.read(text).unwrap();
        let (first, last) = (day("0000-01-01"), day("9999-12-31"));
        assert_eq!((first + ERA_DAYS, last - first + 1), (day("0400-01-01"), 25 * ERA_DAYS));
        let mut before = String::new();
        for day in first..=first + ERA_DAYS {
            let text = Clock::Date.text(day).unwrap();
            assert!(text > before, "{text} comes after {before}");
            assert_eq!(Clock::Date.read(&text), Ok(day));
            before = text;
        }
        assert_eq!((Clock::Date.text(first - 1), Clock::Date.text(last + 1)), (None, None));
        assert_eq!(Clock::Date.text(0).as_deref(), Some("1970-01-01"));
    }

    #[test]
    fn a_timestamp_is_read_with_its_offset_and_written_in_utc() {
        let millis = Clock::Timestamp(Unit::Millis);
        for text in ["2024-02-29T23:59:59.5Z", "2024-03-01t01:29:59.500+01:30", "2024-02-29 18:59:59.5-05:00"]
        {
            assert_eq!(millis.read(text), Ok(1_709_251_199_500), "{text}");
        }
        assert_eq!(millis.text(1_709_251_199_500).as_deref(), Some("2024-02-29T23:59:59.500Z"));
        assert_eq!(millis.text(-1).as_deref(), Some("1969-12-31T23:59:59.999Z"));
        let nanos = Clock::Timestamp(Unit::Nanos);
        assert_eq!(nanos.read("1970-01-01T00:00:00.000000001Z"), Ok(1));
        assert!(nanos.read("2999-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn a_time_that_would_be_rounded_or_is_none_is_refused() {
        let millis = Clock::Timestamp(Unit::Millis);
        for text in [
            "2024-02-29T23:59:59.0001Z",
            "2024-02-29T23:59:59",
            "2023-02-29T23:59:59Z",
            "2024-02-29T24:00:00Z",
            "2024-02-29T23:59:60Z",
            "2024-02-29T23:59:59Zx",
            "2024-02-29T23:59:59.Z",
            "24-02-29T23:59:59Z",
            "",
        ] {
            assert!(millis.read(text).is_err(), "{text}");
        }
        assert_eq!(Clock::TimeOfDay(Unit::Micros).read("23:59:59.123456"), Ok(86_399_123_456));
        assert!(Clock::TimeOfDay(Unit::Micros).read("23:59:59Z").is_err());
        assert_eq!(Clock::TimeOfDay(Unit::Millis).text(86_400_000), None);
    }
}
