//! Exactly-once: which transaction a record travels in, and when one is sealed, intended and committed.
//!
//! | a transaction is | until |
//! |---|---|
//! | filling | it is full, or has waited long enough, and the one before is committed |
//! | sealed | its intent is durable in the database, and the broker has acknowledged all of it |
//! | doomed | a record of it was refused, and it is thrown away: the records go again, without that one |
//! | committing | the broker says that it is committed; when it does not say, the next take-over shows it |
//! | committed | its session has begun so many others that all partitions know (`finish`) |
//!
//! Nothing of a transaction is sent before all of the one before is acknowledged: else what is lost of the earlier one
//! would come after the later one's. And each holds, of each lane, the next records in the order of the log: then the
//! lane's position says all about what was shipped, and a crash leaves nothing beyond it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;

use super::Core;
use super::action::Action;
use super::entry::{Entry, Origin, State};
use super::lane::{LanePhase, LaneState};
use super::session::{Outcome, Phase};
use crate::fault::PublishFaultKind;
use crate::lane::Lane;
use crate::publisher::{Domain, Role, Token};
use crate::transaction::Stamp;

/// What the beginning of a transaction is reported under: no record has it.
pub const BEGIN: Token = Token(u64::MAX);

/// What the end of a transaction is reported under: no record has it.
pub const COMMIT: Token = Token(u64::MAX - 1);

/// What the throwing away of a transaction is reported under: no record has it.
pub const ABORT: Token = Token(u64::MAX - 2);

/// A transaction for which there is more and more waits so many times as long to be filled.
const BUSY_LINGERS: u32 = 20;

/// The transactions of one relay.
pub(super) struct Transactions {
    /// So many transactions later it is known that one can be read everywhere.
    pub(super) rotation: u64,
    /// How many were begun in this session.
    pub(super) begun: u64,
    /// The greatest number given to any.
    pub(super) newest: u64,
    /// The last one that is committed.
    pub(super) last: Option<Stamp>,
    /// What the broker had committed when it was taken over; `None`: it must be taken over (again).
    pub(super) taken: Option<Option<Stamp>>,
    /// Leases were gained since the broker was asked to be taken over: it must be asked again.
    pub(super) retake: bool,
    /// Database and broker agree on what was shipped before.
    pub(super) resolved: bool,
    pub(super) resolve_at: Duration,
    pub(super) filling: Option<Batch>,
    pub(super) ending: Option<Batch>,
    /// It may be committed, and nobody knows before the broker is taken over again.
    pub(super) doubt: Option<Batch>,
    /// Committed ones that perhaps not all partitions know of, with the aggregates of their records.
    pub(super) unfinished: VecDeque<(u64, Vec<u32>)>,
    /// Parked events to be sent, by role. (Those of the log are found in their lanes.)
    pub(super) queues: [VecDeque<u32>; 2],
    /// The lane whose turn it is.
    pub(super) turn: Lane,
    /// The last transaction was of one record by itself.
    pub(super) was_alone: bool,
    /// Records that were refused with a code that nobody knows, one after the other; until when the next waits.
    pub(super) unknowns: u32,
    pub(super) alone_at: Duration,
    /// All intents up to this number are settled; and up to this once the settlement under way is.
    pub(super) settled: u64,
    pub(super) settling: u64,
}

pub(super) struct Batch {
    /// Which one of its session.
    pub(super) ordinal: u64,
    pub(super) stamp: Stamp,
    pub(super) members: Vec<Token>,
    pub(super) bytes: u64,
    pub(super) since: Duration,
    /// The broker has begun it.
    pub(super) begun: bool,
    /// One record by itself.
    pub(super) alone: bool,
    /// The broker has all of it.
    pub(super) acknowledged: bool,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Filling,
    Sealed,
    Intending,
    Intended,
    Committing,
    /// A record of it was refused.
    Doomed,
    Aborting,
    /// The broker said that it will never be committed.
    Aborted,
}

impl Transactions {
    pub(super) fn new(rotation: u64) -> Self {
        Self {
            rotation,
            begun: 0,
            newest: 0,
            last: None,
            taken: None,
            retake: true,
            resolved: false,
            resolve_at: Duration::ZERO,
            filling: None,
            ending: None,
            doubt: None,
            unfinished: VecDeque::new(),
            queues: [VecDeque::new(), VecDeque::new()],
            turn: Lane(0),
            was_alone: false,
            unknowns: 0,
            alone_at: Duration::ZERO,
            settled: 0,
            settling: 0,
        }
    }

