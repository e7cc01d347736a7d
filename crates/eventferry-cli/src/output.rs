//! Standard output: results, and nothing else.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

use crate::ending::{Ending, Trouble};

/// Writes a result. A reader that has gone (`eventferry status | head`) has had enough.
pub(crate) fn print(text: &str) -> Result<(), Trouble> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let message = format!("the result cannot be written to standard output: {error}");
            Err(Trouble { ending: Ending::Broken, message })
        }
        _ => Ok(()),
    }
}

/// A text on one line that says nothing to the terminal: control characters are written out.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let written = |character: char| {
        let escaped = character.is_control().then(|| character.escape_default().to_string());
        escaped.unwrap_or_else(|| character.to_string())
    };
    text.chars().map(written).collect::<String>().into()
}

/// 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(plain("größe"), "größe");
        assert_eq!(plain("a\n\x1b[31mb\u{9b}c"), "a\\n\\u{1b}[31mb\\u{9b}c");
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
