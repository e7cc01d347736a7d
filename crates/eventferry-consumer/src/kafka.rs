//! Messages of rdkafka's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::Message;
use rdkafka::message::Headers;

use crate::arrival::malformed;
use crate::{Arrival, DecodeFault};

impl<'a> Arrival<'a> {
    /// Decodes a message of rdkafka's consumers, borrowed or detached. See [`Arrival::decode`].
    ///
    /// # Errors
    /// Those of [`Arrival::decode`]; and [`Malformed`](crate::DecodeFaultKind::Malformed) where a header's name is
    /// not UTF-8, which no event of eventferry's has.
    pub fn of_message(message: &'a impl Message) -> Result<Self, DecodeFault> {
        let mut headers = Vec::new();
        if let Some(found) = message.headers() {
            for at in 0..found.count() {
                headers.push(header(found, at)?);
            }
        }
        Self::decode(headers, message.key(), message.payload())
    }
}

fn header(headers: &impl Headers, at: usize) -> Result<(&str, &[u8]), DecodeFault> {
    // The binding panics over a name that is not UTF-8; anybody who may write to the topic could end us so. Nothing
    // of ours is behind the call that could be left half done.
    let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(at)));
    let header = header.ok().flatten();
    let header = header.ok_or_else(|| malformed("", format!("the name of header {at} is not UTF-8")))?;
    Ok((header.key, header.value.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;

    fn message(headers: OwnedHeaders) -> OwnedMessage {
        let (payload, key) = (Some(b"{}".to_vec()), Some(b"42".to_vec()));
        OwnedMessage::new(payload, key, "t".to_owned(), Timestamp::NotAvailable, 0, 0, Some(headers))
    }

    fn with(headers: OwnedHeaders, key: &str, value: Option<&str>) -> OwnedHeaders {
        headers.insert(Header { key, value })
    }

    #[test]
    fn a_message_is_decoded_and_a_null_header_is_empty() {
        let mut headers = OwnedHeaders::new();
        for (key, value) in [
            ("message-id", Some("0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f")),
            ("aggregate-type", Some("order")),
            ("aggregate-id", Some("42")),
            ("b", Some("1")),
            ("b", None),
        ] {
            headers = with(headers, key, value);
        }
        let message = message(headers);
        let arrival = Arrival::of_message(&message).unwrap();
        assert_eq!(arrival.headers, [("b", &b"1"[..]), ("b", b"")]);
        assert_eq!((arrival.key, arrival.payload), (Some(&b"42"[..]), Some(&b"{}"[..])));
    }

    #[test]
    fn a_message_without_headers_is_no_event() {
        let bare = message(OwnedHeaders::new());
        assert_eq!(Arrival::of_message(&bare).unwrap_err().message(), "no header message-id");
        let none = OwnedMessage::new(None, None, "t".to_owned(), Timestamp::NotAvailable, 0, 0, None);
        assert_eq!(Arrival::of_message(&none).unwrap_err().message(), "no header message-id");
    }

    /// As the binding does over a name that is not UTF-8.
    struct Panicking;

    impl Headers for Panicking {
        fn count(&self) -> usize {
            1
        }

        fn try_get(&self, _: usize) -> Option<Header<'_, &[u8]>> {
            panic!("a name that is not UTF-8")
        }
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_an_error_and_no_panic() {
        let fault = header(&Panicking, 0).unwrap_err();
        assert!(fault.message().contains("the name of header 0 is not UTF-8"), "{fault}");
    }
}
