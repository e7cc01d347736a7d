//! The back end with its types taken off, so that a clause is one plain function for every back end: marks and rows
//! stay in here, and a clause names them by number.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::parked::{
    Act, Change, Decision, Decisions, Desk, DueAsk, DueEvent, DuePage, Park, ParkReason, ParkedAsk,
    ParkedFilter, ParkedKey, ParkedPage, ShowAsk, ShownEvent, ShownPage,
};
use eventferry_core::store::{
    Capabilities, Claim, Doorbell, Feed, Gauge, Held, Intent, Lanes, Ledger, Opened, Prepare, Prepared,
    RelayId, Rest, Roles, Settlement, Store, Swept, Upkeep, Verdict, Wish,
};
use eventferry_core::transaction::Resolved;
use eventferry_core::{
    Aggregate, EnqueueFault, Event, Header, Lane, Lease, MessageId, Record, Row, Stamp, StoreFault,
    StoredEvent, Timestamp,
};

use crate::subject::{Audited, Reach, Step, Subject, Trouble, Writers};

/// A piece of work that runs inside the back end's executor, on one thread.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An outbox of some back end.
pub(crate) trait AnyOutbox {
    fn writers(&self) -> Writers;
    fn reach(&self) -> Reach;
    fn another(&self) -> Work<'_, Result<Box<dyn AnyOutbox>, Trouble>>;
    fn store(&self) -> Work<'_, Result<Box<dyn AnyStore>, Trouble>>;
    fn writer(&self) -> Work<'_, Result<Box<dyn AnyWriter>, Trouble>>;
    fn advance(&self, by: Duration) -> Work<'_, bool>;
    fn age(&self, by: Duration) -> Work<'_, Result<bool, Trouble>>;
    fn rewind(&self) -> Work<'_, Result<(), Trouble>>;
    fn audit(&self) -> Work<'_, Result<Vec<Audited>, Trouble>>;
}

/// An application's connection.
pub(crate) trait AnyWriter {
    fn step(&mut self, step: Step) -> Work<'_, Result<(), Trouble>>;
    fn enqueue<'a>(&'a mut self, events: &'a [Event]) -> Work<'a, Result<Vec<MessageId>, EnqueueFault>>;
}

/// A store before it plays its roles.
pub(crate) trait AnyStore {
    fn capabilities(&self) -> Capabilities;
    fn prepare(&mut self, prepare: Prepare) -> Work<'_, Result<Prepared, StoreFault>>;
    fn roles(self: Box<Self>, relay: &RelayId) -> Box<dyn AnyRoles>;
}

/// A store's six roles.
pub(crate) trait AnyRoles {
    fn hold(&mut self, claim: Claim) -> Work<'_, Result<Held, StoreFault>>;
    fn open<'a>(&'a mut self, leases: &'a [Lease]) -> Work<'a, Result<Vec<Opened>, StoreFault>>;
    fn close(&mut self, lanes: &[Lane]);
    fn read<'a>(&'a mut self, wish: Wish<'a>) -> Work<'a, Result<Sheet, StoreFault>>;
    fn wait(&mut self) -> Work<'_, u32>;
    fn get_up(&mut self) -> Work<'_, ()>;
    fn settle<'a>(&'a mut self, carried: &'a [Carried]) -> Work<'a, Result<Vec<Verdict>, StoreFault>>;
    fn intend<'a>(&'a mut self, intended: &'a Intended) -> Work<'a, Result<Verdict, StoreFault>>;
    fn resolve<'a>(
        &'a mut self,
        leases: &'a [Lease],
        committed: Option<Stamp>,
    ) -> Work<'a, Result<Resolved, StoreFault>>;
    fn parked<'a>(&'a mut self, ask: ParkedAsk<'a>) -> Work<'a, Result<ParkedPage, StoreFault>>;
    fn due<'a>(&'a mut self, ask: DueAsk<'a>) -> Work<'a, Result<DuePage<StoredEvent>, StoreFault>>;
    fn sweep(&mut self, retention: Duration) -> Work<'_, Result<Swept, StoreFault>>;
    fn gauge(&mut self) -> Work<'_, Result<Gauge, StoreFault>>;
    fn show<'a>(&'a mut self, ask: ShowAsk<'a>) -> Work<'a, Result<ShownPage<StoredEvent>, StoreFault>>;
    fn decide<'a>(
        &'a mut self,
        filter: &'a ParkedFilter,
        decision: Decision,
        act: &'a Act,
    ) -> Work<'a, Result<Decisions, StoreFault>>;
    fn record<'a>(&'a mut self, what: &'a str, act: &'a Act) -> Work<'a, Result<(), StoreFault>>;
}

