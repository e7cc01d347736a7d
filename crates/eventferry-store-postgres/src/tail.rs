//! The log's tail: events as the write-ahead log has them, by logical replication.
//!
//! The server decodes what is on disk (`WalSndWaitForWal` waits for the flush) and sends whole transactions in the
//! order of their commits; a place is (commit record, ordinal in the transaction), and nothing is written for an
//! event. Beside each place stands a window whose `cur` shows nothing that lies behind it, so that table feeds,
//! retention and a tail whose slot was lost go on from there.
//!
//! | file | idea |
//! |---|---|
//! | `wire.rs` | a replication connection: frames in a buffer, read only as far as there is room |
//! | `decode.rs` | pgoutput's messages, and the columns of an event in them |
//! | `ready.rs` | what must hold before any of it, and what is said where it does not |
//! | `slot.rs` | the slot's life: made, taken over, lost |
//! | `stream.rs` | one reading of the slot: transactions, ordinals, how far it has come |
//! | `anchor.rs` | from windows to the tail: what a snapshot shows, and which lanes stand where |
//! | `moderation.rs` | when the stream is read in gulps |
//! | `feed.rs` | pages |

mod anchor;
mod decode;
mod feed;
mod moderation;
mod ready;
mod slot;
mod stream;
mod wire;

pub(crate) use feed::Tail;
pub(crate) use slot::make;
pub(crate) use wire::Socket;
