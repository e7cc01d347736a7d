//! What a registry's answers mean: each status and error code in one table.

use std::time::Duration;

use eventferry_core::{PublishFault, PublishFaultKind};

/// The subject is not in the registry.
pub(crate) const SUBJECT_NOT_FOUND: &str = "SubjectNotFound";
/// The subject has no such version.
pub(crate) const VERSION_NOT_FOUND: &str = "VersionNotFound";
/// There is no such schema, or not under this subject.
pub(crate) const SCHEMA_NOT_FOUND: &str = "SchemaNotFound";
/// The schema is not compatible with those before it.
pub(crate) const SCHEMA_INCOMPATIBLE: &str = "SchemaIncompatible";
/// The schema is none, or not taken.
pub(crate) const SCHEMA_INVALID: &str = "SchemaInvalid";
/// The registry wants other credentials.
pub(crate) const REGISTRY_LOGIN: &str = "RegistryLogin";
/// The registry lets us have other things, and not this.
pub(crate) const REGISTRY_DENIES: &str = "RegistryDenies";
/// The registry does not take a subject of this name.
pub(crate) const SUBJECT_REFUSED: &str = "SubjectRefused";
/// The registry does not answer, or not as one.
pub(crate) const REGISTRY_UNAVAILABLE: &str = "RegistryUnavailable";

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// Ask again later: an outage, which counts for nothing.
    Wait,
    /// Ask again after the time the answer names.
    WaitAsTold,
    /// Somebody must do something about this topic's schema.
    Hold,
}

/// An answer's meaning.
#[derive(Debug)]
pub(super) struct Meaning {
    status: u16,
    /// The registry's own code; 0: any.
    code: u32,
    pub(super) now: Now,
    pub(super) class: &'static str,
    says: &'static str,
    /// Whether the registry's own words are worth repeating: of what it thinks of a schema.
    repeats: bool,
}

const fn meaning(status: u16, code: u32, now: Now, class: &'static str, says: &'static str) -> Meaning {
    Meaning { status, code, now, class, says, repeats: false }
}

const fn of_schema(status: u16, code: u32, class: &'static str, says: &'static str) -> Meaning {
    Meaning { status, code, now: Now::Hold, class, says, repeats: true }
}

const REGISTER: &str = "there is no such subject: register a schema there, or switch auto-registration on";

/// Confluent's codes, <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>; the first one that
/// fits counts. What is not here is an outage.
const TABLE: &[Meaning] = &[
    meaning(
        401,
        0,
        Now::Wait,
        REGISTRY_LOGIN,
        "it does not know who asks: renew or correct the registry's credentials",
    ),
    meaning(
        403,
        0,
        Now::Wait,
        REGISTRY_DENIES,
        "whoever asks may not: grant it to the user of the registry's credentials",
    ),
    meaning(
        400,
        0,
        Now::Hold,
        SUBJECT_REFUSED,
        "it does not take this name: see the subject's or the record's",
    ),
    meaning(404, 40401, Now::Hold, SUBJECT_NOT_FOUND, REGISTER),
    meaning(
        404,
        40402,
        Now::Hold,
        VERSION_NOT_FOUND,
        "the subject has no such version: register it, or name another",
    ),
    meaning(
        404,
        40403,
        Now::Hold,
        SCHEMA_NOT_FOUND,
        "there is no such schema: register it, or switch auto-registration on",
    ),
    meaning(404, 40404, Now::Hold, SUBJECT_NOT_FOUND, "the subject was deleted: register a schema there"),
    meaning(
        404,
        40406,
        Now::Hold,
        VERSION_NOT_FOUND,
        "the subject's version was deleted: register it, or name another",
    ),
    of_schema(
        409,
        0,
        SCHEMA_INCOMPATIBLE,
        "the schema is not compatible with those before it: change it, or the subject's compatibility",
    ),
    of_schema(
        422,
        42201,
        SCHEMA_INVALID,
        "the schema is not valid there: correct it, and see its references",
    ),
    meaning(422, 42202, Now::Hold, VERSION_NOT_FOUND, "this is no version: give a number from 1 on"),
    meaning(
        422,
        42205,
        Now::Hold,
        SCHEMA_INVALID,
        "the subject or registry takes no schemas now (its mode is read-only): change the mode, or register elsewhere",
    ),
    of_schema(422, 0, SCHEMA_INVALID, "the schema is not taken: correct it, and see its references"),
    meaning(429, 0, Now::WaitAsTold, REGISTRY_UNAVAILABLE, "it is asked too often"),
    meaning(
        404,
        0,
        Now::Wait,
        REGISTRY_UNAVAILABLE,
        "nothing is there: see whether the URL is a registry's, with its path",
    ),
    meaning(500, 50001, Now::Wait, REGISTRY_UNAVAILABLE, "its own store fails"),
    meaning(500, 50002, Now::Wait, REGISTRY_UNAVAILABLE, "its own store takes too long"),
    meaning(500, 50003, Now::Wait, REGISTRY_UNAVAILABLE, "its primary does not answer"),
    meaning(500, 50004, Now::Wait, REGISTRY_UNAVAILABLE, "it has no primary"),
];

