//! What is shown of names that are a payload's author's.

/// No part of a message is longer.
pub(crate) const PART_CHARS_MAX: usize = 200;

/// A part of a message, at its bound.
pub(crate) fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(PART_CHARS_MAX) {
        text.truncate(at);
        text.push('…');
    }
    text
}