/// A mark that its roles keep, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MarkAt(usize);

/// A row that its roles keep, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowAt(usize);

/// A record as a clause sees it: the row's columns copied out.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) lane: Lane,
    pub(crate) mark: MarkAt,
    pub(crate) row: RowAt,
    pub(crate) message_id: MessageId,
    pub(crate) event: Event,
    pub(crate) enqueued_at: Timestamp,
}

/// A page as a clause sees it.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) records: Vec<Seen>,
    pub(crate) passed: Vec<(Lane, MarkAt)>,
    pub(crate) rest: Rest,
}

/// A settlement as a clause says it.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) lease: Lease,
    pub(crate) prefix: Vec<MarkAt>,
    pub(crate) park: Vec<Parking>,
    pub(crate) changes: Vec<(ParkedKey, Change<'static>)>,
    /// See [`Settlement::carries`].
    pub(crate) carries: Option<u64>,
}

/// An intent as a clause says it.
#[derive(Clone, Debug)]
pub(crate) struct Intended {
    pub(crate) stamp: Stamp,
    pub(crate) after: u64,
    pub(crate) settled: u64,
    pub(crate) carried: Vec<Carried>,
    pub(crate) leases: Vec<Lease>,
}

/// An event to park, as a clause says it.
#[derive(Clone, Debug)]
pub(crate) struct Parking {
    pub(crate) mark: MarkAt,
    pub(crate) row: RowAt,
    pub(crate) reason: ParkReason<'static>,
}

/// Makes an outbox in a back end.
pub(crate) async fn outbox<S: Subject>(subject: Arc<S>) -> Result<Box<dyn AnyOutbox>, Trouble> {
    let outbox = subject.outbox().await?;
    Ok(Box::new(Ground { subject, outbox }))
}

struct Ground<S: Subject> {
    subject: Arc<S>,
    outbox: S::Outbox,
}

impl<S: Subject> AnyOutbox for Ground<S> {
    fn writers(&self) -> Writers {
        self.subject.writers()
    }

    fn reach(&self) -> Reach {
        self.subject.reach()
    }

    fn another(&self) -> Work<'_, Result<Box<dyn AnyOutbox>, Trouble>> {
        Box::pin(outbox(Arc::clone(&self.subject)))
    }

    fn store(&self) -> Work<'_, Result<Box<dyn AnyStore>, Trouble>> {
        Box::pin(async {
            let store = self.subject.store(&self.outbox).await?;
            Ok(Box::new(Shell(store)) as Box<dyn AnyStore>)
        })
    }

    fn writer(&self) -> Work<'_, Result<Box<dyn AnyWriter>, Trouble>> {
        Box::pin(async {
            let writer = self.subject.writer(&self.outbox).await?;
            Ok(Box::new(Pen { subject: Arc::clone(&self.subject), writer }) as Box<dyn AnyWriter>)
        })
    }

    fn advance(&self, by: Duration) -> Work<'_, bool> {
        Box::pin(self.subject.advance(&self.outbox, by))
    }

    fn age(&self, by: Duration) -> Work<'_, Result<bool, Trouble>> {
        Box::pin(self.subject.age(&self.outbox, by))
    }

    fn rewind(&self) -> Work<'_, Result<(), Trouble>> {
        Box::pin(self.subject.rewind(&self.outbox))
    }

    fn audit(&self) -> Work<'_, Result<Vec<Audited>, Trouble>> {
        Box::pin(self.subject.audit(&self.outbox))
    }
}

struct Pen<S: Subject> {
    subject: Arc<S>,
    writer: S::Writer,
}

