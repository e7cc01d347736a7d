//! Exactly-once: what a transaction of the broker's is called, and what is settled with it.
//!
//! The broker's transactions decide what was shipped; the database keeps what that means. Before a transaction is
//! committed, its *intent* (which positions move, what is parked, what becomes of parked events) is durable in the
//! database, under the transaction's [`Stamp`]; the transaction carries the same stamp into the broker. Whoever takes
//! over asks the broker for the stamp committed last, and the database carries out the intents up to it and forgets the
//! others: two-phase commit, with the broker as the one who decides.

use alloc::string::String;

/// What names a transaction of the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Grows with each transaction of an outbox, whoever makes it. Never over `i64::MAX`.
    pub number: u64,
    /// Random: a database that lost its tail gives the same numbers again, and this tells them apart.
    pub nonce: u64,
}

/// What an outbox is called at the broker: 1 to 200 characters, unlike any other outbox's. A copy of the database has
/// the same name, so that what is restored from it takes over from what it was copied from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxId(pub String);

/// What [`Ledger::resolve`](crate::store::Ledger::resolve) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Whether database and broker speak of the same history.
    pub agreement: Agreement,
    /// The greatest number that the database has given out, 0 if none: the next is greater.
    pub newest: u64,
}

/// Whether database and broker speak of the same history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They do: what the broker committed last is carried out, and nothing else.
    Agreed,
    /// The database does not know the broker's last transaction, or the broker none where the database does: one of
    /// both was restored or replaced, or the events were carried in another mode since. Intents are forgotten; what
    /// they speak of is sent again.
    Parted,
    /// A lane has changed hands, or is not among those asked for: nothing changed.
    Fenced,
}
