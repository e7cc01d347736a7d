//! The inbox in SQLite.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use eventferry_consumer::{InboxFault, InboxFaultKind, Once, SqliteInbox};
use eventferry_core::MessageId;
use rusqlite::TransactionBehavior::{Deferred, Immediate};
use rusqlite::{Connection, Savepoint, Transaction};
use tempfile::TempDir;

use crate::server::{PATIENCE, id};

/// A file with an inbox and a table `handled`.
struct File(TempDir);

#[derive(Debug)]
enum Failed {
    Inbox(InboxFault),
    Sqlite(rusqlite::Error),
    Own,
}

impl From<InboxFault> for Failed {
    fn from(fault: InboxFault) -> Self {
        Self::Inbox(fault)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failed {
    #[track_caller]
    fn inbox(self) -> InboxFault {
        match self {
            Self::Inbox(fault) => fault,
            other => panic!("{other:?}"),
        }
    }
}

fn inbox() -> SqliteInbox {
    SqliteInbox::new("billing")
}

impl File {
    fn bare() -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        let mode = "PRAGMA journal_mode = WAL; CREATE TABLE handled (id INTEGER PRIMARY KEY, what TEXT)";
        file.open().execute_batch(mode).unwrap();
        file
    }

    fn new() -> Self {
        let file = Self::bare();
        inbox().prepare(&mut file.open()).unwrap();
        file
    }

    fn open(&self) -> Connection {
        let connection = Connection::open(self.0.path().join("app.db")).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
    }

    fn handled(&self) -> Vec<String> {
        let connection = self.open();
        let mut look = connection.prepare("SELECT what FROM handled ORDER BY id").unwrap();
        look.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn noted(&self) -> i64 {
        self.open().query_row("SELECT count(*) FROM eventferry_inbox", [], |row| row.get(0)).unwrap()
    }
}

fn note(connection: &Connection, what: &str) -> Result<(), Failed> {
    connection.execute("INSERT INTO handled (what) VALUES (?1)", [what])?;
    Ok(())
}

fn handle(
    connection: &mut Connection,
    inbox: &SqliteInbox,
    id: MessageId,
    what: &str,
) -> Result<Once<()>, Failed> {
    let mut transaction = connection.transaction_with_behavior(Immediate)?;
    let once = inbox.once(&mut transaction, id, |savepoint| note(savepoint, what))?;
    transaction.commit()?;
    Ok(once)
}

#[test]
fn a_message_is_handled_once_for_each_consumer_however_often_it_comes() {
    let file = File::new();
    let mut connection = file.open();
    let (first, second) = (id(), id());
    for consumer in ["billing", "shipping"] {
        let inbox = SqliteInbox::new(consumer);
        assert_eq!(handle(&mut connection, &inbox, first, consumer).unwrap(), Once::Now(()));
        for _ in 0..2 {
            assert_eq!(handle(&mut connection, &inbox, first, "again").unwrap(), Once::Before);
        }
    }
    assert_eq!(handle(&mut connection, &inbox(), second, "second").unwrap(), Once::Now(()));
    assert_eq!(file.handled(), ["billing", "shipping", "second"]);
}

#[test]
fn a_handler_that_fails_or_panics_leaves_nothing_though_the_transaction_is_committed() {
    let file = File::new();
    let mut connection = file.open();
    let id = id();
    let mut transaction = connection.transaction_with_behavior(Immediate).unwrap();
    note(&transaction, "before").unwrap();
    let failed = inbox().once(&mut transaction, id, |savepoint| {
        note(savepoint, "half")?;
        Err::<(), _>(Failed::Own)
    });
    assert!(matches!(failed, Err(Failed::Own)));
    let failed = inbox().once(&mut transaction, id, |savepoint| {
        note(savepoint, "half")?;
        savepoint.execute_batch("INSERT INTO no_such_table VALUES (1)")?;
        Ok::<_, Failed>(())
    });
    assert!(matches!(failed, Err(Failed::Sqlite(error)) if error.to_string().contains("no such table")));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        drop(inbox().once(&mut transaction, id, |savepoint| -> Result<(), Failed> {
            note(savepoint, "half")?;
            panic!("no such order")
        }));
    }));
    assert!(panicked.is_err());
    note(&transaction, "after").unwrap();
    transaction.commit().unwrap();
    assert_eq!((file.handled(), file.noted()), (vec!["before".into(), "after".into()], 0));
    assert_eq!(handle(&mut connection, &inbox(), id, "now").unwrap(), Once::Now(()));
}