impl<S: Subject> AnyWriter for Pen<S> {
    fn step(&mut self, step: Step) -> Work<'_, Result<(), Trouble>> {
        Box::pin(self.subject.step(&mut self.writer, step))
    }

    fn enqueue<'a>(&'a mut self, events: &'a [Event]) -> Work<'a, Result<Vec<MessageId>, EnqueueFault>> {
        Box::pin(self.subject.enqueue(&mut self.writer, events))
    }
}

struct Shell<S>(S);

impl<S: Store> AnyStore for Shell<S> {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn prepare(&mut self, prepare: Prepare) -> Work<'_, Result<Prepared, StoreFault>> {
        Box::pin(self.0.prepare(prepare))
    }

    fn roles(self: Box<Self>, relay: &RelayId) -> Box<dyn AnyRoles> {
        Box::new(Hands::<S> { roles: self.0.roles(relay), marks: Vec::new(), rows: Vec::new() })
    }
}

struct Hands<S: Store> {
    roles: Roles<S>,
    marks: Vec<S::Mark>,
    rows: Vec<S::Row>,
}

impl<S: Store> Hands<S> {
    fn keep_mark(&mut self, mark: S::Mark) -> MarkAt {
        self.marks.push(mark);
        MarkAt(self.marks.len() - 1)
    }

    fn keep_record(&mut self, record: Record<S::Mark, S::Row>) -> Seen {
        let (message_id, enqueued_at) = (record.row.message_id(), record.row.enqueued_at());
        let event = event_of(&record.row);
        let mark = self.keep_mark(record.mark);
        self.rows.push(record.row);
        Seen { lane: record.lane, mark, row: RowAt(self.rows.len() - 1), message_id, event, enqueued_at }
    }
}

impl<S: Store> AnyRoles for Hands<S> {
    fn hold(&mut self, claim: Claim) -> Work<'_, Result<Held, StoreFault>> {
        Box::pin(self.roles.lanes.hold(claim))
    }

    fn open<'a>(&'a mut self, leases: &'a [Lease]) -> Work<'a, Result<Vec<Opened>, StoreFault>> {
        Box::pin(self.roles.feed.open(leases))
    }

    fn close(&mut self, lanes: &[Lane]) {
        self.roles.feed.close(lanes);
    }

    fn read<'a>(&'a mut self, wish: Wish<'a>) -> Work<'a, Result<Sheet, StoreFault>> {
        Box::pin(async move {
            let page = self.roles.feed.read(wish).await?;
            let records = page.records.into_iter().map(|record| self.keep_record(record)).collect();
            let passed = page.passed.into_iter().map(|(lane, mark)| (lane, self.keep_mark(mark))).collect();
            Ok(Sheet { records, passed, rest: page.rest })
        })
    }

    fn wait(&mut self) -> Work<'_, u32> {
        Box::pin(self.roles.doorbell.wait())
    }

    fn get_up(&mut self) -> Work<'_, ()> {
        Box::pin(self.roles.doorbell.get_up())
    }

    fn settle<'a>(&'a mut self, carried: &'a [Carried]) -> Work<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(async move {
            let Self { roles, marks, rows } = self;
            let prefixes = prefixes(carried, marks);
            let settlements = settlements(carried, &prefixes, marks, rows);
            roles.ledger.settle(&settlements).await
        })
    }

    fn intend<'a>(&'a mut self, intended: &'a Intended) -> Work<'a, Result<Verdict, StoreFault>> {
        Box::pin(async move {
            let Self { roles, marks, rows } = self;
            let Intended { stamp, after, settled, carried, leases } = intended;
            let prefixes = prefixes(carried, marks);
            let settlements = settlements(carried, &prefixes, marks, rows);
            let (stamp, after, settled) = (*stamp, *after, *settled);
            roles.ledger.intend(Intent { stamp, after, settled, settlements, leases }).await
        })
    }

    fn resolve<'a>(
        &'a mut self,
        leases: &'a [Lease],
        committed: Option<Stamp>,
    ) -> Work<'a, Result<Resolved, StoreFault>> {
        Box::pin(self.roles.ledger.resolve(leases, committed))
    }

    fn parked<'a>(&'a mut self, ask: ParkedAsk<'a>) -> Work<'a, Result<ParkedPage, StoreFault>> {
        Box::pin(self.roles.ledger.parked(ask))
    }

    fn due<'a>(&'a mut self, ask: DueAsk<'a>) -> Work<'a, Result<DuePage<StoredEvent>, StoreFault>> {
        Box::pin(async move {
            let DuePage { events, decisions, more, next_in } = self.roles.ledger.due(ask).await?;
            let copied = events.into_iter().map(|DueEvent { key, row, attempts, death }| DueEvent {
                key,
                row: stored_of(&row),
                attempts,
                death,
            });
            Ok(DuePage { events: copied.collect(), decisions, more, next_in })
        })
    }

    fn sweep(&mut self, retention: Duration) -> Work<'_, Result<Swept, StoreFault>> {
        Box::pin(self.roles.upkeep.sweep(retention))
    }

    fn gauge(&mut self) -> Work<'_, Result<Gauge, StoreFault>> {
        Box::pin(self.roles.upkeep.gauge())
    }

    fn show<'a>(&'a mut self, ask: ShowAsk<'a>) -> Work<'a, Result<ShownPage<StoredEvent>, StoreFault>> {
        Box::pin(async move {
            let ShownPage { events, more } = self.roles.desk.show(ask).await?;
            Ok(ShownPage { events: events.into_iter().map(shown_of).collect(), more })
        })
    }

    fn decide<'a>(
        &'a mut self,
        filter: &'a ParkedFilter,
        decision: Decision,
        act: &'a Act,
    ) -> Work<'a, Result<Decisions, StoreFault>> {
        Box::pin(self.roles.desk.decide(filter, decision, act))
    }

    fn record<'a>(&'a mut self, what: &'a str, act: &'a Act) -> Work<'a, Result<(), StoreFault>> {
        Box::pin(self.roles.desk.record(what, act))
    }
}

