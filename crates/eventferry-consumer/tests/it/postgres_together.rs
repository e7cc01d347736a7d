//! The inbox in PostgreSQL, several transactions at once.

use std::sync::Arc;
use std::time::Duration;

use eventferry_consumer::{InboxFaultKind, Once, PostgresInbox};
use eventferry_core::MessageId;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::postgres::{handle, note};
use crate::server::{Database, Trouble, id, on_every_server};

/// The first handler of a message, in a transaction that goes on.
async fn first(database: &Database, transaction: &mut Transaction<'_>, id: MessageId) {
    let first = database.inbox.once(transaction, id, async |transaction| note(transaction, "first").await);
    assert_eq!(first.await.unwrap(), Once::Now(()));
}

/// A second handler of a message, on a connection and a task of its own.
async fn second(database: &Database, id: MessageId) -> JoinHandle<Result<Once<()>, Trouble>> {
    let (mut client, inbox) = (database.client().await, database.inbox.clone());
    tokio::spawn(async move { handle(&mut client, &inbox, id, "second").await })
}

#[tokio::test]
async fn a_second_handler_waits_for_the_first_and_is_told_that_it_is_done() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let id = id();
        let mut transaction = client.transaction().await.unwrap();
        first(database, &mut transaction, id).await;
        let second = second(database, id).await;
        database.until_waiting(1).await;
        transaction.commit().await.unwrap();
        assert_eq!(second.await.unwrap().unwrap(), Once::Before);
        assert_eq!(database.handled().await, ["first"]);
    })
    .await;
}

#[tokio::test]
async fn a_second_handler_runs_if_the_first_was_rolled_back() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let id = id();
        let mut transaction = client.transaction().await.unwrap();
        first(database, &mut transaction, id).await;
        let second = second(database, id).await;
        database.until_waiting(1).await;
        transaction.rollback().await.unwrap();
        assert_eq!(second.await.unwrap().unwrap(), Once::Now(()));
        assert_eq!(database.handled().await, ["second"]);
    })
    .await;
}

#[tokio::test]
async fn a_second_handler_does_not_wait_for_the_transaction_of_a_first_that_failed() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let id = id();
        let mut transaction = client.transaction().await.unwrap();
        let mut waiting = None;
        let first = database.inbox.once(&mut transaction, id, async |transaction| {
            note(transaction, "first").await?;
            waiting = Some(second(database, id).await);
            database.until_waiting(1).await;
            Err::<(), _>(Trouble::Own("no such order"))
        });
        assert!(first.await.is_err());
        assert_eq!(waiting.unwrap().await.unwrap().unwrap(), Once::Now(()));
        note(&transaction, "the failure").await.unwrap();
        transaction.commit().await.unwrap();
        let mut handled = database.handled().await;
        handled.sort_unstable();
        assert_eq!(handled, ["second", "the failure"]);
    })
    .await;
}

