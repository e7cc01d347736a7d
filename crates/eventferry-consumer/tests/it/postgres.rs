//! The inbox in PostgreSQL, one transaction after the other.

use std::time::Duration;

use eventferry_consumer::{InboxFaultKind, Once, PostgresInbox};
use eventferry_core::MessageId;
use tokio_postgres::{Client, Transaction};

use crate::server::{Trouble, id, on_every_bare_server, on_every_server};

/// Notes that something was handled.
pub(crate) async fn note(transaction: &Transaction<'_>, what: &str) -> Result<(), Trouble> {
    transaction.execute("INSERT INTO handled (what) VALUES ($1)", &[&what]).await?;
    Ok(())
}

/// Handles a message in a transaction of its own.
pub(crate) async fn handle(
    client: &mut Client,
    inbox: &PostgresInbox,
    id: MessageId,
    what: &str,
) -> Result<Once<()>, Trouble> {
    let mut transaction = client.transaction().await?;
    let once = inbox.once(&mut transaction, id, async |transaction| note(transaction, what).await).await?;
    transaction.commit().await?;
    Ok(once)
}

#[tokio::test]
async fn a_message_is_handled_once_however_often_it_comes() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let (first, second) = (id(), id());
        let mut transaction = client.transaction().await.unwrap();
        let once: Result<_, Trouble> = database.inbox.once(&mut transaction, first, async |_| Ok(7)).await;
        assert_eq!(once.unwrap(), Once::Now(7));
        let once: Result<Once<()>, Trouble> =
            database.inbox.once(&mut transaction, first, async |_| panic!("it was handled")).await;
        assert_eq!(once.unwrap(), Once::Before, "in the same transaction, too");
        transaction.commit().await.unwrap();
        for _ in 0..3 {
            assert_eq!(handle(&mut client, &database.inbox, first, "again").await.unwrap(), Once::Before);
        }
        assert_eq!(handle(&mut client, &database.inbox, second, "second").await.unwrap(), Once::Now(()));
        assert_eq!(database.handled().await, ["second"]);
    })
    .await;
}

#[tokio::test]
async fn each_consumer_handles_a_message_for_itself() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let id = id();
        for _ in 0..2 {
            for consumer in ["billing", "shipping", "Billing"] {
                handle(&mut client, &PostgresInbox::new(consumer), id, consumer).await.unwrap();
            }
        }
        assert_eq!(database.handled().await, ["billing", "shipping", "Billing"]);
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_fails_leaves_nothing_though_the_transaction_is_committed() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let id = id();
        let mut transaction = client.transaction().await.unwrap();
        note(&transaction, "before").await.unwrap();
        let failed = database.inbox.once(&mut transaction, id, async |transaction| {
            note(transaction, "half").await?;
            Err::<(), _>(Trouble::Own("no such order"))
        });
        assert!(matches!(failed.await, Err(Trouble::Own("no such order"))));
        // Even an error of the database, which otherwise ends the transaction.
        let failed = database.inbox.once(&mut transaction, id, async |transaction| {
            note(transaction, "half").await?;
            transaction.batch_execute("SELECT 1 / 0").await?;
            Ok(())
        });
        assert!(
            matches!(failed.await, Err(Trouble::Database(error)) if error.code().unwrap().code() == "22012")
        );
        note(&transaction, "after").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(
            (database.handled().await, database.noted().await),
            (vec!["before".into(), "after".into()], 0)
        );
        assert_eq!(handle(&mut client, &database.inbox, id, "now").await.unwrap(), Once::Now(()));
    })
    .await;
}

#[tokio::test]
async fn an_error_that_the_handler_keeps_to_itself_is_no_success() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let id = id();
        let mut transaction = client.transaction().await.unwrap();
        let handled = database.inbox.once(&mut transaction, id, async |transaction| {
            drop(transaction.batch_execute("SELECT 1 / 0").await);
            Ok::<_, Trouble>(())
        });
        let fault = handled.await.unwrap_err().inbox();
        assert_eq!(*fault.kind(), InboxFaultKind::Database);
        assert!(fault.message().contains("had failed before"), "{fault}");
        transaction.commit().await.unwrap();
        assert_eq!(database.noted().await, 0);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_a_handler_that_is_dropped_half_way() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let id = id();
        let mut transaction = client.transaction().await.unwrap();
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let handled = database.inbox.once(&mut transaction, id, async |transaction| {
            note(transaction, "half").await?;
            begun.send(()).unwrap();
            std::future::pending::<Result<(), Trouble>>().await
        });
        tokio::select! {
            _ = handled => panic!("it never ends"),
            begun = is_begun => begun.unwrap(),
        }
        note(&transaction, "after").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!((database.handled().await, database.noted().await), (vec!["after".into()], 0));
    })
    .await;
}