    /// The number of the last transaction committed.
    pub(super) fn last_number(&self) -> u64 {
        self.last.map_or(0, |last| last.number)
    }

    /// The broker is asked to be taken over, for the leases held now.
    pub(super) fn note_asked(&mut self) {
        (self.retake, self.taken) = (false, None);
    }

    /// Everything that was known counts for nothing: leases were gained, or the history is another.
    pub(super) fn unresolve(&mut self) {
        (self.retake, self.resolved, self.taken) = (true, false, None);
    }

    /// What a settlement under way settles, if every lane has told all.
    pub(super) fn note_telling(&mut self, all_told: bool) {
        self.settling = if all_told { self.last_number() } else { 0 };
    }

    /// The settlement under way was answered, for every lane as hoped.
    pub(super) fn note_told(&mut self) {
        self.settled = self.settled.max(core::mem::take(&mut self.settling));
    }

    fn batch_mut(&mut self) -> Option<&mut Batch> {
        self.filling.as_mut().or(self.ending.as_mut())
    }
}

impl<M: Clone> Core<M> {
    /// Whether lanes may be opened: not before database and broker agree.
    pub(super) fn may_open(&self) -> bool {
        self.transactions.as_ref().is_none_or(|transactions| transactions.resolved)
    }

    /// Begins, seals or commits a transaction, if it is time.
    pub(super) fn next_transaction(&mut self) -> Option<Action<M>> {
        self.transactions.as_ref()?;
        if self.main.phase != Phase::Open || !self.may_send() || !self.may_open() {
            return None;
        }
        self.note_acknowledged();
        self.seal();
        let idle = self.main.flight_records == 0;
        let transactions = self.transactions.as_mut()?;
        if let Some(ending) = &mut transactions.ending
            && ending.stage == Stage::Intended
            && ending.acknowledged
        {
            ending.stage = Stage::Committing;
            return Some(Action::Commit);
        }
        if let (Some(doomed), true) = (&mut transactions.filling, transactions.ending.is_none())
            && doomed.stage == Stage::Doomed
        {
            doomed.stage = Stage::Aborting;
            return Some(Action::Abort);
        }
        let waits = transactions.ending.as_ref().is_some_and(|ending| !ending.acknowledged);
        if transactions.filling.is_some() || waits || !idle {
            return None;
        }
        if self.next_candidate().is_none() && !self.somebody_waits_for_the_end() {
            return None;
        }
        let nonce = self.dice.number();
        let now = self.now;
        let transactions = self.transactions.as_mut()?;
        transactions.begun += 1;
        transactions.newest += 1;
        let stamp = Stamp { number: transactions.newest, nonce };
        transactions.filling = Some(Batch {
            ordinal: transactions.begun,
            stamp,
            members: Vec::new(),
            bytes: 0,
            since: now,
            begun: false,
            alone: false,
            acknowledged: false,
            stage: Stage::Filling,
        });
        Some(Action::Begin(stamp))
    }

    /// Notes that the broker has all of a sealed transaction.
    fn note_acknowledged(&mut self) {
        let idle = self.main.flight_records == 0 && self.alone.flight_records == 0;
        let Some(transactions) = &mut self.transactions else { return };
        if let (true, None, Some(ending)) = (idle, &transactions.filling, &mut transactions.ending) {
            ending.acknowledged |= ending.begun;
        }
    }

    /// Seals the one that is filling, when it is full or has waited long enough, and the one before is committed.
    fn seal(&mut self) {
        let linger = self.settings.transaction_linger;
        let filling = self.transactions.as_ref().filter(|transactions| transactions.ending.is_none());
        let Some(filling) = filling.and_then(|transactions| transactions.filling.as_ref()) else { return };
        if filling.stage != Stage::Filling {
            return;
        }
        let (since, draining) = (filling.since, self.drain.is_some());
        let waited = self.now >= since + linger;
        // While there is more to fill it, it is filled: a backlog goes in large transactions.
        let due = self.is_full()
            || draining
            || self.now >= since + linger * BUSY_LINGERS
            || (!self.feed.has_more() && self.next_candidate().is_none() && (waited || self.hurries()));
        let Some(transactions) = self.transactions.as_mut().filter(|_| due) else { return };
        let Some(mut sealed) = transactions.filling.take() else { return };
        transactions.was_alone = sealed.alone;
        sealed.stage = Stage::Sealed;
        self.intended = self.settlements(&sealed.members);
        if let Some(transactions) = &mut self.transactions {
            transactions.ending = Some(sealed);
        }
        self.note_acknowledged();
    }