#[test]
fn what_is_rolled_back_around_it_was_not_handled() {
    let file = File::new();
    let mut connection = file.open();
    let id = id();
    let handler = |savepoint: &mut Savepoint<'_>| note(savepoint, "x");
    let mut transaction = connection.transaction_with_behavior(Immediate).unwrap();
    assert_eq!(inbox().once(&mut transaction, id, handler).unwrap(), Once::Now(()));
    transaction.rollback().unwrap();

    let mut transaction = connection.transaction_with_behavior(Immediate).unwrap();
    let mut savepoint = transaction.savepoint().unwrap();
    assert_eq!(inbox().once_in_savepoint(&mut savepoint, id, handler).unwrap(), Once::Now(()));
    savepoint.rollback().unwrap();
    assert_eq!(inbox().once_in_savepoint(&mut savepoint, id, handler).unwrap(), Once::Now(()));
    savepoint.commit().unwrap();
    assert_eq!(inbox().once(&mut transaction, id, handler).unwrap(), Once::Before);
    transaction.commit().unwrap();
    assert_eq!((file.handled().len(), file.noted()), (1, 1));
}

/// Runs a second handler while a first one has the message in hand, and returns what the second was told. The first
/// one ends its transaction by `end` once the second has begun to wait.
fn second_beside_first(file: &File, end: impl FnOnce(Transaction<'_>)) -> Once<()> {
    let mut connection = file.open();
    let id = id();
    let mut transaction = connection.transaction_with_behavior(Immediate).unwrap();
    let first = inbox().once(&mut transaction, id, |savepoint| note(savepoint, "first"));
    assert_eq!(first.unwrap(), Once::Now(()));
    let (waits, waiting) = mpsc::channel();
    thread::scope(|scope| {
        let second = scope.spawn(move || {
            let mut connection = file.open();
            // Called by SQLite each time that it finds the file busy.
            thread_local! {
                static WAITS: RefCell<Option<mpsc::Sender<()>>> = const { RefCell::new(None) };
            }
            WAITS.set(Some(waits));
            connection
                .busy_handler(Some(|_| {
                    WAITS.with_borrow(|waits| {
                        waits.iter().for_each(|waits| waits.send(()).unwrap_or(()));
                    });
                    // waits: as SQLite's own busy handler does, between two tries
                    thread::sleep(Duration::from_millis(2));
                    true
                }))
                .unwrap();
            handle(&mut connection, &inbox(), id, "second").unwrap()
        });
        waiting.recv_timeout(PATIENCE).unwrap();
        end(transaction);
        second.join().unwrap()
    })
}

#[test]
fn a_second_handler_waits_for_the_first_and_runs_only_if_that_was_rolled_back() {
    let file = File::new();
    assert_eq!(second_beside_first(&file, |first| first.commit().unwrap()), Once::Before);
    assert_eq!(file.handled(), ["first"]);
    assert_eq!(second_beside_first(&file, |first| first.rollback().unwrap()), Once::Now(()));
    assert_eq!(file.handled(), ["first", "second"]);
}

#[test]
fn many_handlers_at_once_handle_each_message_once() {
    let file = File::new();
    let ids: Vec<_> = (0..50).map(|_| id()).collect();
    let handle_all = || {
        let mut connection = file.open();
        let handled = ids.iter().map(|id| handle(&mut connection, &inbox(), *id, "x").unwrap());
        handled.filter(|once| *once == Once::Now(())).count()
    };
    let now: usize = thread::scope(|scope| {
        let handlers: Vec<_> = (0..4).map(|_| scope.spawn(handle_all)).collect();
        handlers.into_iter().map(|handler| handler.join().unwrap()).sum()
    });
    assert_eq!((now, file.handled().len()), (ids.len(), ids.len()));
}

#[test]
fn a_transaction_that_began_by_reading_begins_again() {
    let file = File::new();
    let (mut one, mut other) = (file.open(), file.open());
    let id = id();
    let mut late = other.transaction_with_behavior(Deferred).unwrap();
    late.query_row("SELECT count(*) FROM handled", [], |row| row.get::<_, i64>(0)).unwrap();
    handle(&mut one, &inbox(), id, "first").unwrap();
    let fault = inbox().once(&mut late, id, |_| Ok::<_, Failed>(())).unwrap_err().inbox();
    assert_eq!(*fault.kind(), InboxFaultKind::Contended);
    assert!(fault.message().contains("BEGIN IMMEDIATE"), "{fault}");
    late.rollback().unwrap();
    assert_eq!(handle(&mut other, &inbox(), id, "second").unwrap(), Once::Before);
}

#[test]
fn a_batch_is_claimed_in_one_go() {
    let file = File::new();
    let mut connection = file.open();
    let (old, twice, new) = (id(), id(), id());
    handle(&mut connection, &inbox(), old, "old").unwrap();
    let transaction = connection.transaction_with_behavior(Immediate).unwrap();
    let claimed = inbox().claim(&transaction, &[old, twice, new, twice]).unwrap();
    assert_eq!(claimed, [false, true, true, false]);
    transaction.commit().unwrap();
    assert_eq!(handle(&mut connection, &inbox(), new, "new").unwrap(), Once::Before);
}

#[test]
fn only_old_messages_of_the_consumer_are_forgotten_and_in_pieces() {
    let file = File::new();
    let connection = file.open();
    let add = |consumer: &str, hours: i64, count: i64| {
        let add = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?3)
                   INSERT INTO eventferry_inbox (consumer, message_id, handled_at)
                   SELECT ?1, randomblob(16), unixepoch() * 1000000 - ?2 * 3600000000 FROM n";
        connection.execute(add, (consumer, hours, count)).unwrap();
    };
    add("billing", 48, 25);
    add("billing", 1, 3);
    add("shipping", 48, 2);
    let day = Duration::from_secs(24 * 3600);
    for forgotten in [10, 10, 5, 0] {
        assert_eq!(inbox().forget(&connection, day, 10).unwrap(), forgotten);
    }
    assert_eq!(inbox().forget(&connection, Duration::MAX, 10).unwrap(), 0);
    assert_eq!(file.noted(), 5);
    assert_eq!(SqliteInbox::new("shipping").forget(&connection, day, 10).unwrap(), 2);

    let explain = format!("EXPLAIN QUERY PLAN {}", include_str!("../../sql/sqlite/forget.sql"));
    let mut explain = connection.prepare(&explain).unwrap();
    let plan = explain.query_map(("billing", 1, 1), |row| row.get::<_, String>(3)).unwrap();
    let plan: Vec<_> = plan.map(Result::unwrap).collect();
    assert!(
        plan.iter().any(|step| step.contains("eventferry_inbox_by_age (consumer=? AND handled_at<?)")),
        "{plan:?}"
    );
    assert!(plan.iter().all(|step| !step.starts_with("SCAN") && !step.contains("TEMP B-TREE")), "{plan:?}");
}

