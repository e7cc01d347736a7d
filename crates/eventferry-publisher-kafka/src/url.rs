//! The parts of a Kafka URL.

use eventferry_core::PublishFault;

use crate::config::wrong;

/// Its brokers, each with a port.
pub(crate) fn brokers_of(list: &str) -> Result<String, PublishFault> {
    let mut brokers = Vec::new();
    for (broker, place) in list.split(',').zip(1..) {
        let port_at = match broker.rfind(']') {
            Some(bracket) => broker[bracket..].find(':').map(|colon| bracket + colon),
            None => broker.find(':'),
        };
        let (host, port) = match port_at {
            Some(colon) => (&broker[..colon], &broker[colon + 1..]),
            None => (broker, "9092"),
        };
        if host.is_empty() {
            return Err(wrong(format!(
                "broker {place} of the Kafka URL names no host: give kafka://host:port"
            )));
        }
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(wrong(format!(
                "what follows the `:` in broker {place} of the Kafka URL is no port: give 1 to 65535, and credentials \
                 as options, as in kafka://host:9092?sasl.username=..."
            )));
        }
        brokers.push(format!("{host}:{port}"));
    }
    Ok(brokers.join(","))
}

/// Two parts each, between which this stands, parted by commas; `None`: one has not two.
pub(crate) fn pairs<C: FromIterator<(String, String)>>(list: &str, between: char) -> Option<C> {
    let pairs = list.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once(between).map(|(one, other)| (one.to_owned(), other.to_owned())))
        .collect()
}

/// A name or a value.
pub(crate) fn percent_decoded(text: &str) -> Result<String, PublishFault> {
    let unreadable = || wrong("an option of the Kafka URL is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = after.get(..2).ok_or_else(unreadable)?;
            let digits = std::str::from_utf8(digits).map_err(|_| unreadable())?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| unreadable())?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| unreadable())
}