    /// Whether the one that is filling takes nothing more.
    fn is_full(&self) -> bool {
        let filling = self.transactions.as_ref().and_then(|transactions| transactions.filling.as_ref());
        filling.is_some_and(|filling| {
            filling.alone
                || filling.stage != Stage::Filling
                || filling.members.len() >= self.settings.transaction_records_max
                || filling.bytes >= self.settings.memory_bytes_max / 3
        })
    }

    /// When the one that is filling is to be sealed, though nothing happens.
    pub(super) fn transaction_due(&self) -> Option<Duration> {
        let transactions = self.transactions.as_ref()?;
        if self.main.phase != Phase::Open || !self.may_send() {
            return None;
        }
        let waits = (self.now < transactions.alone_at).then_some(transactions.alone_at);
        let filling = transactions.filling.as_ref().filter(|_| transactions.ending.is_none());
        let filling = filling.filter(|filling| filling.stage == Stage::Filling);
        let linger = self.settings.transaction_linger;
        let seals = filling.map(|filling| filling.since + linger).filter(|at| *at > self.now);
        let at_last = filling.map(|filling| filling.since + linger * BUSY_LINGERS);
        [waits, seals, at_last].into_iter().flatten().min()
    }

    /// The next record to hand to the session, in the transaction that is filling.
    pub(super) fn next_send_in_transaction(&mut self) -> Option<(Role, Token, Domain)> {
        let filling = self.transactions.as_ref()?.filling.as_ref()?;
        let empty = filling.members.is_empty();
        let port = &self.main;
        let over = port.flight_records >= self.settings.flight_records_max
            || port.flight_bytes >= self.settings.flight_bytes_max;
        let full = port.full || self.alone.full;
        if port.phase != Phase::Open || full || over || self.is_full() || !self.may_open() {
            return None;
        }
        let index = self.next_candidate()?;
        let token = self.entries.token(index);
        let entry = &mut self.entries[index];
        let (role, bytes) = (entry.channel.role, u64::from(entry.size_bytes));
        entry.state = State::Flying;
        let number = entry.channel.number as usize;
        let domain = self.port_mut(role).channels[number].domain;
        // One session has them all, so its room is counted in one place.
        let port = self.port_mut(role);
        port.flight_records += 1;
        port.flight_bytes += bytes;
        port.channels[number].flight_records += 1;
        let transactions = self.transactions.as_mut()?;
        let queue = &mut transactions.queues[role as usize];
        match (role, queue.front() == Some(&index)) {
            (_, true) => drop(queue.pop_front()),
            (Role::Alone, false) => queue.retain(|queued| *queued != index),
            (Role::Main, false) => {}
        }
        let filling = transactions.filling.as_mut()?;
        filling.members.push(token);
        filling.bytes += bytes;
        filling.alone = empty && role == Role::Alone;
        Some((role, token, domain))
    }

    /// The next record that may go into the transaction that is filling, or the next one.
    fn next_candidate(&mut self) -> Option<u32> {
        let transactions = self.transactions.as_ref()?;
        let empty = transactions.filling.as_ref().is_none_or(|filling| filling.members.is_empty());
        if !empty {
            return self.next_of(Role::Main);
        }
        let (first, second) =
            if transactions.was_alone { (Role::Main, Role::Alone) } else { (Role::Alone, Role::Main) };
        self.next_of(first).or_else(|| self.next_of(second))
    }

    fn next_of(&mut self, role: Role) -> Option<u32> {
        let transactions = self.transactions.as_mut()?;
        let (topics, paused) = (&self.topics, self.now < transactions.alone_at);
        let goes = |entry: &Entry<M>| {
            entry.channel.role == role && !topics.held(entry.topic) && !(paused && entry.refusals > 0)
        };
        // Records that go alone wait for nothing before them: the one refused least goes first.
        let queue = transactions.queues[role as usize].iter().copied();
        let queued = match role {
            Role::Main => queue.take(1).find(|index| goes(&self.entries[*index])),
            Role::Alone => queue
                .filter(|index| goes(&self.entries[*index]))
                .min_by_key(|index| self.entries[*index].refusals),
        };
        if queued.is_some_and(|index| self.entries[index].refusals == 0) {
            return queued;
        }
        let turn = transactions.turn;
        // From the lane whose turn it is to the last, and then from the first.
        for lanes in [(Bound::Included(turn), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(turn))] {
            for (lane, state) in self.lanes.range_mut(lanes) {
                let unsent = state.next_unsent(&self.entries).filter(|index| goes(&self.entries[*index]));
                let Some(index) = unsent else { continue };
                if queued.is_none_or(|queued| self.entries[index].refusals <= self.entries[queued].refusals) {
                    transactions.turn = *lane;
                    return Some(index);
                }
            }
        }
        queued
    }

