//! Standard output: results, and nothing else.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

use crate::ending::{Ending, Trouble};

/// Writes a result. A reader that has gone (`eventferry status | head`) has had enough.
pub(crate) fn print(text: &str) -> Result<(), Trouble> {
    offer(text).map(drop)
}

/// Whether somebody reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Present,
    /// The reader has gone: it has had enough.
    Gone,
}

/// Writes a part of a result that has no end of its own.
pub(crate) fn offer(text: &str) -> Result<Audience, Trouble> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Audience::Present),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Audience::Gone),
        Err(error) => {
            let message = format!("the result cannot be written to standard output: {error}");
            Err(Trouble { ending: Ending::Broken, message })
        }
    }
}

/// A text on one line that says nothing to the terminal: characters that move it are written out.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let written = |character: char| {
        let escaped = is_steering(character).then(|| character.escape_default().to_string());
        escaped.unwrap_or_else(|| character.to_string())
    };
    text.chars().map(written).collect::<String>().into()
}

/// JSON that says nothing to the terminal, and means the same.
pub(crate) fn plain_json(line: &str) -> Cow<'_, str> {
    if !line.contains(is_steering) {
        return Cow::Borrowed(line);
    }
    // All of them have four digits at most, and stand in strings only.
    let written = |character: char| match is_steering(character) {
        true => format!("\\u{:04x}", u32::from(character)),
        false => character.to_string(),
    };
    line.chars().map(written).collect::<String>().into()
}

/// Whether a character does something to a terminal rather than to be shown: controls, and what turns the direction of
/// the text around it, so that a line reads as what it does not say.
fn is_steering(character: char) -> bool {
    let turns = ['\u{61c}', '\u{200e}', '\u{200f}'];
    character.is_control()
        || turns.contains(&character)
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
        assert_eq!(plain("1\u{202e}2\u{2066}3"), "1\\u{202e}2\\u{2066}3");
    }

    #[test]
    fn json_with_control_characters_written_out_is_the_same() {
        let text = "\u{7f}\u{9b}31m\u{202e}größe\u{1b}\n";
        let line = serde_json::to_string(text).unwrap();
        let plain = plain_json(&line);
        assert_eq!(plain, r#""\u007f\u009b31m\u202egröße\u001b\n""#);
        assert_eq!(serde_json::from_str::<String>(&plain).unwrap(), text);
        assert_eq!(plain_json(r#""größe""#), r#""größe""#);
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
