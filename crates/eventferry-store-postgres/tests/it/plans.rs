//! Every hot query is an index scan at a million rows, as the server itself says, nested statements included.

use std::sync::{Arc, Mutex};

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::server::{Database, on_every_server};

/// A client whose plans are collected as they are run.
async fn explaining(database: &Database) -> (Client, Arc<Mutex<Vec<String>>>) {
    let (client, mut connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    let plans = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&plans);
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message {
                collected.lock().unwrap().push(notice.message().to_owned());
            }
        }
    });
    let explain =
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;
                   SET auto_explain.log_nested_statements = on; SET client_min_messages = log";
    client.batch_execute(explain).await.unwrap();
    (client, plans)
}

/// Our statements on a million events that a transaction FILLED wrote.
const HOT: [(&str, &str); 10] = [
    ("new rows", "SELECT count(*) FROM eventferry.read_page('1:1:', pg_current_snapshot(), 0, 0, 0, 500000,
                      decode(repeat('01', 64), 'hex'), 64, 5000, 20000)"),
    ("late rows", "SELECT count(*) FROM eventferry.read_page(
                      'FILLED:FILLED:', pg_current_snapshot(),
                      999990, 0, 0, 999990, decode(repeat('01', 64), 'hex'), 64, 5000, 20000)"),
    ("rows of a running transaction", "SELECT count(*) FROM eventferry.read_page(
                      'FILLED:AFTER:FILLED',
                      pg_current_snapshot(), 1000000, 0, 0, 500000, decode(repeat('01', 64), 'hex'), 64, 5000, 20000)"),
    ("windows", "SELECT eventferry.open_windows(ARRAY['1:1:', pg_current_snapshot()]::pg_snapshot[])"),
    ("a look", "SELECT count(*) FROM eventferry.look(
                      'FILLED:FILLED:', decode(repeat('01', 64), 'hex'), 64, 5000, 20000)"),
    ("a look beside a running transaction", "SELECT count(*) FROM eventferry.look(
                      'FILLED:AFTER:FILLED', decode(repeat('01', 64), 'hex'), 64, 5000, 20000)"),
    ("a glance", "SELECT stirred FROM eventferry.glance('AFTER:AFTER:')"),
    ("a glance beside a running transaction", "SELECT stirred FROM eventferry.glance('FILLED:AFTER:FILLED')"),
    ("lanes", "SELECT eventferry.hold('r', gen_random_uuid(), 1, 60000, '{}', '{}', 64, false)"),
    ("settlement", "SELECT eventferry.settle('r', h.system_identifier, h.timeline, ARRAY[0, 1], ARRAY[1, 1]::bigint[],
                      ARRAY[0, 0]::bigint[], ARRAY[p.read_window, p.read_window], ARRAY[1, 2]::bigint[],
                      '{}', '{}', '{}', '{}', '{}', '{}',
                      '{0,0}', ARRAY[0], ARRAY[500001]::bigint[], '{behind}', '{null}',
                      '{null}', '{null}', '{0}', '{1}', '{1}', '{postponed}', '{0}', '{null}', '{null}', '{null}')
                    FROM eventferry.current_history() AS h, eventferry.positions(ARRAY[0]) AS p"),
];

/// The plan of a page that is streamed, as a relay asks for it.
async fn streamed_page(client: &Client, filled: i64, plans: &Mutex<Vec<String>>) -> String {
    client.batch_execute(include_str!("../../sql/bulk_begin.sql")).await.unwrap();
    plans.lock().unwrap().clear();
    let (prev, cur) = (format!("{filled}:{filled}:"), format!("{0}:{0}:", filled + 1));
    let params: [(&(dyn ToSql + Sync), Type); 7] = [
        (&prev, Type::TEXT),
        (&cur, Type::TEXT),
        (&500_000i64, Type::INT8),
        (&520_000i64, Type::INT8),
        (&vec![1u8; 64], Type::BYTEA),
        (&64i32, Type::INT4),
        (&5_000i32, Type::INT4),
    ];
    let rows = client.query_typed(include_str!("../../sql/read_bulk.sql"), &params).await.unwrap();
    assert_eq!(rows.len(), 5_000);
    client.batch_execute("COMMIT").await.unwrap();
    plans.lock().unwrap().join("\n")
}

/// The plan of looking for the topics of the newest events.
async fn topics(client: &Client, plans: &Mutex<Vec<String>>) -> String {
    plans.lock().unwrap().clear();
    let params: [(&(dyn ToSql + Sync), Type); 1] = [(&10_000i64, Type::INT8)];
    let rows = client.query_typed(include_str!("../../sql/topics.sql"), &params).await.unwrap();
    assert_eq!(rows.len(), 1);
    plans.lock().unwrap().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_queries_use_indexes_at_a_million_rows() {
    on_every_server(async |database| {
        let (client, plans) = explaining(&database).await;
        let fill = "SET auto_explain.log_min_duration = -1;
                    INSERT INTO eventferry.outbox (topic, aggregate_type, aggregate_id, payload)
                    SELECT 't', 'order', (n % 5000)::text, 'x' FROM generate_series(1, 1000000) AS n;
                    ANALYZE eventferry.outbox; SET auto_explain.log_min_duration = 0";
        client.batch_execute(fill).await.unwrap();
        let filled = "SELECT max(xid::text::bigint) FROM eventferry.outbox";
        let filled: i64 = client.query_one(filled, &[]).await.unwrap().get(0);
        let bulk = streamed_page(&client, filled, &plans).await;
        assert!(bulk.contains("Index Scan using outbox_") && !bulk.contains("Seq Scan"), "streamed: {bulk}");
        let of_topics = topics(&client, &plans).await;
        assert!(of_topics.contains("Index Scan Backward using outbox_"), "topics: {of_topics}");
        assert!(!of_topics.contains("Seq Scan on outbox"), "topics: {of_topics}");
        for (what, sql) in HOT {
            let sql = sql.replace("FILLED", &filled.to_string()).replace("AFTER", &(filled + 1).to_string());
            plans.lock().unwrap().clear();
            client.batch_execute(&sql).await.unwrap();
            let plans = plans.lock().unwrap().join("\n");
            assert!(plans.contains("Scan"), "{what}: no plan was seen");
            assert!(!plans.contains("Seq Scan on outbox"), "{what}: {plans}");
            assert!(!plans.contains("Bitmap Heap Scan on outbox"), "{what}: {plans}");
        }
    })
    .await;
}
