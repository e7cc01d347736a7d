//! Bytes as text: each as the character of its number, U+0000 to U+00FF, which is Avro's own way.

/// The bytes of a text; `None`: it has another character.
pub(crate) fn from_text(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

/// The text of bytes.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
