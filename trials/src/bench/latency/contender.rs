//! Who carries an event from its commit to the broker.
//!
//! Each contender is a value: the statement by which an application writes, how its database is made ready, and who
//! carries. To add one, write a function that runs its relay and put it into [`CONTENDERS`].

use std::pin::Pin;
use std::time::Duration;

use eventferry::postgres::{FeedChoice, PostgresConfig};
use tokio::sync::watch;

use super::relays;
use crate::database::prepare;
use crate::failure::{Attempt as _, Failure};

/// One way from a commit to the broker.
pub(super) struct Contender {
    /// What people and machines call it.
    pub(super) name: &'static str,
    pub(super) writes: Writes,
    /// Makes a new database ready, given its URL.
    pub(super) prepare: fn(String) -> Doing,
    pub(super) carrier: Carrier,
}

/// The statements that are a transaction of the application's: a sale and its events. Parameters: `$1` the number of
/// its first event (bigint), `$2` the events' aggregate ids (text[]), `$3` their payloads (bytea[]), `$4` their topic
/// (text).
#[derive(Clone, Copy)]
pub(super) struct Writes {
    /// For one event.
    one: &'static str,
    /// For any number of them.
    many: &'static str,
}

impl Writes {
    /// The statement for so many events.
    pub(super) fn of(self, events: u64) -> &'static str {
        if events == 1 { self.one } else { self.many }
    }
}

/// Who carries.
#[derive(Clone, Copy)]
pub(super) enum Carrier {
    /// The application itself, after its commit.
    Application,
    /// A relay, run by this function until it is told to stop. Several may run beside each other.
    Relay(fn(Site, Stop) -> Doing),
}

/// Something that is being done.
pub(super) type Doing = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Where a relay works.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The database.
    pub(super) url: String,
    pub(super) brokers: String,
    /// For experiments: the shortest pause between two looks, instead of the default.
    pub(super) poll_min: Option<Duration>,
}

/// The end of a relay, for which it waits.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// With it, the way to bring it about.
    pub(super) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Waits for it.
    pub(super) async fn wait(mut self) {
        // A sender that is gone has ended, too.
        drop(self.0.wait_for(|stop| *stop).await);
    }
}

/// The floor: an application that commits and then produces, and may crash between the two.
const DUAL_WRITE: Contender = Contender {
    name: "dual-write",
    writes: Writes { one: SALE, many: SALE },
    prepare: |url| Box::pin(apply(url, |config| config)),
    carrier: Carrier::Application,
};

/// What the insert alone costs: the same application writes its event into the outbox, too, and nobody carries it. No
/// relay can be faster.
const DUAL_WRITE_INSERT: Contender =
    Contender { name: "dual-write-insert", carrier: Carrier::Application, ..POLL };

/// A relay that looks again and again.
const POLL: Contender = Contender {
    name: "poll",
    writes: Writes { one: INSERT_EVENT, many: INSERT_EVENTS },
    prepare: |url| Box::pin(apply(url, |config| config.doorbell(false))),
    carrier: Carrier::Relay(relays::table),
};

/// A relay that is woken when it sleeps.
const DOORBELL: Contender = Contender {
    name: "doorbell",
    prepare: |url| Box::pin(apply(url, |config| config.doorbell(true))),
    ..POLL
};

/// A relay that reads what was inserted from the log.
const TAIL_TABLE: Contender = Contender {
    name: "tail-table",
    writes: Writes { one: INSERT_EVENT, many: INSERT_EVENTS },
    prepare: |url| Box::pin(apply(url, |config| config.feed(FeedChoice::TailTable))),
    carrier: Carrier::Relay(relays::tail),
};

/// A relay that reads from the log what was put there alone.
const TAIL_MESSAGE: Contender = Contender {
    name: "tail-message",
    writes: Writes { one: EMIT_EVENT, many: EMIT_EVENTS },
    prepare: |url| Box::pin(apply(url, |config| config.feed(FeedChoice::TailMessages))),
    carrier: Carrier::Relay(relays::messages),
};

/// A relay that is woken when it sleeps, and delivers exactly once.
const EXACTLY_ONCE: Contender =
    Contender { name: "exactly-once", carrier: Carrier::Relay(relays::exactly_once), ..DOORBELL };

/// All contenders, the one first that the others are held against.
pub(super) const CONTENDERS: &[Contender] =
    &[DUAL_WRITE, DUAL_WRITE_INSERT, POLL, DOORBELL, EXACTLY_ONCE, TAIL_TABLE, TAIL_MESSAGE];

/// A sale, and nothing else.
const SALE: &str = "INSERT INTO sale (number, customer) VALUES ($1, $2[1])";

/// A sale whose event goes into the outbox.
const INSERT_EVENT: &str = "
    WITH sale AS (INSERT INTO sale (number, customer) VALUES ($1, $2[1]))
    INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload, content_type)
    VALUES ($4, 'customer', $2[1], $3[1], 'application/json')";

/// A sale whose events go into the outbox.
pub(super) const INSERT_EVENTS: &str = "
    WITH sale AS (INSERT INTO sale (number, customer) VALUES ($1, $2[1]))
    INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload, content_type)
    SELECT $4, 'customer', event.customer, event.payload, 'application/json'
    FROM unnest($2, $3) AS event (customer, payload)";

/// A sale whose event is emitted into the log.
const EMIT_EVENT: &str = "
    WITH sale AS (INSERT INTO sale (number, customer) VALUES ($1, $2[1]))
    SELECT eventferry.emit_event(NULL, $4, 'customer', $2[1], NULL, $3[1], 'application/json', NULL, NULL)";

/// A sale whose events are emitted into the log.
const EMIT_EVENTS: &str = "
    WITH sale AS (INSERT INTO sale (number, customer) VALUES ($1, $2[1]))
    SELECT eventferry.emit_event(NULL, $4, 'customer', event.customer, NULL, event.payload, 'application/json',
                                NULL, NULL)
    FROM unnest($2, $3) AS event (customer, payload)";

/// Creates eventferry's schema, as `eventferry init` does.
async fn apply(url: String, with: fn(PostgresConfig) -> PostgresConfig) -> Result<(), Failure> {
    let config = PostgresConfig::from_url(&url).attempt("configure the store")?;
    prepare(with(config)).await.map(drop)
}
