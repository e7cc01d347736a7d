//! For those who consume what eventferry published.
//!
//! [`Arrival`] is an event as it arrived: a record's headers, key and payload, decoded. It is made of plain parts,
//! or, with the feature `kafka`, of a message of rdkafka's.
//!
//! Delivery is at least once, so a message may arrive twice. An inbox makes its handler effectively once: in the
//! handler's own transaction it notes the message id, and runs the handler only if that was new. `PostgresInbox`
//! (feature `postgres`, for tokio-postgres), `SqlxInbox` (feature `sqlx`) and `SqliteInbox` (feature `sqlite`, for
//! rusqlite) are the same inbox for different drivers; the first two share one table.
//!
//! ```
//! use eventferry_consumer::Arrival;
//!
//! let headers = [
//!     ("message-id", &b"0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f"[..]),
//!     ("aggregate-type", b"order"),
//!     ("aggregate-id", b"42"),
//!     ("content-type", b"application/json"),
//!     ("tenant", b"acme"),
//! ];
//! let arrival = Arrival::decode(headers, Some(b"42"), Some(br#"{"total": 7}"#))?;
//! assert_eq!((arrival.aggregate_type, arrival.aggregate_id), ("order", "42"));
//! assert_eq!(arrival.header("tenant"), Some(&b"acme"[..]));
//! # Ok::<(), eventferry_consumer::DecodeFault>(())
//! ```

mod arrival;
mod dead_letter;
mod inbox;
#[cfg(feature = "kafka")]
mod kafka;
mod trace;

pub use arrival::{Arrival, DecodeFault, DecodeFaultKind};
pub use dead_letter::DeadLetter;
#[cfg(feature = "postgres")]
pub use inbox::PostgresInbox;
#[cfg(feature = "sqlite")]
pub use inbox::SqliteInbox;
#[cfg(feature = "sqlx")]
pub use inbox::SqlxInbox;
pub use inbox::{InboxFault, InboxFaultKind, Once};
pub use trace::TraceContext;
