//! Calls of the store: each takes time, may be slow, may fail before it happens or after, or happen long after its
//! failure was heard of.

use eventferry_core::fault::{PublishFaultKind, StoreFaultKind};
use eventferry_core::machine::{AggregateKey, Outcome, ParkedItem, ParkedList, TopicId};
use eventferry_core::parked::ParkedKey;
use eventferry_core::publisher::{Role, Token};
use eventferry_core::store::{Anchor, Claim, Held, Opened, Verdict};
use eventferry_core::transaction::Resolved;
use eventferry_core::{Lane, Lease, Stamp};

use super::reading::Reading;
use super::{What, World};
use crate::agenda::{MILLISECOND, Time};
use crate::checks::fencing;
use crate::database::{Claimant, DueRead, DueWish, Mark, ParkedRow, Settled, ToldIntent, ToldLane};
use crate::flaw::Flaw;

/// How the way to the database is now.
#[derive(Debug, Default)]
pub(super) struct Weather {
    /// Until when calls are slow, and up to how much.
    pub(super) slow: (Time, Time),
    /// Until when calls fail, and how many in a hundred.
    pub(super) lossy: (Time, u64),
}

/// What is asked of the database.
#[derive(Debug)]
pub(crate) enum Call {
    Hold(Claim),
    Open(Vec<Lease>),
    Parked { lanes: Vec<Lane>, after: Option<ParkedKey> },
    Due(DueWish),
    Settle(Vec<ToldLane>),
    Intend(ToldIntent),
    Resolve { leases: Vec<Lease>, committed: Option<Stamp>, attempt: u64 },
    Read(Reading),
}

/// A call on its way to the database.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(super) relay: usize,
    pub(super) incarnation: u32,
    name: usize,
    /// The life of the server that its connection is with.
    pub(super) generation: u32,
    /// Its answer arrives; if not, the relay has heard, or will hear, that it failed.
    answers: bool,
    /// When its claim was sent.
    claimed_at: Time,
    pub(super) call: Call,
}

/// A lane as it was opened: its lease, the position's version, where it is read on, and how that came.
pub(crate) type OpenedLane = (Lease, u64, Mark, Anchor);

/// What a relay hears.
#[derive(Debug)]
pub(crate) enum Answer {
    Held(Result<Held, StoreFaultKind>),
    Opened(Result<(u32, Vec<OpenedLane>), StoreFaultKind>),
    Parked(Result<ParkedList, StoreFaultKind>),
    Due(Result<DueRead, StoreFaultKind>),
    Settled(Vec<ToldLane>, Result<Vec<Settled>, StoreFaultKind>),
    Intended(ToldIntent, Result<Verdict, StoreFaultKind>),
    Resolved(Result<Resolved, StoreFaultKind>),
    /// The session's producer, and the stamp of the transaction committed last.
    TakenOver(Result<(u32, Option<Stamp>), PublishFaultKind>),
    Read(Result<Box<Reading>, StoreFaultKind>),
    Connected(Role, Result<u32, PublishFaultKind>),
    Learned(TopicId, Result<(), PublishFaultKind>),
    Abandoned(Role, Vec<(Token, Outcome)>),
    /// The bell rang for whoever lay down this time.
    Rung {
        bed: u64,
        stirred: bool,
    },
    GotUp,
}

/// How long a flawed statement had waited for a lane's lock, with everything else as it was before.
const LOCK_WAIT: Time = 500 * MILLISECOND;

/// How many parked events are listed at once.
const PARKED_LIMIT: usize = 3;

impl World {
    /// Sends a call on its way.
    pub(super) fn call(&mut self, relay: usize, call: Call) {
        let process = &self.relays[relay];
        let (incarnation, name, claimed_at) = (process.incarnation, process.name, process.claimed_at);
        let generation = self.database.generation;
        let mut statement =
            Statement { relay, incarnation, name, generation, answers: true, claimed_at, call };
        let at = self.now + self.store_delay();
        let lossy = self.weather.lossy.0 > self.now && self.dice.chance(self.weather.lossy.1);
        if !lossy {
            self.agenda.enter(at, What::Statement(Box::new(statement)));
            return;
        }
        // Before, after, or long before it happens.
        let kind = if self.dice.chance(20) { StoreFaultKind::Contended } else { StoreFaultKind::Unavailable };
        let failed_at = at + self.dice.between(1, 800) * MILLISECOND;
        let failure = failure_of(&statement.call, kind);
        self.agenda.enter(failed_at, What::Answer { relay, incarnation, answer: failure });
        let happens_at = match self.dice.below(3) {
            _ if kind == StoreFaultKind::Contended => return,
            0 => return,
            1 => at,
            _ => failed_at + self.dice.between(1, 1_500) * MILLISECOND,
        };
        statement.answers = false;
        self.agenda.enter(happens_at, What::Statement(Box::new(statement)));
    }

