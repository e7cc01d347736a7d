//! Why events were refused, until the ledger knows.

use std::collections::HashMap;
use std::sync::Arc;

use eventferry_core::machine::TopicId;
use eventferry_core::parked::{CAUSE_MESSAGE_CHARS_MAX, Cause};
use eventferry_core::publisher::Token;
use eventferry_core::{PublishFault, PublishFaultKind};

/// Why an event was refused, in the two forms of [`Cause`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) class: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn of(fault: &PublishFault) -> Self {
        let class = fault.class().unwrap_or_else(|| kind_name(*fault.kind()));
        // A broker's words have no bound; the ledger's have.
        Self { class, message: fault.message().chars().take(CAUSE_MESSAGE_CHARS_MAX).collect() }
    }

    pub(crate) fn cause(&self) -> Cause<'_> {
        Cause { class: self.class, message: &self.message }
    }
}

/// The name of a kind: stays the same between versions, for people filter by it.
pub(crate) fn kind_name(kind: PublishFaultKind) -> &'static str {
    match kind {
        PublishFaultKind::Unavailable => "Unavailable",
        PublishFaultKind::Throttled(_) => "Throttled",
        PublishFaultKind::Rejected => "Rejected",
        PublishFaultKind::TopicRefused => "TopicRefused",
        PublishFaultKind::Fenced => "Fenced",
        PublishFaultKind::Misconfigured => "Misconfigured",
        _ => "Unknown",
    }
}

/// The last refusal of each record in hand and of each topic.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    records: HashMap<Token, Arc<Refusal>>,
    topics: HashMap<TopicId, Arc<Refusal>>,
}

impl Refusals {
    pub(crate) fn note(&mut self, token: Token, refusal: Refusal) {
        self.records.insert(token, Arc::new(refusal));
    }

    pub(crate) fn note_topic(&mut self, topic: TopicId, refusal: Refusal) {
        self.topics.insert(topic, Arc::new(refusal));
    }

    pub(crate) fn forget(&mut self, token: Token) {
        // Asked for every acknowledged record, and nearly always empty.
        if !self.records.is_empty() {
            self.records.remove(&token);
        }
    }

    /// Why this record was refused. Kept until the record is forgotten: the settlement that tells it may be told
    /// again.
    pub(crate) fn of(&self, token: Token) -> Arc<Refusal> {
        self.records.get(&token).cloned().unwrap_or_else(|| unsaid("Unknown", "the broker did not say why"))
    }

    /// Why this record was refused, if it was.
    pub(crate) fn known(&self, token: Token) -> Option<Arc<Refusal>> {
        self.records.get(&token).cloned()
    }

    /// Why this topic takes nothing.
    pub(crate) fn of_topic(&self, topic: TopicId) -> Arc<Refusal> {
        let told = self.topics.get(&topic).cloned();
        told.unwrap_or_else(|| unsaid("TopicRefused", "the broker takes nothing for this topic"))
    }
}

fn unsaid(class: &'static str, message: &str) -> Arc<Refusal> {
    Arc::new(Refusal { class, message: message.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_without_a_class_is_called_by_its_kind() {
        let fault = PublishFault::new(PublishFaultKind::Rejected, "no");
        assert_eq!(Refusal::of(&fault).cause(), Cause { class: "Rejected", message: "no" });
        let fault = fault.of_class("MessageSizeTooLarge");
        assert_eq!(Refusal::of(&fault).class, "MessageSizeTooLarge");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let fault = PublishFault::new(PublishFaultKind::Rejected, "ß".repeat(5_000));
        assert_eq!(Refusal::of(&fault).message.chars().count(), CAUSE_MESSAGE_CHARS_MAX);
    }

    #[test]
    fn a_refusal_is_kept_until_its_record_is_forgotten() {
        let mut refusals = Refusals::default();
        let fault = PublishFault::new(PublishFaultKind::Rejected, "too large").of_class("Large");
        refusals.note(Token(1), Refusal::of(&fault));
        assert_eq!((refusals.of(Token(1)).class, refusals.of(Token(1)).class), ("Large", "Large"));
        refusals.forget(Token(1));
        assert_eq!(refusals.of(Token(1)).class, "Unknown");
    }
}