    /// The session had no room for the record offered last.
    pub(super) fn take_back_in_transaction(&mut self, index: u32) {
        self.leave_flight(index);
        let (token, size_bytes) = (self.entries.token(index), u64::from(self.entries[index].size_bytes));
        let entry = &mut self.entries[index];
        entry.state = State::Queued;
        let (lane, role) = (entry.lane, entry.channel.role);
        let of_log = matches!(entry.origin, Origin::Log(_));
        let Some(transactions) = &mut self.transactions else { return };
        if let Some(filling) = &mut transactions.filling
            && filling.members.pop_if(|last| *last == token).is_some()
        {
            filling.bytes -= size_bytes;
            filling.alone = false;
        }
        if !of_log {
            transactions.queues[role as usize].push_front(index);
        } else if let Some(state) = self.lanes.get_mut(&lane) {
            state.look_again();
        }
    }

    /// The broker has a record: it counts when its transaction is committed.
    pub(super) fn carry(&mut self, index: u32) {
        if let (Role::Alone, Some(transactions)) = (self.entries[index].channel.role, &mut self.transactions)
        {
            (transactions.unknowns, transactions.alone_at) = (0, self.now);
        }
        self.entries[index].state = State::Carried;
    }

    /// A record was refused: nothing of its transaction counts.
    pub(super) fn doom(&mut self, role: Role, kind: PublishFaultKind) {
        match kind {
            PublishFaultKind::Rejected | PublishFaultKind::TopicRefused => {}
            PublishFaultKind::Unknown => {
                let now = self.now;
                let Some(transactions) = &mut self.transactions else { return };
                let pause = self.settings.retry_pause(transactions.unknowns);
                transactions.unknowns = transactions.unknowns.saturating_add(1);
                transactions.alone_at = now + pause;
            }
            _ => return self.end_transacting(role, Some(kind)),
        }
        let Some(transactions) = &mut self.transactions else { return };
        // Whatever flies is of the one begun last.
        if transactions.filling.is_none() {
            transactions.filling = transactions.ending.take();
        }
        if let Some(doomed) = transactions.filling.as_mut().filter(|doomed| doomed.stage != Stage::Aborting) {
            transactions.was_alone |= doomed.alone;
            doomed.stage = Stage::Doomed;
        }
    }

    /// Whether what the session has in its hands is given up.
    pub(super) fn is_doomed(&self) -> bool {
        let filling = self.transactions.as_ref().and_then(|transactions| transactions.filling.as_ref());
        filling.is_some_and(|filling| matches!(filling.stage, Stage::Doomed | Stage::Aborting))
    }

    /// The doomed transaction is thrown away: its records go again, in their places.
    fn aborted(&mut self) {
        let Some(transactions) = &mut self.transactions else { return };
        let Some(batch) = transactions.filling.take() else { return };
        transactions.queues.iter_mut().for_each(VecDeque::clear);
        let mut again: Vec<u32> =
            batch.members.iter().filter_map(|token| self.entries.find(*token)).collect();
        again.retain(|index| matches!(self.entries[*index].state, State::Flying | State::Carried));
        for index in &again {
            if self.entries[*index].state == State::Flying {
                self.leave_flight(*index);
            }
        }
        let queued = |index: &u32| self.entries[*index].state == State::Queued;
        again.extend(self.entries.indices().into_iter().filter(queued));
        // The last of each aggregate first, each before all that wait.
        again.sort_unstable_by_key(|index| core::cmp::Reverse(self.entries[*index].arrival));
        for index in &again {
            self.entries[*index].state = State::Waiting;
            self.aggregates.wait_first(self.entries[*index].aggregate_number, *index);
        }
        self.lanes.values_mut().for_each(LaneState::look_again);
        for index in again.into_iter().rev() {
            if self.entries.has(index) && self.entries[index].state == State::Waiting {
                self.advance_aggregate(self.entries[index].aggregate_number);
            }
        }
        self.leave_what_came_back();
        self.advance_lanes();
    }