    pub(super) fn store_delay(&mut self) -> Time {
        let usual = self.dice.between(200, 3_000);
        if self.weather.slow.0 > self.now { usual + self.dice.below(self.weather.slow.1) } else { usual }
    }

    /// A statement reaches the database.
    pub(super) fn execute(&mut self, statement: Box<Statement>) {
        let Statement { relay, incarnation, .. } = *statement;
        let reachable = self.database.down_until.max(self.database.away_until) <= self.now;
        if statement.generation != self.database.generation || !reachable {
            if statement.answers {
                let after = self.dice.between(1, 300) * MILLISECOND;
                let answer = failure_of(&statement.call, StoreFaultKind::Unavailable);
                self.agenda.enter(self.now + after, What::Answer { relay, incarnation, answer });
            }
            return;
        }
        let Statement { name, answers, claimed_at, call, .. } = *statement;
        let answer = match call {
            Call::Hold(claim) => {
                let held = self.hold(name, Claimant { incarnation, claimed_at }, &claim);
                if held.leases != claim.keep {
                    self.note(|| format!("relay {relay} is given {:?} for {:?}", held.leases, claim.keep));
                }
                Answer::Held(Ok(held))
            }
            Call::Open(leases) => Answer::Opened(Ok(self.open(&leases))),
            Call::Parked { lanes, after } => Answer::Parked(Ok(self.list_parked(&lanes, after, claimed_at))),
            Call::Due(wish) => {
                let now = self.now;
                Answer::Due(self.database.due(now, &wish).ok_or(StoreFaultKind::HistoryLost))
            }
            Call::Settle(told) => {
                let settled = self.settled(relay, name, &told);
                Answer::Settled(told, settled.ok_or(StoreFaultKind::HistoryLost))
            }
            Call::Intend(told) => {
                let holds = self.database.holds(name, &told.leases);
                let verdict = self.flushed_with(|database| database.intend(name, &told));
                if verdict == Some(Verdict::Done) && !holds {
                    self.check(5, fencing::intended(name, told.stamp));
                }
                self.note(|| format!("relay {relay} intends {:?}: {verdict:?}", told.stamp));
                Answer::Intended(told, verdict.ok_or(StoreFaultKind::HistoryLost))
            }
            Call::Resolve { leases, committed, attempt } => {
                Answer::Resolved(Ok(self.resolved(relay, name, &leases, (committed, attempt))))
            }
            Call::Read(reading) => {
                if answers {
                    self.read_on(relay, incarnation, reading);
                }
                return;
            }
        };
        if answers {
            let at = self.now + self.store_delay() / 2;
            self.agenda.enter(at, What::Answer { relay, incarnation, answer });
        }
    }

    fn hold(&mut self, name: usize, by: Claimant, claim: &Claim) -> Held {
        let now = self.now;
        let held = self.flushed_with(|database| database.hold(now, name, by, claim));
        if self.leases.len() <= name {
            self.leases.resize(name + 1, 0);
        }
        if let Some(until) = self.database.renewed(now, name) {
            self.leases[name] = until;
        }
        held
    }

    fn open(&mut self, leases: &[Lease]) -> (u32, Vec<OpenedLane>) {
        let failed_over = self.database.notes_failover();
        let opened = leases.iter().map(|lease| {
            let at = usize::from(lease.lane.0);
            let version = self.database.books.positions[at].version;
            let usual = if version == 0 { Anchor::First } else { Anchor::Continued };
            let anchor = failed_over.unwrap_or(usual);
            (*lease, version, self.database.cursor(at), anchor)
        });
        (self.database.books.timeline, opened.collect())
    }

    fn list_parked(&self, lanes: &[Lane], after: Option<ParkedKey>, claimed_at: Time) -> ParkedList {
        if self.has(Flaw::ListsNoParked) {
            return ParkedList::default();
        }
        let stale_from =
            if self.has(Flaw::ListsStaleParked) { claimed_at.saturating_sub(LOCK_WAIT) } else { Time::MAX };
        let books = &self.database.books;
        let mut rows = books.parked_of(lanes);
        if self.has(Flaw::ListsTombstones) {
            rows = books.parked.iter().filter(|row| lanes.contains(&Lane(row.lane))).collect();
            rows.sort_unstable_by_key(|row| row.key());
        }
        rows.retain(|row| row.parked_at < stale_from && after.is_none_or(|after| row.key() > after));
        let more = rows.len() > PARKED_LIMIT;
        rows.truncate(PARKED_LIMIT);
        let item = |row: &&ParkedRow| ParkedItem {
            lane: Lane(row.lane),
            aggregate: AggregateKey(row.aggregate.into()),
            size_bytes: row.size_bytes.into(),
        };
        ParkedList { events: rows.iter().map(item).collect(), last: rows.last().map(|row| row.key()), more }
    }