#[test]
fn what_is_in_the_way_is_said_with_what_to_do() {
    let file = File::bare();
    let mut connection = file.open();
    let says = |fault: InboxFault, kind, text| {
        assert_eq!(*fault.kind(), kind, "{fault}");
        assert!(fault.message().contains(text), "{fault}");
    };
    let fault = handle(&mut connection, &inbox(), id(), "x").unwrap_err().inbox();
    says(fault, InboxFaultKind::Misconfigured, "no inbox; make it by `prepare`");
    let nameless = SqliteInbox::new("");
    says(nameless.prepare(&mut connection).unwrap_err(), InboxFaultKind::Misconfigured, "has no name");
    thread::scope(|scope| {
        let programs: Vec<_> = (0..4).map(|_| scope.spawn(|| inbox().prepare(&mut file.open()))).collect();
        programs.into_iter().for_each(|program| program.join().unwrap().unwrap());
    });
    let fault = handle(&mut connection, &nameless, id(), "x").unwrap_err().inbox();
    says(fault, InboxFaultKind::Misconfigured, "has no name");
    // A statement of the handler's may end the whole transaction; nothing may be committed by itself then.
    let mut transaction = connection.transaction_with_behavior(Immediate).unwrap();
    transaction.execute_batch("ROLLBACK").unwrap();
    let fault = inbox().once(&mut transaction, id(), |_| Ok::<_, Failed>(())).unwrap_err().inbox();
    says(fault, InboxFaultKind::Database, "the transaction has ended");
    says(inbox().claim(&transaction, &[id()]).unwrap_err(), InboxFaultKind::Database, "has ended");
    drop(transaction);

    let other = file.open();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection.busy_timeout(Duration::from_millis(1)).unwrap();
    says(
        inbox().forget(&connection, Duration::ZERO, 1).unwrap_err(),
        InboxFaultKind::Contended,
        "in the way",
    );
    drop(other);
    assert_eq!(file.noted(), 0);
    connection.execute_batch("PRAGMA query_only = ON").unwrap();
    says(
        inbox().forget(&connection, Duration::ZERO, 1).unwrap_err(),
        InboxFaultKind::Misconfigured,
        "written",
    );
    connection
        .execute_batch("PRAGMA query_only = OFF; INSERT INTO eventferry_inbox_migration (version) VALUES (2)")
        .unwrap();
    says(inbox().prepare(&mut connection).unwrap_err(), InboxFaultKind::Misconfigured, "newer program");
}