#[tokio::test]
async fn above_read_committed_a_second_handler_begins_again() {
    on_every_server(async |database| {
        for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
            let (mut one, mut other) = (database.client().await, database.client().await);
            let id = id();
            let mut first = one.build_transaction().isolation_level(level).start().await.unwrap();
            let handler = async |_: &mut Transaction<'_>| Ok::<_, Trouble>(());
            assert_eq!(database.inbox.once(&mut first, id, handler).await.unwrap(), Once::Now(()));
            let mut second = other.build_transaction().isolation_level(level).start().await.unwrap();
            // Its snapshot is older than the first one's commit.
            second.query_one("SELECT count(*) FROM handled", &[]).await.unwrap();
            first.commit().await.unwrap();
            let fault = database.inbox.once(&mut second, id, handler).await.unwrap_err().inbox();
            assert_eq!(*fault.kind(), InboxFaultKind::Contended, "{fault}");
            second.rollback().await.unwrap();
            let mut second = other.build_transaction().isolation_level(level).start().await.unwrap();
            assert_eq!(database.inbox.once(&mut second, id, handler).await.unwrap(), Once::Before);
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_is_bounded_by_the_lock_timeout() {
    on_every_server(async |database| {
        let (mut one, mut other) = (database.client().await, database.client().await);
        let id = id();
        let mut first = one.transaction().await.unwrap();
        let handler = async |_: &mut Transaction<'_>| Ok::<_, Trouble>(());
        assert_eq!(database.inbox.once(&mut first, id, handler).await.unwrap(), Once::Now(()));
        other.batch_execute("SET lock_timeout = '50ms'").await.unwrap();
        let fault = handle(&mut other, &database.inbox, id, "x").await.unwrap_err().inbox();
        assert_eq!(*fault.kind(), InboxFaultKind::Contended, "{fault}");
    })
    .await;
}

#[tokio::test]
async fn many_handlers_at_once_handle_each_message_once() {
    const MESSAGES: usize = 40;
    on_every_server(async |database| {
        let ids: Arc<Vec<_>> = Arc::new((0..MESSAGES).map(|_| id()).collect());
        let mut handlers = Vec::new();
        for handler in 0..6 {
            let (mut client, inbox) = (database.client().await, database.inbox.clone());
            let ids = Arc::clone(&ids);
            handlers.push(tokio::spawn(async move {
                let mut now = 0;
                for at in 0..MESSAGES {
                    // Every second one in the opposite order.
                    let id = ids[if handler % 2 == 0 { at } else { MESSAGES - 1 - at }];
                    now += usize::from(handle(&mut client, &inbox, id, "x").await.unwrap().now().is_some());
                }
                now
            }));
        }
        let mut now = 0;
        for handler in handlers {
            now += handler.await.unwrap();
        }
        assert_eq!((now, database.handled().await.len()), (MESSAGES, MESSAGES));
    })
    .await;
}

#[tokio::test]
async fn batches_that_overlap_do_not_wait_for_each_other_in_a_ring() {
    on_every_server(async |database| {
        let ids: Vec<_> = (0..50).map(|_| id()).collect();
        let backwards: Vec<_> = ids.iter().rev().copied().collect();
        for _ in 0..20 {
            let claim = |ids: Vec<MessageId>| async move {
                let (mut client, inbox) = (database.client().await, &database.inbox);
                let mut transaction = client.transaction().await.unwrap();
                let claimed = inbox.claim(&mut transaction, &ids).await.unwrap();
                transaction.commit().await.unwrap();
                claimed.into_iter().filter(|new| *new).count()
            };
            let (one, other) = tokio::join!(claim(ids.clone()), claim(backwards.clone()));
            assert_eq!(one + other, ids.len());
            database.client().await.batch_execute("DELETE FROM eventferry_inbox.message").await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn handlers_that_wait_for_each_other_in_a_ring_begin_again() {
    on_every_server(async |database| {
        let (a, b) = (id(), id());
        let both = |first: MessageId, second: MessageId, met: Arc<Barrier>| async move {
            let (mut client, inbox) = (database.client().await, &database.inbox);
            let mut transaction = client.transaction().await?;
            inbox.once(&mut transaction, first, async |_| Ok::<_, Trouble>(())).await?;
            met.wait().await;
            inbox.once(&mut transaction, second, async |_| Ok::<_, Trouble>(())).await?;
            transaction.commit().await?;
            Ok::<_, Trouble>(())
        };
        let met = Arc::new(Barrier::new(2));
        let (one, other) = tokio::join!(both(a, b, Arc::clone(&met)), both(b, a, met));
        let mut faults: Vec<_> = [one, other].into_iter().filter_map(Result::err).collect();
        assert_eq!(*faults.pop().unwrap().inbox().kind(), InboxFaultKind::Contended);
        assert!(faults.is_empty(), "the other one goes on");
    })
    .await;
}

/// Messages that were handled two days ago.
async fn add_old(client: &Client, count: i32) {
    let add = "INSERT INTO eventferry_inbox.message (consumer, message_id, handled_at)
               SELECT 'billing', gen_random_uuid(), now() - interval '2 days' FROM generate_series(1, $1)";
    client.execute(add, &[&count]).await.unwrap();
}

#[tokio::test]
async fn forgetting_and_handling_do_not_wait_for_each_other() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    on_every_server(async |database| {
        let (mut handling, forgetting) = (database.client().await, database.client().await);
        for client in [&handling, &forgetting] {
            client.batch_execute("SET lock_timeout = '1ms'").await.unwrap();
        }
        add_old(&forgetting, 20).await;
        // A transaction that is just forgetting, and handlers of other messages.
        forgetting.batch_execute("BEGIN").await.unwrap();
        assert_eq!(database.inbox.forget(&forgetting, DAY, 10).await.unwrap(), 10);
        assert_eq!(handle(&mut handling, &database.inbox, id(), "x").await.unwrap(), Once::Now(()));
        // One that is just handling, and others that forget: each what nobody else is at.
        let mut transaction = handling.transaction().await.unwrap();
        let handled = database.inbox.once(&mut transaction, id(), async |_| Ok::<_, Trouble>(()));
        assert_eq!(handled.await.unwrap(), Once::Now(()));
        let other = database.client().await;
        other.batch_execute("SET lock_timeout = '1ms'").await.unwrap();
        assert_eq!(database.inbox.forget(&other, DAY, 100).await.unwrap(), 10);
        forgetting.batch_execute("COMMIT").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(database.noted().await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_just_forgotten_is_new_to_whoever_waited() {
    on_every_server(async |database| {
        let (mut client, forgetting) = (database.client().await, database.client().await);
        let id = id();
        handle(&mut client, &database.inbox, id, "first").await.unwrap();
        forgetting.batch_execute("BEGIN").await.unwrap();
        assert_eq!(database.inbox.forget(&forgetting, Duration::ZERO, 10).await.unwrap(), 1);
        let second = second(database, id).await;
        database.until_waiting(1).await;
        forgetting.batch_execute("COMMIT").await.unwrap();
        assert_eq!(second.await.unwrap().unwrap(), Once::Now(()));
    })
    .await;
}

#[tokio::test]
async fn forgetting_reads_the_oldest_through_the_index() {
    on_every_server(async |database| {
        let client = database.client().await;
        add_old(&client, 5_000).await;
        client.batch_execute("ANALYZE eventferry_inbox.message").await.unwrap();
        let forget = include_str!("../../sql/postgres/forget.sql");
        let forget = forget.replace("$1", "'billing'").replace("$2", "60").replace("$3", "10");
        let plan = client.query(&format!("EXPLAIN {forget}"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("message_by_age") && plan.contains("Tid Scan"), "{plan}");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
        assert_eq!(
            PostgresInbox::new("billing").forget(&client, Duration::from_secs(60), 10).await.unwrap(),
            10
        );
    })
    .await;
}
