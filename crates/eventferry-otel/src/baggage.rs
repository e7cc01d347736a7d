//! W3C baggage (<https://www.w3.org/TR/baggage/>), written and read.

use std::fmt::Write as _;

use opentelemetry::baggage::{Baggage, KeyValueMetadata};

/// The longest header that is written or read, in bytes: what the standard has everybody carry.
pub(crate) const BYTES_MAX: usize = 8192;

/// The most entries, likewise.
pub(crate) const ENTRIES_MAX: usize = 64;

/// The header of these entries, in the order of their names, so that the same entries make the same header; `None`: it
/// would be empty. An entry for which there is no room is left out, and smaller ones after it are not.
pub(crate) fn header(baggage: &Baggage) -> Option<String> {
    let mut entries: Vec<_> = baggage.iter().collect();
    entries.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    let (mut header, mut count) = (String::new(), 0);
    for (name, (value, metadata)) in entries {
        let mut entry = format!("{name}=");
        encode(value.as_str(), &mut entry);
        if is_metadata(metadata.as_str()) {
            entry.push(';');
            entry.push_str(metadata.as_str());
        }
        let comma = usize::from(!header.is_empty());
        if count == ENTRIES_MAX || header.len() + comma + entry.len() > BYTES_MAX {
            continue;
        }
        if comma == 1 {
            header.push(',');
        }
        header.push_str(&entry);
        count += 1;
    }
    (!header.is_empty()).then_some(header)
}

/// What may stand behind an entry as it is: anything else could begin an entry of its own.
fn is_metadata(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (byte.is_ascii_graphic() || byte == b' ') && byte != b',')
}

/// Percent-encodes what is neither a letter nor a digit nor `-._~`: more than must be, and readable by everybody.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte))
            }
            // Writing to a string does not fail.
            other => drop(write!(into, "%{other:02X}")),
        }
    }
}

/// Reads a header; what is no entry is passed over, as is all of a header that is too long.
pub(crate) fn read(header: &str) -> Baggage {
    if header.len() > BYTES_MAX {
        return Baggage::new();
    }
    Baggage::from(header.split(',').take(ENTRIES_MAX).filter_map(entry).collect::<Vec<_>>())
}

fn entry(text: &str) -> Option<KeyValueMetadata> {
    let (entry, metadata) = text.split_once(';').unwrap_or((text, ""));
    let (name, value) = entry.split_once('=')?;
    Some(KeyValueMetadata::new(name.trim().to_owned(), decode(value.trim())?, metadata))
}

/// `None`: what is encoded is no UTF-8. A percent sign that encodes nothing stands for itself.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let encoded = match behind {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match encoded {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&'static str, &str)]) -> Baggage {
        let mut baggage = Baggage::new();
        for (name, value) in entries {
            baggage.insert(*name, (*value).to_owned());
        }
        baggage
    }

    #[test]
    fn baggage_comes_back_as_it_was_written() {
        let mut baggage = of(&[("b", "x y,z;=%25"), ("a", "\u{e4}\u{1f980}"), ("c", "")]);
        baggage.insert_with_metadata("d", "1", "private;ttl=5");
        let text = header(&baggage).unwrap();
        assert_eq!(text, "a=%C3%A4%F0%9F%A6%80,b=x%20y%2Cz%3B%3D%2525,c=,d=1;private;ttl=5");
        let again = read(&text);
        assert_eq!(again.len(), 4);
        for (name, (value, metadata)) in &baggage {
            assert_eq!(again.get_with_metadata(name.as_str()), Some(&(value.clone(), metadata.clone())));
        }
        assert_eq!(header(&Baggage::new()), None);
    }

    #[test]
    fn an_entry_for_which_there_is_no_room_is_left_out_whole() {
        // A byte that is encoded takes three, so that what the API takes may be too long for a header.
        let big = "\u{1f}".repeat(2500);
        let baggage = of(&[("a", &big), ("b", &big), ("c", "1")]);
        let text = header(&baggage).unwrap();
        assert_eq!(text, format!("a={},c=1", "%1F".repeat(2500)));
        assert!(text.len() <= BYTES_MAX);
    }

    #[test]
    fn metadata_that_could_be_an_entry_is_left_out() {
        let mut baggage = Baggage::new();
        baggage.insert_with_metadata("a", "1", "x,b=2");
        assert_eq!(header(&baggage).as_deref(), Some("a=1"));
    }

    #[test]
    fn what_is_no_entry_is_passed_over() {
        let baggage = read(" a = 1 , nothing, =x, b=%FF, c=%zz%4");
        assert_eq!(baggage.get("a").map(|value| value.as_str()), Some("1"));
        assert_eq!(baggage.get("c").map(|value| value.as_str()), Some("%zz%4"));
        assert_eq!(baggage.len(), 2);
        assert!(read(&format!("a={}", "x".repeat(BYTES_MAX))).is_empty());
        assert_eq!(
            read(&(0..100).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",")).len(),
            ENTRIES_MAX
        );
    }
}
