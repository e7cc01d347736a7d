//! Messages in the write-ahead log instead of rows: those drivers that can enqueue can emit, but diesel's own.

use eventferry::Event;
use eventferry::postgres::{FeedChoice, PostgresOutbox};

use crate::database::{Database, connect};

/// All that an event can have, and none of it.
fn events(driver: &str) -> [Event; 3] {
    let named = |number: u8| format!("[[{driver} {number}]]");
    [
        Event::new("orders", ("order", 1))
            .payload(named(1), "text/plain")
            .key("key")
            .header("a", "b")
            .partition(3),
        Event::new("orders", ("order", 1)).payload(named(2), "text/plain"),
        Event::new("orders", ("order", 1)).payload(named(3), "text/plain"),
    ]
}

/// The payloads of the messages that were committed, in the order of the log.
async fn emitted(database: &Database) -> Vec<String> {
    let client = connect(&database.url()).await;
    let peek = "SELECT data FROM pg_logical_slot_peek_binary_changes(eventferry.tail_slot(), NULL, NULL,
                    'proto_version', '1', 'publication_names', 'eventferry', 'messages', 'true')
                WHERE get_byte(data, 0) = ascii('M')";
    let rows = client.query(peek, &[]).await.unwrap();
    let payload = |row: &tokio_postgres::Row| {
        let text = String::from_utf8_lossy(row.get::<_, &[u8]>(0)).into_owned();
        let (_, rest) = text.rsplit_once("[[").unwrap();
        rest.split_once("]]").unwrap().0.to_owned()
    };
    rows.iter().map(payload).collect()
}

/// Emits in a transaction that is committed, and in one that is rolled back.
macro_rules! emit {
    ($driver:literal, $begin:expr, $handle:expr) => {{
        let outbox = PostgresOutbox::new();
        let [first, rest @ ..] = events($driver);
        for keep in [true, false] {
            let mut tx = $begin.await.unwrap();
            outbox.emit($handle(&mut tx), &first).await.unwrap();
            assert_eq!(outbox.emit_many($handle(&mut tx), &rest).await.unwrap().len(), 2);
            if keep { tx.commit().await.unwrap() } else { tx.rollback().await.unwrap() }
        }
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn each_driver_that_waits_for_nobody_emits_messages_that_share_the_fate_of_their_transaction() {
    let database = Database::newest_postgres(FeedChoice::TailMessages).await;
    let url = database.url();

    let mut client = connect(&url).await;
    emit!("tokio-postgres", client.transaction(), |tx| tx);
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    emit!("sqlx", pool.begin(), |tx| tx);
    let pool = sqlx_08::PgPool::connect(&url).await.unwrap();
    emit!("sqlx 0.8", pool.begin(), |tx| tx);
    let pool = sea_orm::Database::connect(&url).await.unwrap();
    emit!("sea-orm", sea_orm::TransactionTrait::begin(&pool), |tx| tx);
    by_diesel_async(&url).await;

    let drivers = ["tokio-postgres", "sqlx", "sqlx 0.8", "sea-orm", "diesel-async"];
    let expected = drivers.iter().flat_map(|driver| (1..=3).map(move |number| format!("{driver} {number}")));
    assert_eq!(emitted(&database).await, expected.collect::<Vec<_>>());
    let rows = connect(&url).await.query_one("SELECT count(*) FROM eventferry.outbox", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 0);
    drop(client);
    let drop_slot = "SELECT pg_drop_replication_slot(eventferry.tail_slot())";
    connect(&url).await.query_one(drop_slot, &[]).await.unwrap();
    database.remove().await;
}

async fn by_diesel_async(url: &str) {
    use diesel_async::{AsyncConnection as _, AsyncPgConnection};

    let mut connection = AsyncPgConnection::establish(url).await.unwrap();
    let outbox = PostgresOutbox::new();
    let [first, rest @ ..] = events("diesel-async");
    for keep in [true, false] {
        let emitted = connection.transaction(async |connection| {
            outbox.emit(connection, &first).await.unwrap();
            outbox.emit_many(connection, &rest).await.unwrap();
            if keep { Ok(()) } else { Err(diesel::result::Error::RollbackTransaction) }
        });
        assert_eq!(emitted.await.is_ok(), keep);
    }
}