const UNKNOWN: Meaning = meaning(0, 0, Now::Wait, REGISTRY_UNAVAILABLE, "it cannot answer now");
const REDIRECTS: Meaning =
    meaning(300, 0, Now::Wait, REGISTRY_UNAVAILABLE, "it redirects to another place, which is not followed");

/// For how long nothing is asked after an answer of 429 that names no time, and at most.
const THROTTLED: Duration = Duration::from_secs(1);
const THROTTLED_MAX: Duration = Duration::from_secs(60);

/// How much of the registry's words is repeated, in characters.
const WORDS_CHARS_MAX: usize = 400;

/// What an answer means that is no good one.
pub(super) fn meaning_of(status: u16, code: u32) -> &'static Meaning {
    let found = TABLE.iter().find(|row| row.status == status && (row.code == 0 || row.code == code));
    found.unwrap_or(if (300..400).contains(&status) { &REDIRECTS } else { &UNKNOWN })
}

/// For how long nothing is asked.
pub(super) fn throttled_for(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or(THROTTLED).min(THROTTLED_MAX)
}

impl Meaning {
    /// The fault, of a server and what was asked of it.
    pub(super) fn fault(&self, host: &str, asked: &str, answer: &Words<'_>) -> PublishFault {
        let kind = match self.now {
            Now::Wait => PublishFaultKind::Unavailable,
            Now::WaitAsTold => PublishFaultKind::Throttled(throttled_for(answer.retry_after)),
            Now::Hold => PublishFaultKind::TopicRefused,
        };
        let code = if answer.code == 0 || answer.code == u32::from(answer.status) {
            String::new()
        } else {
            format!(", code {}", answer.code)
        };
        let words = if self.repeats && !answer.message.is_empty() {
            format!(" ({})", shortened(answer.message))
        } else {
            String::new()
        };
        let says = format!(
            "schema registry {host} answers {}{code} to {asked}: {}{words}",
            answer.status, self.says
        );
        PublishFault::new(kind, says).of_class(self.class)
    }
}

/// What an answer says of its trouble.
#[derive(Debug)]
pub(super) struct Words<'a> {
    pub(super) status: u16,
    pub(super) code: u32,
    pub(super) message: &'a str,
    pub(super) retry_after: Option<Duration>,
}

/// Somebody else's words, on one line.
pub(super) fn shortened(words: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = words.chars().map(plain).take(WORDS_CHARS_MAX).collect();
    if words.chars().nth(WORDS_CHARS_MAX).is_some() {
        short.push_str("...");
    }
    short
}

/// The registry's own faults: it does not answer.
pub(super) fn unavailable(what: impl Into<String>) -> PublishFault {
    PublishFault::new(PublishFaultKind::Unavailable, what).of_class(REGISTRY_UNAVAILABLE)
}

/// A fault that somebody must do something about.
pub(crate) fn refused(class: &'static str, what: impl Into<String>) -> PublishFault {
    PublishFault::new(PublishFaultKind::TopicRefused, what).of_class(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, code: u32) -> PublishFaultKind {
        let words = Words { status, code, message: "", retry_after: Some(Duration::from_secs(7)) };
        *meaning_of(status, code).fault("h", "GET /", &words).kind()
    }

    #[test]
    fn each_answer_has_one_meaning() {
        for (status, code, expected) in [
            (401, 401, PublishFaultKind::Unavailable),
            (403, 40301, PublishFaultKind::Unavailable),
            (404, 40401, PublishFaultKind::TopicRefused),
            (404, 40402, PublishFaultKind::TopicRefused),
            (404, 40403, PublishFaultKind::TopicRefused),
            // Not a registry's own: the URL is wrong, and that is nobody's schema's fault.
            (404, 404, PublishFaultKind::Unavailable),
            (404, 0, PublishFaultKind::Unavailable),
            (409, 409, PublishFaultKind::TopicRefused),
            (422, 42201, PublishFaultKind::TopicRefused),
            (422, 42299, PublishFaultKind::TopicRefused),
            (429, 0, PublishFaultKind::Throttled(Duration::from_secs(7))),
            (500, 50003, PublishFaultKind::Unavailable),
            (502, 0, PublishFaultKind::Unavailable),
            (302, 0, PublishFaultKind::Unavailable),
            (418, 0, PublishFaultKind::Unavailable),
        ] {
            assert_eq!(kind(status, code), expected, "{status} {code}");
        }
        assert_eq!(throttled_for(None), THROTTLED);
        assert_eq!(throttled_for(Some(Duration::MAX)), THROTTLED_MAX);
    }

    #[test]
    fn only_what_a_registry_thinks_of_a_schema_is_repeated_and_not_without_end() {
        let message = format!("sesame\n{}", "x".repeat(1_000));
        let said = |status, code| {
            let words = Words { status, code, message: &message, retry_after: None };
            meaning_of(status, code).fault("h", "POST /", &words).message().to_owned()
        };
        assert!(!said(401, 0).contains("sesame") && !said(500, 0).contains("sesame"));
        let repeated = said(409, 409);
        assert!(repeated.contains("sesame x") && repeated.ends_with("...)"), "{repeated}");
    }
}
