//! JSON read piece by piece, as a format that walks its schema asks for it, and written.
//!
//! A reader of our own, for numbers must keep their digits: `serde_json` reads those that are no 64-bit integer into
//! an `f64` unless a feature changes its numbers for every crate of a program.

use std::borrow::Cow;

use crate::format::PayloadFault;

/// How deep values may lie in each other.
pub const DEPTH_MAX: usize = 128;

/// The same where values are passed over: names of a union's branches may lie between them, which count as none.
const SKIPPED_DEPTH_MAX: usize = 2 * DEPTH_MAX + 1;

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true`, `false`.
    Boolean,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// By a value's first byte.
    pub fn by_first(byte: u8) -> Option<Self> {
        Some(match byte {
            b'n' => Self::Null,
            b't' | b'f' => Self::Boolean,
            b'-' | b'0'..=b'9' => Self::Number,
            b'"' => Self::String,
            b'[' => Self::Array,
            b'{' => Self::Object,
            _ => return None,
        })
    }

    /// As a message says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// A place in a JSON text (RFC 8259).
///
/// Each method that passes something fails where something else stands, with a fault that says at which byte, and
/// has no path: whoever went into an array or object to get there puts it before with [`within`].
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the start of a text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn new(json: &'a [u8]) -> Result<Self, PayloadFault> {
        let text = std::str::from_utf8(json).map_err(|fault| {
            at_root(format!("this is not JSON: byte {} is not UTF-8", fault.valid_up_to() + 1))
        })?;
        Ok(Self { text, at: 0 })
    }

    /// What comes next; it is not passed.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn kind(&mut self) -> Result<Kind, PayloadFault> {
        self.peek().and_then(Kind::by_first).ok_or_else(|| self.broken("a value"))
    }

    /// Passes `null`.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn null(&mut self) -> Result<(), PayloadFault> {
        if self.literal("null") { Ok(()) } else { Err(self.broken("null")) }
    }

    /// Passes `true` or `false`.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn boolean(&mut self) -> Result<bool, PayloadFault> {
        if self.literal("true") {
            Ok(true)
        } else if self.literal("false") {
            Ok(false)
        } else {
            Err(self.broken("a boolean"))
        }
    }

    /// Passes a number: its text, which is one by JSON's grammar.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn number(&mut self) -> Result<&'a str, PayloadFault> {
        self.peek();
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.broken("a digit")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        if let Some(b'0'..=b'9' | b'.' | b'a'..=b'z' | b'A'..=b'Z') = self.byte() {
            return Err(self.broken("the end of a number"));
        }
        Ok(&self.text[start..self.at])
    }

    /// Passes a string.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn string(&mut self) -> Result<Cow<'a, str>, PayloadFault> {
        if self.peek() != Some(b'"') {
            return Err(self.broken("a string"));
        }
        self.at += 1;
        let start = self.at;
        self.run();
        if self.byte() == Some(b'"') {
            let text = &self.text[start..self.at];
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut text = self.text[start..self.at].to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => {
                    return Err(self.broken("the end of a string; control characters are written as escapes"));
                }
            }
            let start = self.at;
            self.run();
            text.push_str(&self.text[start..self.at]);
        }
    }

    /// Enters an array.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn array(&mut self) -> Result<Items, PayloadFault> {
        self.open(b'[', "an array")
    }

    /// Enters an object.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn object(&mut self) -> Result<Items, PayloadFault> {
        self.open(b'{', "an object")
    }

    /// Whether another item comes; else the array is left.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn item(&mut self, items: &mut Items) -> Result<bool, PayloadFault> {
        self.another(items, b']')
    }

    /// The key of another member, whose value comes next; else the object is left.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn key(&mut self, items: &mut Items) -> Result<Option<Cow<'a, str>>, PayloadFault> {
        if !self.another(items, b'}')? {
            return Ok(None);
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.broken("a colon"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Passes a value, whatever it is.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn skip(&mut self) -> Result<(), PayloadFault> {
        self.skip_in(0)
    }

    fn skip_in(&mut self, depth: usize) -> Result<(), PayloadFault> {
        match self.kind()? {
            Kind::Null => self.null(),
            Kind::Boolean => self.boolean().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::String => self.string().map(drop),
            Kind::Array | Kind::Object if depth == SKIPPED_DEPTH_MAX => Err(too_deep()),
            Kind::Array => {
                let mut items = self.array()?;
                while self.item(&mut items)? {
                    self.skip_in(depth + 1)?;
                }
                Ok(())
            }
            Kind::Object => {
                let mut items = self.object()?;
                while self.key(&mut items)?.is_some() {
                    self.skip_in(depth + 1)?;
                }
                Ok(())
            }
        }
    }

    /// That nothing follows but white space.
    ///
    /// # Errors
    /// It is not what stands here.
    pub fn end(&mut self) -> Result<(), PayloadFault> {
        if self.peek().is_none() { Ok(()) } else { Err(self.broken("the end")) }
    }

    /// Where it stands, for [`Reader::since`].
    pub fn mark(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// The text since a mark.
    pub fn since(&self, mark: usize) -> &'a str {
        &self.text[mark..self.at]
    }

    fn open(&mut self, bracket: u8, what: &str) -> Result<Items, PayloadFault> {
        if self.peek() != Some(bracket) {
            return Err(self.broken(what));
        }
        self.at += 1;
        Ok(Items { first: true })
    }

    fn another(&mut self, items: &mut Items, bracket: u8) -> Result<bool, PayloadFault> {
        let first = std::mem::take(&mut items.first);
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(false)
            }
            Some(_) if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.broken("a comma, or the end of an array or object")),
        }
    }

    /// Passes characters of a string that stand for themselves.
    fn run(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let plain = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
        self.at += rest.iter().position(plain).unwrap_or(rest.len());
    }

    fn escape(&mut self) -> Result<char, PayloadFault> {
        self.at += 1;
        let escaped = match self.byte() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.escaped_unit(),
            _ => return Err(self.broken("an escape")),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// `\uXXXX`, or two of them that are a pair of surrogates; it stands at the `u`.
    fn escaped_unit(&mut self) -> Result<char, PayloadFault> {
        let first = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if !self.text[self.at..].starts_with("\\u") {
                return Err(self.broken("the other half of a surrogate pair"));
            }
            self.at += 1;
            let second = self.hex()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.broken("the other half of a surrogate pair"));
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.broken("a first half before a surrogate's second"))
    }

    fn hex(&mut self) -> Result<u32, PayloadFault> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let code =
            digits.and_then(|digits| digits.iter().try_fold(0, |code, byte| Some(code << 4 | digit(byte)?)));
        let code = code.ok_or_else(|| self.broken("four hexadecimal digits"))?;
        self.at += 5;
        Ok(code)
    }

    fn digits(&mut self) -> Result<(), PayloadFault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start { Err(self.broken("a digit")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str) -> bool {
        self.peek();
        let is_it = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if is_it {
            self.at += word.len();
        }
        is_it
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space; it is not passed.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = self.byte();
            match byte {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                _ => return byte,
            }
        }
    }

    fn broken(&self, wanted: &str) -> PayloadFault {
        at_root(format!("this is not JSON: byte {} is not {wanted}", self.at + 1))
    }
}

/// The items of an array or object that is being read.
#[derive(Debug)]
pub struct Items {
    first: bool,
}

/// One deeper than `depth`.
///
/// # Errors
/// It is [`DEPTH_MAX`].
pub fn deeper(depth: usize) -> Result<usize, PayloadFault> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(too_deep()) }
}

fn too_deep() -> PayloadFault {
    at_root(format!("values lie more than {DEPTH_MAX} deep in each other"))
}

/// A fault of the value that is being looked at; who called puts the path before it.
pub fn at_root(message: String) -> PayloadFault {
    PayloadFault { path: String::new(), message }
}

/// The same fault, seen from outside.
pub fn within(mut fault: PayloadFault, segment: &str) -> PayloadFault {
    let segment = segment.replace('~', "~0").replace('/', "~1");
    fault.path.insert_str(0, &segment);
    fault.path.insert(0, '/');
    fault
}

/// Writes a string with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Writes a finite number as `text` makes it, and one of the three that JSON does not have as a string.
pub fn write_float(out: &mut Vec<u8>, value: f64, text: impl FnOnce() -> String) {
    if value.is_finite() {
        out.extend_from_slice(text().as_bytes());
    } else {
        let text = match value {
            f64::INFINITY => "Infinity",
            f64::NEG_INFINITY => "-Infinity",
            _ => "NaN",
        };
        write_string(out, text);
    }
}

/// Names in a message: the first few.
pub fn listed(names: &[Box<str>]) -> String {
    const LISTED_MAX: usize = 12;
    let mut text =
        names.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED_MAX {
        text.push_str(", …");
    }
    text
}