#[tokio::test]
async fn what_is_rolled_back_around_it_was_not_handled() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let id = id();
        let handler = async |transaction: &mut Transaction<'_>| note(transaction, "x").await;
        let mut transaction = client.transaction().await.unwrap();
        assert_eq!(database.inbox.once(&mut transaction, id, handler).await.unwrap(), Once::Now(()));
        transaction.rollback().await.unwrap();

        let mut transaction = client.transaction().await.unwrap();
        let mut savepoint = transaction.savepoint("around").await.unwrap();
        assert_eq!(database.inbox.once(&mut savepoint, id, handler).await.unwrap(), Once::Now(()));
        savepoint.rollback().await.unwrap();
        assert_eq!(database.inbox.once(&mut transaction, id, handler).await.unwrap(), Once::Now(()));
        let mut savepoint = transaction.savepoint("around").await.unwrap();
        assert_eq!(database.inbox.once(&mut savepoint, id, handler).await.unwrap(), Once::Before);
        savepoint.commit().await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!((database.handled().await.len(), database.noted().await), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_claimed_in_one_go() {
    on_every_server(async |database| {
        let mut client = database.client().await;
        let (old, twice, new) = (id(), id(), id());
        handle(&mut client, &database.inbox, old, "old").await.unwrap();
        let mut transaction = client.transaction().await.unwrap();
        let claimed = database.inbox.claim(&mut transaction, &[old, twice, new, twice]).await.unwrap();
        assert_eq!(claimed, [false, true, true, false]);
        assert!(database.inbox.claim(&mut transaction, &[]).await.unwrap().is_empty());
        transaction.commit().await.unwrap();
        assert_eq!(handle(&mut client, &database.inbox, new, "new").await.unwrap(), Once::Before);
    })
    .await;
}

#[tokio::test]
async fn only_old_messages_of_the_consumer_are_forgotten_and_in_pieces() {
    on_every_server(async |database| {
        let client = database.client().await;
        let add = "INSERT INTO eventferry_inbox.message (consumer, message_id, handled_at)
                   SELECT $1, gen_random_uuid(), now() - make_interval(hours => $2) FROM generate_series(1, $3)";
        for (consumer, hours, count) in [("billing", 48, 25), ("billing", 1, 3), ("shipping", 48, 2)] {
            client.execute(add, &[&consumer, &hours, &count]).await.unwrap();
        }
        let day = Duration::from_secs(24 * 3600);
        for forgotten in [10, 10, 5, 0] {
            assert_eq!(database.inbox.forget(&client, day, 10).await.unwrap(), forgotten);
        }
        assert_eq!(database.inbox.forget(&client, Duration::MAX, 10).await.unwrap(), 0);
        assert_eq!(database.noted().await, 5);
        assert_eq!(PostgresInbox::new("shipping").forget(&client, day, 10).await.unwrap(), 2);
        // The oldest first.
        client.execute(add, &[&"billing", &2, &1]).await.unwrap();
        assert_eq!(database.inbox.forget(&client, Duration::ZERO, 1).await.unwrap(), 1);
        let left = "SELECT min(handled_at) > now() - interval '90 minutes' FROM eventferry_inbox.message";
        assert!(client.query_one(left, &[]).await.unwrap().get::<_, bool>(0));
    })
    .await;
}

#[tokio::test]
async fn what_is_in_the_way_is_said_with_what_to_do() {
    on_every_bare_server(async |database| {
        let mut client = database.client().await;
        let fault = handle(&mut client, &database.inbox, id(), "x").await.unwrap_err().inbox();
        assert_eq!(*fault.kind(), InboxFaultKind::Misconfigured);
        assert!(fault.message().contains("no inbox; make it by `prepare`"), "{fault}");
        let nameless = PostgresInbox::new("");
        let fault = nameless.prepare(&mut client).await.unwrap_err();
        assert!(fault.message().contains("has no name"), "{fault}");
        database.inbox.prepare(&mut client).await.unwrap();
        let fault = handle(&mut client, &nameless, id(), "x").await.unwrap_err().inbox();
        assert_eq!(*fault.kind(), InboxFaultKind::Misconfigured);
        assert!(fault.message().contains("has no name"), "{fault}");

        let mut transaction = client.build_transaction().read_only(true).start().await.unwrap();
        let handled = database.inbox.once(&mut transaction, id(), async |_| Ok::<_, Trouble>(()));
        let fault = handled.await.unwrap_err().inbox();
        assert_eq!(*fault.kind(), InboxFaultKind::Misconfigured);
        assert!(fault.message().contains("read-only"), "{fault}");
        drop(transaction);

        let admin = database.client().await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let mut transaction = client.transaction().await.unwrap();
        admin.batch_execute(end).await.unwrap();
        let handled = database.inbox.once(&mut transaction, id(), async |_| Ok::<_, Trouble>(()));
        assert_eq!(*handled.await.unwrap_err().inbox().kind(), InboxFaultKind::Database);
    })
    .await;
}
