//! The inbox in sqlx's transactions: the same table as for tokio-postgres.

use std::time::Duration;

use eventferry_consumer::{InboxFault, InboxFaultKind, Once, SqlxInbox};
use eventferry_core::MessageId;
use sqlx::{Connection as _, PgConnection};

use crate::server::{Database, Trouble, id, on_every_bare_server, on_every_server};

async fn connect(database: &Database) -> PgConnection {
    PgConnection::connect(&database.url).await.unwrap()
}

#[derive(Debug)]
enum Failed {
    Inbox(InboxFault),
    Sqlx(sqlx::Error),
    Own,
}

impl From<InboxFault> for Failed {
    fn from(fault: InboxFault) -> Self {
        Self::Inbox(fault)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

async fn handle(connection: &mut PgConnection, id: MessageId) -> Result<Once<()>, Failed> {
    let inbox = SqlxInbox::new("billing");
    let mut transaction = connection.begin().await?;
    let handled = inbox.once(&mut transaction, id, async |transaction| {
        sqlx::query("INSERT INTO handled (what) VALUES ('x')").execute(&mut **transaction).await?;
        Ok::<_, Failed>(())
    });
    let once = handled.await?;
    transaction.commit().await?;
    Ok(once)
}

#[tokio::test]
async fn a_message_is_handled_once_whichever_driver_handles_it() {
    on_every_server(async |database| {
        let mut connection = connect(database).await;
        let mut client = database.client().await;
        let (by_sqlx, by_other) = (id(), id());
        assert_eq!(handle(&mut connection, by_sqlx).await.unwrap(), Once::Now(()));
        assert_eq!(handle(&mut connection, by_sqlx).await.unwrap(), Once::Before);
        let other = crate::postgres::handle(&mut client, &database.inbox, by_sqlx, "x").await;
        assert_eq!(other.unwrap(), Once::Before);
        crate::postgres::handle(&mut client, &database.inbox, by_other, "x").await.unwrap();
        assert_eq!(handle(&mut connection, by_other).await.unwrap(), Once::Before);
        assert_eq!(database.handled().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_fails_or_is_dropped_leaves_nothing() {
    on_every_server(async |database| {
        let mut connection = connect(database).await;
        let (inbox, id) = (SqlxInbox::new("billing"), id());
        let insert = "INSERT INTO handled (what) VALUES ('half')";
        let mut transaction = connection.begin().await.unwrap();
        let failed = inbox.once(&mut transaction, id, async |transaction| {
            sqlx::query(insert).execute(&mut **transaction).await?;
            Err::<(), _>(Failed::Own)
        });
        assert!(matches!(failed.await, Err(Failed::Own)));
        let failed = inbox.once(&mut transaction, id, async |transaction| {
            sqlx::query(insert).execute(&mut **transaction).await?;
            sqlx::query("SELECT 1 / 0").execute(&mut **transaction).await?;
            Ok::<_, Failed>(())
        });
        assert!(
            matches!(failed.await, Err(Failed::Sqlx(error)) if error.to_string().contains("division by zero"))
        );
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let dropped = inbox.once(&mut transaction, id, async |transaction| {
            sqlx::query(insert).execute(&mut **transaction).await?;
            begun.send(()).unwrap();
            std::future::pending::<Result<(), Failed>>().await
        });
        tokio::select! {
            _ = dropped => panic!("it never ends"),
            begun = is_begun => begun.unwrap(),
        }
        transaction.commit().await.unwrap();
        assert_eq!((database.handled().await.len(), database.noted().await), (0, 0));
        assert_eq!(handle(&mut connection, id).await.unwrap(), Once::Now(()));
    })
    .await;
}

#[tokio::test]
async fn a_second_handler_waits_for_the_first() {
    on_every_server(async |database| {
        for (commits, second_is) in [(true, Once::Before), (false, Once::Now(()))] {
            let id = id();
            let mut client = database.client().await;
            let mut transaction = client.transaction().await.unwrap();
            let first = database.inbox.once(&mut transaction, id, async |_| Ok::<_, Trouble>(()));
            assert_eq!(first.await.unwrap(), Once::Now(()));
            let mut connection = connect(database).await;
            let second = tokio::spawn(async move { handle(&mut connection, id).await });
            database.until_waiting(1).await;
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.rollback().await.unwrap();
            }
            assert_eq!(second.await.unwrap().unwrap(), second_is);
        }
    })
    .await;
}

#[tokio::test]
async fn it_prepares_claims_and_forgets() {
    on_every_bare_server(async |database| {
        let (mut connection, inbox) = (connect(database).await, SqlxInbox::new("billing"));
        let Err(Failed::Inbox(fault)) = handle(&mut connection, id()).await else { panic!("no inbox yet") };
        assert_eq!(*fault.kind(), InboxFaultKind::Misconfigured);
        assert!(fault.message().contains("no inbox; make it by `prepare`"), "{fault}");
        let nameless = SqlxInbox::new("").prepare(&mut connection).await.unwrap_err();
        assert!(nameless.message().contains("has no name"), "{nameless}");
        for _ in 0..2 {
            inbox.prepare(&mut connection).await.unwrap();
        }
        let (one, other) = (id(), id());
        let mut transaction = connection.begin().await.unwrap();
        let claimed = inbox.claim(&mut transaction, &[one, other, one]).await.unwrap();
        assert_eq!(claimed, [true, true, false]);
        transaction.commit().await.unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(inbox.forget(&mut connection, hour, 10).await.unwrap(), 0);
        for forgotten in [1, 1, 0] {
            assert_eq!(inbox.forget(&mut connection, Duration::ZERO, 1).await.unwrap(), forgotten);
        }
    })
    .await;
}
