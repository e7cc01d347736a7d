//! The model's transactions: whose they are, and what becomes of them.

use std::collections::{BTreeMap, VecDeque};

use eventferry_core::{OutboxId, Stamp};

use super::broker::{Broker, Message};
use super::flaw::Flaw;

/// What a broker knows of transactions.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    outboxes: BTreeMap<String, Outbox>,
    /// Of a flawed model: what was committed and nobody can read yet.
    pub(super) late: Vec<Message>,
}

#[derive(Debug, Default)]
struct Outbox {
    /// The session that took over last.
    owner: u64,
    /// Begun and not ended, in that order.
    open: VecDeque<Transaction>,
    committed: Vec<Stamp>,
    begun: Option<Stamp>,
}

#[derive(Debug)]
struct Transaction {
    stamp: Stamp,
    messages: Vec<Message>,
}

/// Why a request is not answered as it hoped.
#[derive(Debug)]
pub(super) struct Fenced;

impl Broker {
    fn outbox(&mut self, outbox: &OutboxId) -> &mut Outbox {
        let name = if self.has(Flaw::OneOutboxForAll) { "" } else { outbox.0.as_str() };
        self.coordinator.outboxes.entry(name.into()).or_default()
    }

    /// Gives an outbox to a session; answers with what was committed last.
    pub(super) fn take_over(&mut self, outbox: &OutboxId, session: u64) -> Option<Stamp> {
        let fences = !self.has(Flaw::TakeOverFencesNobody);
        let (forgets, first) = (self.has(Flaw::ForgetsStamps), self.has(Flaw::TellsTheFirstStamp));
        let newest = self.has(Flaw::TellsTheNewestStamp);
        let commits = self.has(Flaw::TakeOverCommitsTheOpen);
        let taken = self.outbox(outbox);
        if fences {
            taken.owner = session;
        }
        let open = if fences { std::mem::take(&mut taken.open) } else { VecDeque::new() };
        let told = match (first, newest) {
            (true, _) => taken.committed.first(),
            (_, true) => taken.begun.as_ref(),
            _ => taken.committed.last(),
        };
        let told = told.copied().filter(|_| !forgets);
        if commits {
            open.into_iter().flat_map(|open| open.messages).for_each(|message| self.write(message));
        }
        told
    }

    fn owned(&mut self, outbox: &OutboxId, session: u64) -> Result<&mut Outbox, Fenced> {
        let fences = !self.has(Flaw::TakeOverFencesNobody);
        let taken = self.outbox(outbox);
        if taken.owner == session || !fences { Ok(taken) } else { Err(Fenced) }
    }

    pub(super) fn begin(&mut self, outbox: &OutboxId, session: u64, stamp: Stamp) -> Result<(), Fenced> {
        let taken = self.owned(outbox, session)?;
        taken.begun = Some(stamp);
        taken.open.push_back(Transaction { stamp, messages: Vec::new() });
        Ok(())
    }

    /// Writes into the transaction begun last.
    pub(super) fn write_into(
        &mut self,
        outbox: &OutboxId,
        session: u64,
        message: Message,
    ) -> Result<(), Fenced> {
        if self.has(Flaw::ShowsTheUncommitted) {
            self.write(message);
            return Ok(());
        }
        let taken = self.owned(outbox, session)?;
        taken.open.back_mut().ok_or(Fenced)?.messages.push(message);
        Ok(())
    }

    pub(super) fn commit(&mut self, outbox: &OutboxId, session: u64) -> Result<(), Fenced> {
        let latest = self.has(Flaw::CommitsTheLatest);
        let taken = self.owned(outbox, session)?;
        let transaction = if latest { taken.open.pop_back() } else { taken.open.pop_front() };
        let Transaction { stamp, messages } = transaction.ok_or(Fenced)?;
        taken.committed.push(stamp);
        if self.has(Flaw::CommitsShowLate) {
            self.coordinator.late.extend(messages);
            return Ok(());
        }
        messages.into_iter().for_each(|message| self.write(message));
        Ok(())
    }

    /// Throws the transaction begun last away.
    pub(super) fn abort(&mut self, outbox: &OutboxId, session: u64) -> Result<(), Fenced> {
        let commits = self.has(Flaw::AbortCommits);
        let transaction = self.owned(outbox, session)?.open.pop_back().ok_or(Fenced)?;
        if commits {
            transaction.messages.into_iter().for_each(|message| self.write(message));
        }
        Ok(())
    }
}
