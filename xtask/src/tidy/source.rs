//! A file of the house, and its Rust with comments and literals taken out.

use std::path::Path;

/// A text file, by its path below the root of the house.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }

    /// The file's lines, from 1, in which nothing is left of comments, strings and characters but blanks. A rule
    /// that looks for a word in code looks here, or it would find itself.
    pub(crate) fn code_lines(&self) -> Vec<(usize, String)> {
        let code = Reader { rest: &self.text, code: String::with_capacity(self.text.len()) }.read();
        (1..).zip(code.lines().map(str::to_owned)).collect()
    }
}

/// Copies code and blanks the rest, keeping every line break.
struct Reader<'a> {
    rest: &'a str,
    code: String,
}

impl Reader<'_> {
    fn read(mut self) -> String {
        while let Some(first) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.blank(block_comment_bytes(self.rest));
            } else if let Some(bytes) = raw_string_bytes(self.rest).filter(|_| !self.is_inside_a_word()) {
                self.blank(bytes);
            } else if first == '"' {
                self.blank(quoted_bytes(self.rest, '"'));
            } else if first == '\'' && is_character(self.rest) {
                self.blank(quoted_bytes(self.rest, '\''));
            } else {
                self.code.push(first);
                self.rest = &self.rest[first.len_utf8()..];
            }
        }
        self.code
    }

    fn blank(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes);
        self.code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }

    /// Whether an `r` here is the end of a name, such as that of a macro, rather than the start of a raw string.
    fn is_inside_a_word(&self) -> bool {
        self.code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
    }
}

/// The length of a block comment; they nest.
fn block_comment_bytes(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a raw string such as `r#"..."#` or `br"..."`, if one starts here.
fn raw_string_bytes(text: &str) -> Option<usize> {
    let after_r =
        text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'))?;
    let body = after_r.trim_start_matches('#');
    let hashes = after_r.len() - body.len();
    let body = body.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(text.len() - body.len() + end)
}

/// The length of a literal between two `quote`s, in which a backslash hides the next character.
fn quoted_bytes(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => {
                characters.next();
            }
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// A quote starts a character literal, or the name of a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// Whether `word` stands in `line` as a whole word.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_part)
            && !line[at + word.len()..].chars().next().is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let lines = SourceFile::new("x.rs", text).code_lines();
        lines.into_iter().map(|(_, line)| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn comments_are_no_code() {
        assert_eq!(code("a // std::\nb /* std:: /* in */ out\n*/ c"), "a\nb\n   c");
    }

    #[test]
    fn strings_are_no_code() {
        assert_eq!(code("f(\"std:: \\\" // \", x)").split_whitespace().collect::<String>(), "f(,x)");
        assert_eq!(code("f(r#\"a \" b\"#, br\"\\\")").split_whitespace().collect::<String>(), "f(,)");
        assert_eq!(code("println!(\"a\nb\")"), "println!(\n  )");
    }

    #[test]
    fn a_lifetime_is_code_and_a_character_is_not() {
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("('\"', '\\'', b)").split_whitespace().collect::<String>(), "(,,b)");
    }

    #[test]
    fn words_are_found_whole() {
        assert!(has_word("let t = Instant::now();", "Instant"));
        assert!(!has_word("let t = Instantly::now();", "Instant"));
        assert!(!has_word("not_std::x", "std"));
    }
}
