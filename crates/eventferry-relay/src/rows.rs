//! The rows in the relay's hands, by token.

use eventferry_core::publisher::Token;

/// Rows by token, as long as the core may ask for them.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    slots: Vec<Option<R>>,
}

/// The core gives tokens whose low half is small and dense.
fn slot(token: Token) -> usize {
    (token.0 & u64::from(u32::MAX)) as usize
}

impl<R> Rows<R> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new() }
    }

    pub(crate) fn insert(&mut self, token: Token, row: R) {
        let slot = slot(token);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(row);
    }

    pub(crate) fn get(&self, token: Token) -> Option<&R> {
        self.slots.get(slot(token))?.as_ref()
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<R> {
        self.slots.get_mut(slot(token))?.take()
    }
}
