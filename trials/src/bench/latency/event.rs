//! The events that are carried: 300 bytes of JSON, of many customers.

/// The bytes of a payload.
const PAYLOAD_BYTES: usize = 300;

/// How many customers there are: aggregates whose order is kept.
const CUSTOMERS: u64 = 5_000;

const BEFORE: &str = r#"{"event":"#;

/// The customer whose event this is.
pub(super) fn customer(event: u64) -> String {
    format!("customer-{}", event * 7_919 % CUSTOMERS)
}

/// What an event says: its number, and words that fill it up.
pub(super) fn payload(event: u64) -> Vec<u8> {
    let mut text = format!(r#"{BEFORE}{event},"note":""#);
    while text.len() < PAYLOAD_BYTES - 2 {
        text.push(char::from(b'a' + (text.len() as u64 * 31 + event) as u8 % 26));
    }
    text.push_str("\"}");
    text.into_bytes()
}

/// The number that a payload says.
pub(super) fn number_in(payload: &[u8]) -> Option<u64> {
    let rest = payload.strip_prefix(BEFORE.as_bytes())?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_its_size_and_says_its_number() {
        for event in [0, 7, 123_456_789] {
            let payload = payload(event);
            assert_eq!(payload.len(), PAYLOAD_BYTES);
            assert_eq!(number_in(&payload), Some(event));
            serde_json::from_slice::<serde_json::Value>(&payload).unwrap();
        }
        assert_eq!(number_in(b"{\"other\":1}"), None);
        assert_eq!(number_in(b""), None);
    }
}