    /// What became of a transaction's beginning or end. Says whether the report was of such.
    pub(super) fn handle_transaction_report(&mut self, token: Token, outcome: Outcome) -> bool {
        let Some(transactions) = &mut self.transactions else { return false };
        match (token, outcome) {
            (BEGIN, Outcome::Acknowledged) => {
                let Some(batch) = transactions.batch_mut() else { return true };
                batch.begun = true;
                // What was refused room beside the stamp is offered again.
                (self.main.full, self.alone.full) = (false, false);
                let known = batch.ordinal.saturating_sub(transactions.rotation);
                self.finish(known);
            }
            (COMMIT, Outcome::Acknowledged) => self.committed(false),
            (ABORT, Outcome::Acknowledged) => self.aborted(),
            (BEGIN | COMMIT | ABORT, outcome) => {
                let kind = if let Outcome::Refused(kind) = outcome { Some(kind) } else { None };
                if let (COMMIT, Some(_), Some(ending)) = (token, kind, &mut transactions.ending) {
                    ending.stage = Stage::Aborted;
                }
                self.end_transacting(Role::Main, kind);
            }
            _ => return false,
        }
        true
    }

    /// Ends the session; who fenced it may have the lanes, too.
    fn end_transacting(&mut self, role: Role, kind: Option<PublishFaultKind>) {
        if kind == Some(PublishFaultKind::Fenced) {
            self.hold.hurry(self.now);
        }
        self.end_session(role, kind);
    }

    /// The transaction that was committing is committed. `known`: all partitions know.
    fn committed(&mut self, known: bool) {
        let Some(transactions) = &mut self.transactions else { return };
        let Some(batch) = transactions.ending.take() else { return };
        transactions.last = Some(batch.stamp);
        let mut aggregates = Vec::with_capacity(batch.members.len());
        for token in &batch.members {
            let Some(index) = self.entries.find(*token) else { continue };
            aggregates.push(self.entries[index].aggregate_number);
            self.settle_acknowledged(index, false);
        }
        self.shipped.extend(batch.members);
        if let Some(transactions) = &mut self.transactions {
            transactions.unfinished.push_back((batch.ordinal, aggregates));
        }
        if known {
            self.finish(u64::MAX);
        }
        self.advance_lanes();
    }

    /// The session has ended: what was not committed goes again, when it is known what was.
    pub(super) fn end_transactions(&mut self) {
        let Some(transactions) = &mut self.transactions else { return };
        transactions.filling = None;
        let ending = transactions.ending.take();
        transactions.doubt = ending.filter(|ending| ending.stage == Stage::Committing);
        transactions.queues.iter_mut().for_each(VecDeque::clear);
        // Nothing is sent before the next session is open, and then they can be read.
        self.finish(u64::MAX);
        let transactions = self.transactions.as_ref();
        if transactions.is_some_and(|transactions| transactions.doubt.is_none()) {
            self.queue_again(Role::Main);
        }
    }

    /// [`Action::TakeOver`] was answered, by the stamp of the transaction committed last.
    pub fn handle_taken_over(&mut self, now: Duration, result: Result<Option<Stamp>, PublishFaultKind>) {
        self.handle_connected(now, Role::Main, result.map(|_| ()));
        let (Ok(stamp), Some(transactions)) = (result, &mut self.transactions) else { return };
        transactions.begun = 0;
        if transactions.retake {
            self.end_session(Role::Main, None);
            return;
        }
        transactions.taken = Some(stamp);
        let doubt = transactions.doubt.take();
        let doubted = doubt.is_some();
        if let Some(batch) = doubt.filter(|batch| Some(batch.stamp) == stamp) {
            transactions.ending = Some(batch);
            self.committed(true);
        }
        if doubted {
            self.queue_again(Role::Main);
        }
        let Some(transactions) = &self.transactions else { return };
        if transactions.resolved && transactions.last != stamp {
            // Another relay has committed something, so its leases are newer than these.
            self.lose_history();
        }
    }

    /// Leases were gained, or the history is another: what was shipped before must be asked for (again), and the broker
    /// taken over before that.
    pub(super) fn lose_agreement(&mut self) {
        let Some(transactions) = &mut self.transactions else { return };
        transactions.unresolve();
        if transactions.doubt.take().is_some() {
            // Its records were kept back: they are read again.
            self.queue_again(Role::Main);
        }
        self.end_session(Role::Main, None);
    }

    /// Whether the session is wanted: while there are lanes to carry.
    pub(super) fn wants_to_take_over(&self) -> bool {
        self.may_send() && self.lanes.values().any(|state| state.phase != LanePhase::Releasing)
    }
}
