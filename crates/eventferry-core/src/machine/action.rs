//! What the core asks for, and what it says.

use alloc::vec::Vec;
use core::time::Duration;

use crate::fault::{PublishFaultKind, StoreFaultKind};
use crate::lane::{Lane, Lease};
use crate::parked::{Decision, End, Next, ParkedKey};
use crate::publisher::{Domain, Role, Token};
use crate::store::{Anchor, Claim};
use crate::transaction::Stamp;

/// What to do next. Each is performed once; what it answers comes back through the method named with it.
#[derive(Debug)]
pub enum Action<M> {
    /// Call `Lanes::hold`; answer by [`Core::handle_held`](super::Core::handle_held).
    Hold(Claim),
    /// Call `Feed::open`; answer by [`Core::handle_opened`](super::Core::handle_opened).
    Open(Vec<Lease>),
    /// Call `Feed::close`; no answer.
    Close(Vec<Lane>),
    /// Call `Ledger::parked` for these lanes, after this event; answer by
    /// [`Core::handle_parked`](super::Core::handle_parked).
    ReadParked {
        /// The lanes, in ascending order.
        lanes: Vec<Lane>,
        /// The last parked event already known.
        after: Option<ParkedKey>,
    },
    /// Call `Ledger::due` for these lanes; answer by [`Core::handle_due`](super::Core::handle_due).
    ReadDue {
        /// The lanes, in ascending order.
        lanes: Vec<Lane>,
        /// Topics whose events are not wanted now.
        except_topics: Vec<TopicId>,
        /// The last event already in hand.
        after: Option<ParkedKey>,
        /// The most records.
        records_max: u32,
        /// The most payload bytes.
        bytes_max: u64,
    },
    /// Call `Feed::read`; answer by [`Core::handle_page`](super::Core::handle_page).
    Read {
        /// The lanes, in ascending order.
        lanes: Vec<Lane>,
        /// The most records.
        records_max: u32,
        /// The most payload bytes.
        bytes_max: u64,
    },
    /// Call `Doorbell::wait`; answer by [`Core::handle_rung`](super::Core::handle_rung).
    LieDown,
    /// Drop the call of `Doorbell::wait`, if there is one, and call `Doorbell::get_up`; answer by
    /// [`Core::handle_got_up`](super::Core::handle_got_up). If it has rung meanwhile, say that instead.
    GetUp,
    /// Call `Ledger::settle` with these, and keep them until it answered; answer by
    /// [`Core::handle_settled`](super::Core::handle_settled).
    Settle(Vec<SettleOrder<M>>),
    /// Make the last [`Action::Settle`] again, unchanged.
    SettleAgain,
    /// Call `Ledger::intend` with this, and keep it until it answered; answer by
    /// [`Core::handle_intended`](super::Core::handle_intended). Its records are still wanted afterwards.
    Intend(IntendOrder<M>),
    /// Make the last [`Action::Intend`] again, unchanged.
    IntendAgain,
    /// Call `Ledger::resolve`; answer by [`Core::handle_resolved`](super::Core::handle_resolved).
    Resolve {
        /// Every lease held.
        leases: Vec<Lease>,
        /// What the broker committed last.
        committed: Option<Stamp>,
    },
    /// Call `Publisher::take_over`; answer by [`Core::handle_taken_over`](super::Core::handle_taken_over). The session
    /// is for both roles, and is abandoned as [`Role::Main`]'s.
    TakeOver,
    /// Call `Session::begin` under the token [`BEGIN`](super::BEGIN); as for [`Action::Send`] if it was not taken.
    Begin(Stamp),
    /// Call `Session::commit` under the token [`COMMIT`](super::COMMIT).
    Commit,
    /// Call `Session::abort` under the token [`ABORT`](super::ABORT).
    Abort,
    /// The transaction of these records is committed: they are needed no longer.
    Shipped(Vec<Token>),
    /// Call `Publisher::connect`; answer by [`Core::handle_connected`](super::Core::handle_connected).
    Connect(Role),
    /// Call `Publisher::learn`; answer by [`Core::handle_learned`](super::Core::handle_learned).
    Learn(TopicId),
    /// Call `Publisher::route` for this record; answer by [`Core::handle_routed`](super::Core::handle_routed).
    Route(Token),
    /// Call `Session::send`; if it was not taken, say so by [`Core::handle_full`](super::Core::handle_full) or
    /// [`Core::handle_ended`](super::Core::handle_ended); reports come by
    /// [`Core::handle_report`](super::Core::handle_report), and that there are none, for the session has ended, by
    /// [`Core::handle_session_ended`](super::Core::handle_session_ended).
    Send(Role, Token, Domain),
    /// Call `Session::abandon`; answer by [`Core::handle_abandoned`](super::Core::handle_abandoned).
    Abandon(Role, Duration),
    /// These records are needed no longer. (An acknowledged record is needed no longer either, without a word.)
    Forget(Vec<Token>),
    /// Tell people.
    Say(Notice),
    /// Nothing to do until this time, or until something answers.
    Sleep(Duration),
    /// Everything is done, or cannot be: end.
    Stop(Stop),
}

