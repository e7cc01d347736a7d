//! The inbox's tables: made once, by anybody, and used by a role that can make nothing.

use std::time::Duration;

use eventferry_consumer::{InboxFaultKind, Once, PostgresInbox, SqliteInbox, SqlxInbox};
use uuid::Uuid;

use crate::postgres::handle;
use crate::server::{Trouble, id, on_every_bare_server};

#[tokio::test]
async fn any_number_of_programs_may_make_the_tables_at_once() {
    on_every_bare_server(async |database| {
        let mut programs = Vec::new();
        for _ in 0..6 {
            let (mut client, inbox) = (database.client().await, database.inbox.clone());
            programs.push(tokio::spawn(async move { inbox.prepare(&mut client).await }));
        }
        for program in programs {
            program.await.unwrap().unwrap();
        }
        let mut client = database.client().await;
        let once = handle_bare(&mut client, &database.inbox).await;
        assert_eq!(once.unwrap(), Once::Now(()));
    })
    .await;
}

#[tokio::test]
async fn who_waited_for_the_tables_to_be_made_finds_them() {
    on_every_bare_server(async |database| {
        let first = database.client().await;
        first.batch_execute("BEGIN").await.unwrap();
        first.batch_execute(include_str!("../../sql/postgres/one_at_a_time.sql")).await.unwrap();
        let (mut client, inbox) = (database.client().await, database.inbox.clone());
        let second = tokio::spawn(async move { inbox.prepare(&mut client).await });
        database.until_waiting(1).await;
        let script = PostgresInbox::schema_sql();
        let script = script.strip_prefix("BEGIN;").unwrap().strip_suffix("COMMIT;\n").unwrap();
        first.batch_execute(script).await.unwrap();
        first.batch_execute("COMMIT").await.unwrap();
        second.await.unwrap().unwrap();
    })
    .await;
}

async fn handle_bare(
    client: &mut tokio_postgres::Client,
    inbox: &PostgresInbox,
) -> Result<Once<()>, Trouble> {
    let mut transaction = client.transaction().await?;
    let once = inbox.once(&mut transaction, id(), async |_| Ok::<_, Trouble>(())).await?;
    transaction.commit().await?;
    Ok(once)
}

#[tokio::test]
async fn the_script_makes_the_tables_in_a_plain_client() {
    assert_eq!(PostgresInbox::schema_sql(), SqlxInbox::schema_sql());
    on_every_bare_server(async |database| {
        let mut client = database.client().await;
        client.batch_execute(&PostgresInbox::schema_sql()).await.unwrap();
        // Finds them, and makes nothing.
        let before = tables(&client).await;
        database.inbox.prepare(&mut client).await.unwrap();
        assert_eq!(tables(&client).await, before);
        assert_eq!(handle_bare(&mut client, &database.inbox).await.unwrap(), Once::Now(()));
    })
    .await;
    let mut sqlite = rusqlite::Connection::open_in_memory().unwrap();
    sqlite.execute_batch(&SqliteInbox::schema_sql()).unwrap();
    SqliteInbox::new("billing").prepare(&mut sqlite).unwrap();
}

async fn tables(client: &tokio_postgres::Client) -> Vec<u32> {
    let tables =
        "SELECT oid FROM pg_class WHERE relnamespace = 'eventferry_inbox'::regnamespace ORDER BY oid";
    client.query(tables, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_role_needs_what_is_documented_and_no_more() {
    on_every_bare_server(async |database| {
        let mut owner = database.client().await;
        let role = format!("eventferry_consumer_{}", Uuid::new_v4().simple());
        owner.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'")).await.unwrap();
        let mut client = database.client_as(&role, "x").await;
        let fault = database.inbox.prepare(&mut client).await.unwrap_err();
        assert_eq!(*fault.kind(), InboxFaultKind::Misconfigured);
        assert!(fault.message().contains("privilege"), "{fault}");

        database.inbox.prepare(&mut owner).await.unwrap();
        let fault = handle(&mut client, &database.inbox, id(), "x").await.unwrap_err().inbox();
        assert_eq!(*fault.kind(), InboxFaultKind::Misconfigured);
        assert!(fault.message().contains("grant it USAGE on the schema eventferry_inbox"), "{fault}");
        // As docs/consuming.md has it.
        let page = include_str!("../../../../docs/consuming.md");
        let grants: Vec<_> = page.lines().filter(|line| line.starts_with("GRANT ")).collect();
        assert_eq!(grants.len(), 3, "{grants:?}");
        owner.batch_execute(&grants.join("\n").replace("billing_role", &role)).await.unwrap();
        database.inbox.prepare(&mut client).await.unwrap();
        assert_eq!(handle_bare(&mut client, &database.inbox).await.unwrap(), Once::Now(()));
        let mut transaction = client.transaction().await.unwrap();
        assert_eq!(database.inbox.claim(&mut transaction, &[id()]).await.unwrap(), [true]);
        transaction.commit().await.unwrap();
        assert_eq!(database.inbox.forget(&client, Duration::ZERO, 10).await.unwrap(), 2);
        owner.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn newer_tables_are_refused() {
    on_every_bare_server(async |database| {
        let mut client = database.client().await;
        database.inbox.prepare(&mut client).await.unwrap();
        client.batch_execute("INSERT INTO eventferry_inbox.migration (version) VALUES (2)").await.unwrap();
        let fault = database.inbox.prepare(&mut client).await.unwrap_err();
        assert!(fault.message().contains("has version 2, and this program knows 1"), "{fault}");
    })
    .await;
}
