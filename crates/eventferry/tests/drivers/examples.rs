//! The examples do what they show: an order and its event, or neither.

use eventferry::postgres::FeedChoice;

use crate::database::{Database, Place, on_each};

/// Examples as modules; their `main` is for people.
macro_rules! examples {
    ($($name:ident: $path:literal;)*) => {$(
        #[path = $path]
        #[expect(dead_code, reason = "its main is for people")]
        mod $name;
    )*};
}

examples! {
    deadpool_postgres: "../../examples/enqueue_deadpool_postgres.rs";
    diesel: "../../examples/enqueue_diesel.rs";
    diesel_async: "../../examples/enqueue_diesel_async.rs";
    rusqlite: "../../examples/enqueue_rusqlite.rs";
    sea_orm: "../../examples/enqueue_sea_orm.rs";
    sea_orm_sqlite: "../../examples/enqueue_sea_orm_sqlite.rs";
    sqlx: "../../examples/enqueue_sqlx.rs";
    sqlx_08: "../../examples/enqueue_sqlx_08.rs";
    sqlx_sqlite: "../../examples/enqueue_sqlx_sqlite.rs";
    tokio_postgres: "../../examples/enqueue_tokio_postgres.rs";
}

/// Places an order twice by each example: the second time it is there already.
macro_rules! place_twice {
    ($url:expr, $($place:expr),*) => {{
        let mut id = 0;
        $(
            id += 1;
            let first = $place($url.clone(), id);
            first.await.unwrap();
            assert!($place($url.clone(), id).await.is_err(), "order {id} was placed twice");
        )*
        id
    }};
}

/// The orders of which there are events, each with its event's payload.
async fn events(database: &Database) -> Vec<(String, String)> {
    let events = database.events().await.into_iter();
    let mut events: Vec<_> = events
        .map(|event| (event.aggregate.id, String::from_utf8(event.payload.unwrap()).unwrap()))
        .collect();
    events.sort();
    events
}

fn expected(orders: i64) -> Vec<(String, String)> {
    (1..=orders).map(|id| (id.to_string(), format!(r#"{{"id":{id},"total":7}}"#))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_on_postgres_places_an_order_with_its_event() {
    let database = Database::newest_postgres(FeedChoice::Table).await;
    let url = database.url();
    let by_diesel = async |url: String, id| {
        let placed = tokio::task::spawn_blocking(move || diesel::place(&url, id));
        placed.await.unwrap()
    };
    let orders = place_twice!(
        url,
        async |url: String, id| tokio_postgres::place(&url, id).await,
        async |url: String, id| deadpool_postgres::place(&url, id).await,
        async |url: String, id| sqlx::place(&url, id).await,
        async |url: String, id| sqlx_08::place(&url, id).await,
        async |url: String, id| diesel_async::place(&url, id).await,
        async |url: String, id| sea_orm::place(&url, id).await,
        by_diesel
    );
    assert_eq!(events(&database).await, expected(orders));
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_on_sqlite_places_an_order_with_its_event() {
    on_each(Place::Sqlite, async |database| {
        let url = format!("sqlite://{}", database.url());
        let orders = place_twice!(
            url,
            async |url: String, id| rusqlite::place(&url, id),
            async |url: String, id| sqlx_sqlite::place(&url, id).await,
            async |url: String, id| sea_orm_sqlite::place(&url, id).await
        );
        assert_eq!(events(database).await, expected(orders));
    })
    .await;
}