/// The marks of each settlement.
fn prefixes<M: Clone>(carried: &[Carried], marks: &[M]) -> Vec<Vec<M>> {
    let of = |one: &Carried| one.prefix.iter().map(|MarkAt(at)| marks[*at].clone()).collect();
    carried.iter().map(of).collect()
}

fn settlements<'a, M, R>(
    carried: &'a [Carried],
    prefixes: &'a [Vec<M>],
    marks: &'a [M],
    rows: &'a [R],
) -> Vec<Settlement<'a, M, R>> {
    let of = |(one, prefix): (&'a Carried, &'a Vec<M>)| Settlement {
        lease: one.lease,
        prefix,
        park: one.park.iter().map(|parking| park(parking, marks, rows)).collect(),
        changes: one.changes.clone(),
        carries: one.carries,
    };
    carried.iter().zip(prefixes).map(of).collect()
}

fn park<'a, M, R>(parking: &Parking, marks: &'a [M], rows: &'a [R]) -> Park<'a, M, R> {
    Park { mark: &marks[parking.mark.0], row: &rows[parking.row.0], reason: parking.reason }
}

fn shown_of<R: Row>(shown: ShownEvent<R>) -> ShownEvent<StoredEvent> {
    let ShownEvent { key, row, stage, attempts, class, message, parked_at, due_at, decision } = shown;
    let row = stored_of(&row);
    ShownEvent { key, row, stage, attempts, class, message, parked_at, due_at, decision }
}

fn stored_of(row: &impl Row) -> StoredEvent {
    StoredEvent { message_id: row.message_id(), event: event_of(row), enqueued_at: row.enqueued_at() }
}

fn event_of(row: &impl Row) -> Event {
    let aggregate = Aggregate { kind: row.aggregate_type().into(), id: row.aggregate_id().into() };
    let mut event = Event::new(row.topic(), ("", ""));
    event.aggregate = aggregate;
    event.key = row.key().map(Into::into);
    event.payload = row.payload().map(Into::into);
    event.content_type = row.content_type().map(Into::into);
    row.headers(&mut |name, value| event.headers.push(Header { name: name.into(), value: value.into() }));
    event.partition = row.partition();
    event
}