    /// A relay hears of a call.
    pub(super) fn answered(&mut self, relay: usize, answer: Answer) {
        let clock = self.relays[relay].clock(self.now);
        match answer {
            Answer::Held(held) => self.relays[relay].core.handle_held(clock, held),
            Answer::Opened(opened) => self.was_opened(relay, opened),
            Answer::Parked(list) => self.relays[relay].core.handle_parked(clock, list),
            Answer::Due(read) => self.was_due(relay, read),
            Answer::Settled(told, settled) => self.was_settled(relay, told, settled),
            Answer::Intended(told, verdict) => {
                let process = &mut self.relays[relay];
                let stamp = told.stamp;
                process.intended = verdict.is_err().then_some(told);
                process.core.handle_intended(clock, stamp, verdict);
            }
            Answer::Resolved(resolved) => self.relays[relay].core.handle_resolved(clock, resolved),
            Answer::TakenOver(result) => self.was_taken_over(relay, result),
            Answer::Read(reading) => self.was_read(relay, reading),
            Answer::Rung { bed, stirred } => self.was_rung(relay, bed, stirred),
            Answer::GotUp => self.relays[relay].core.handle_got_up(clock),
            Answer::Connected(role, result) => {
                let process = &mut self.relays[relay];
                if let Ok(producer) = result {
                    process.sessions[role as usize] = Some(producer);
                }
                process.core.handle_connected(clock, role, result.map(drop));
            }
            Answer::Learned(topic, result) => {
                let process = &mut self.relays[relay];
                if result.is_ok() {
                    process.topics_known[topic.0 as usize] = true;
                }
                process.core.handle_learned(clock, topic, result);
            }
            Answer::Abandoned(role, reports) => {
                let process = &mut self.relays[relay];
                let at_once = !process.exactly_once;
                for (token, outcome) in &reports {
                    if at_once && *outcome == Outcome::Acknowledged {
                        process.held.remove(token);
                    }
                }
                process.core.handle_abandoned(clock, role, &reports);
            }
        }
    }

    fn was_opened(&mut self, relay: usize, opened: Result<(u32, Vec<OpenedLane>), StoreFaultKind>) {
        let silent = self.has(Flaw::OpensInSilence);
        let process = &mut self.relays[relay];
        let clock = process.clock(self.now);
        let lanes = opened.and_then(|(timeline, lanes)| {
            // The lanes that were open before are not named here, and must be opened again too.
            let changed = process.client.timeline.is_some_and(|known| known != timeline);
            process.client.timeline = Some(timeline).filter(|_| !changed || silent);
            if changed {
                process.client.cursors.clear();
            }
            if changed && !silent {
                return Err(StoreFaultKind::HistoryLost);
            }
            let lanes = lanes.into_iter().map(|(lease, version, mark, anchor)| {
                process.client.open(lease, version, mark, timeline);
                Opened { lane: lease.lane, anchor }
            });
            Ok(lanes.collect::<Vec<_>>())
        });
        (process.opens, process.opened_at) = (false, self.now);
        process.core.handle_opened(clock, lanes.as_deref().map_err(|kind| *kind));
    }

    fn was_settled(
        &mut self,
        relay: usize,
        told: Vec<ToldLane>,
        settled: Result<Vec<Settled>, StoreFaultKind>,
    ) {
        let once = self.has(Flaw::SettlesOnce);
        let process = &mut self.relays[relay];
        let clock = process.clock(self.now);
        let verdicts = settled.and_then(|settled| {
            let mut verdicts = Vec::with_capacity(settled.len());
            for (lane, settled) in told.iter().zip(settled) {
                verdicts.push(match settled {
                    Settled::Moved | Settled::Already => {
                        if let Some(version) = lane.version {
                            process.client.note(lane.lease, version.wrapping_add(1), lane.call);
                        }
                        Verdict::Done
                    }
                    Settled::Fenced => Verdict::Fenced,
                    Settled::Stale => return Err(StoreFaultKind::HistoryLost),
                });
            }
            Ok(verdicts)
        });
        let verdicts = match verdicts {
            Err(StoreFaultKind::Unavailable | StoreFaultKind::Contended) if once => {
                Ok(vec![Verdict::Done; told.len()])
            }
            verdicts => verdicts,
        };
        if verdicts.is_err() {
            process.told = Some(told);
        }
        process.core.handle_settled(clock, verdicts.as_deref().map_err(|kind| *kind));
    }
}

/// What a relay hears of a call that failed.
pub(super) fn failure_of(call: &Call, kind: StoreFaultKind) -> Answer {
    match call {
        Call::Hold(_) => Answer::Held(Err(kind)),
        Call::Open(_) => Answer::Opened(Err(kind)),
        Call::Parked { .. } => Answer::Parked(Err(kind)),
        Call::Due(_) => Answer::Due(Err(kind)),
        Call::Settle(told) => Answer::Settled(told.clone(), Err(kind)),
        Call::Intend(told) => Answer::Intended(told.clone(), Err(kind)),
        Call::Resolve { .. } => Answer::Resolved(Err(kind)),
        Call::Read(_) => Answer::Read(Err(kind)),
    }
}