/// A topic as the engine numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// How far one lane was carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleOrder<M> {
    /// Under which lease.
    pub lease: Lease,
    /// See [`Settlement::prefix`](crate::store::Settlement::prefix).
    pub prefix: Vec<M>,
    /// Those of them that were not shipped.
    pub park: Vec<ParkOrder<M>>,
    /// What became of events that are parked already. The engine adds causes, which the core does not know.
    pub changes: Vec<ChangeOrder>,
    /// See [`Settlement::carries`](crate::store::Settlement::carries).
    pub carries: Option<u64>,
}

/// What a transaction settles when it is committed; see [`Intent`](crate::store::Intent).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntendOrder<M> {
    /// See [`Intent::stamp`](crate::store::Intent::stamp).
    pub stamp: Stamp,
    /// See [`Intent::after`](crate::store::Intent::after).
    pub after: u64,
    /// See [`Intent::settled`](crate::store::Intent::settled).
    pub settled: u64,
    /// See [`Intent::leases`](crate::store::Intent::leases).
    pub leases: Vec<Lease>,
    /// See [`Intent::settlements`](crate::store::Intent::settlements).
    pub settlements: Vec<SettleOrder<M>>,
}

/// A record to park.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkOrder<M> {
    /// Which record.
    pub token: Token,
    /// Its place.
    pub mark: M,
    /// Why.
    pub why: ParkWhy,
}

/// Why a record is parked; see [`ParkReason`](crate::parked::ParkReason).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkWhy {
    /// It was refused.
    Refused(Next),
    /// Its topic is held.
    TopicHeld,
    /// It waits behind an earlier one of its aggregate.
    Behind,
}

/// What became of a parked event; see [`Change`](crate::parked::Change).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeOrder {
    /// Which event.
    pub key: ParkedKey,
    /// What became of it.
    pub what: ChangeWhat,
}

/// What became of a parked event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeWhat {
    /// It was refused again. Its words are those that came with the refusal of this token.
    Refused {
        /// Under which it was in hand. It is not forgotten before the settlement is answered.
        token: Token,
        /// How many attempts count now.
        attempts: u32,
        /// What is to become of it.
        next: Next,
    },
    /// See [`Change::Postponed`](crate::parked::Change::Postponed).
    Postponed(Duration),
    /// See [`Change::Retried`](crate::parked::Change::Retried).
    Retried,
    /// See [`Change::Held`](crate::parked::Change::Held).
    Held,
    /// See [`Change::Settled`](crate::parked::Change::Settled).
    Settled(End),
    /// See [`Change::DecisionRefused`](crate::parked::Change::DecisionRefused).
    DecisionRefused,
}

/// Something people may want to know. What keeps happening is said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// These lanes are now this relay's.
    Gained(Vec<Lane>),
    /// These lanes were handed over.
    Released(Vec<Lane>),
    /// These lanes have another owner.
    Lost(Vec<Lane>),
    /// The lease could not be renewed in time: all sending has stopped.
    LeaseExpired,
    /// The lane was opened elsewhere than where its last owner had settled.
    Anchored(Lane, Anchor),
    /// The database does not answer.
    StoreAway(StoreFaultKind),
    /// The database answers again.
    StoreBack,
    /// The database's history changed: everything in memory was thrown away, and lanes are opened again.
    HistoryLost,
    /// Database and broker do not speak of the same history, so events that had been shipped may be shipped again: one
    /// of both was restored or replaced, or the events were carried in another mode since.
    Parted,
    /// A session ended by a fault.
    SessionEnded(Role, Option<PublishFaultKind>),
    /// The broker cannot be reached: tried again and again.
    BrokerAway(PublishFaultKind),
    /// A session is open after a failure.
    BrokerBack,
    /// The broker refuses this topic: its events wait.
    TopicHeld(TopicId, PublishFaultKind),
    /// The broker takes this topic again.
    TopicReleased(TopicId),
    /// This record was refused: it is parked, and the later ones of its aggregate wait behind it.
    Parked(Token, Next),
    /// This parked record was refused again.
    RefusedAgain {
        /// Which record.
        token: Token,
        /// How many attempts count now.
        attempts: u32,
        /// What is to become of it.
        next: Next,
    },
    /// This parked record was shipped after all.
    Unparked(Token),
    /// This record is in the dead-letter topic; whether its aggregate is held now.
    Dead(Token, bool),
    /// A person's decision was carried out, or did not fit.
    Decided(ParkedKey, Decision, bool),
    /// The topic has taken nothing for a while: its events are parked, uncounted, until it does.
    TopicShut(TopicId),
    /// The lane has as many parked events as it may: it waits.
    LaneFull(Lane),
}

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was asked to, and everything was settled and handed over.
    Drained,
    /// It was asked to, and the grace time ran out: what was unsettled will be sent again by the next owner.
    GraceOver,
    /// The store said that waiting does not help.
    StoreMisconfigured,
    /// The publisher said that waiting does not help.
    PublisherMisconfigured,
}
