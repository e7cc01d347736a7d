//! UUIDs as text, 8-4-4-4-12 hexadecimal digits (RFC 9562).

/// What a message says is wanted.
pub(crate) const WANTED: &str = "wants a UUID such as \"123e4567-e89b-12d3-a456-426614174000\"";

/// Where its hyphens stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The bytes of a text; `None`: it is none.
pub(crate) fn from_text(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 || HYPHENS.iter().any(|at| text.as_bytes()[*at] != b'-') {
        return None;
    }
    let mut digits = text.chars().enumerate().filter(|(at, _)| !HYPHENS.contains(at));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let mut digit = || digits.next()?.1.to_digit(16);
        *byte = (digit()? << 4 | digit()?) as u8;
    }
    Some(bytes)
}

/// The text of bytes, in small letters.
pub(crate) fn to_text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
    }
    text
}
