//! Bytes for people, and in lines of JSON, which are part of the program's interface.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// Bytes under the name of how they are written.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bytes {
    Text(String),
    Base64(String),
}

impl Bytes {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(base64(bytes)),
        }
    }
}

/// A header.
#[derive(Debug, Serialize)]
pub(crate) struct HeaderLine {
    name: String,
    #[serde(flatten)]
    value: Bytes,
}

impl HeaderLine {
    pub(crate) fn of(name: &str, value: &[u8]) -> Self {
        Self { name: name.to_owned(), value: Bytes::of(value) }
    }
}

/// Bytes as base64, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes for people: as text, if they are one.
pub(crate) fn written(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{} (base64)", base64(bytes)),
    }
}
