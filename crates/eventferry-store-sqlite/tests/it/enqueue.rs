//! Promise 1: an event exists if and only if its transaction, and the savepoint around it, commits.

use eventferry_core::{EnqueueFaultKind, Event, Header, MessageId, Row};
use eventferry_store_sqlite::{PAYLOAD_BYTES_MAX, SqliteOutbox};

use crate::database::{Database, event, lanes_of, payload, read_all};

#[tokio::test]
async fn what_is_rolled_back_never_was() {
    let database = Database::with_lanes(4).await;
    let mut app = database.app();

    let transaction = app.transaction().unwrap();
    SqliteOutbox.append(&transaction, event(1, "rolled back")).unwrap();
    transaction.rollback().unwrap();

    let mut transaction = app.transaction().unwrap();
    SqliteOutbox.append(&transaction, event(1, "before")).unwrap();
    let savepoint = transaction.savepoint().unwrap();
    SqliteOutbox.append(&savepoint, event(1, "savepoint rolled back")).unwrap();
    drop(savepoint);
    let savepoint = transaction.savepoint().unwrap();
    SqliteOutbox.append(&savepoint, event(1, "savepoint released")).unwrap();
    savepoint.commit().unwrap();
    SqliteOutbox.append(&transaction, event(1, "after")).unwrap();
    transaction.commit().unwrap();

    let (mut relay, leases) = database.sole_relay().await;
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    assert_eq!(records.iter().map(payload).collect::<Vec<_>>(), ["before", "savepoint released", "after"]);
}

#[tokio::test]
async fn an_event_comes_back_as_it_was_enqueued() {
    let database = Database::with_lanes(4).await;
    let given = MessageId([9; 16]);
    let full = Event::new("orders.größe", ("Bestellung", "日本"))
        .payload([0, 255, 1], "application/octet-stream")
        .key([0, 1])
        .header("b", [0, 255])
        .header("a", "1")
        .header("b", "")
        .partition(7)
        .message_id(given);
    let bare = Event::new("orders", ("order", 1));
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    let ids = SqliteOutbox.enqueue_many(&mut transaction, [full.clone(), bare]).await.unwrap();
    transaction.commit().unwrap();
    assert_eq!(ids[0], given);
    assert_eq!(ids[1].0[6] >> 4, 4, "a random UUID is of version 4");

    let (mut relay, leases) = database.sole_relay().await;
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    let row = &records[0].row;
    assert_eq!(
        (row.topic(), row.aggregate_type(), row.aggregate_id()),
        ("orders.größe", "Bestellung", "日本")
    );
    assert_eq!((row.message_id(), row.partition()), (given, Some(7)));
    assert_eq!((row.key(), row.payload()), (full.key.as_deref(), full.payload.as_deref()));
    assert_eq!(row.content_type(), Some("application/octet-stream"));
    let mut headers = Vec::new();
    row.headers(&mut |name, value| headers.push(Header { name: name.into(), value: value.into() }));
    assert_eq!(headers, full.headers);

    let row = &records[1].row;
    assert_eq!((row.message_id(), row.partition(), row.key()), (ids[1], None, None));
    assert_eq!((row.payload(), row.content_type()), (None, None));
    row.headers(&mut |name, _| panic!("a header from nowhere: {name}"));
}

#[tokio::test]
async fn a_refused_event_adds_nothing_and_the_transaction_goes_on() {
    let database = Database::with_lanes(4).await;
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    let too_large = vec![0; usize::try_from(PAYLOAD_BYTES_MAX).unwrap() + 1];
    for wrong in
        [Event::new("", ("order", 1)), Event::new("t", ("order", 1)).payload(too_large, "text/plain")]
    {
        let fault = SqliteOutbox.append_many(&transaction, &[event(1, "with it"), wrong]).unwrap_err();
        assert_eq!(fault.kind(), EnqueueFaultKind::Refused);
    }
    // What only the database refuses.
    let rule = "CREATE TEMP TRIGGER rule BEFORE INSERT ON eventferry_outbox WHEN new.topic = 'forbidden'
                BEGIN SELECT RAISE(ABORT, 'a rule of the application'); END";
    transaction.execute_batch(rule).unwrap();
    let forbidden = Event::new("forbidden", ("order", 1));
    let fault = SqliteOutbox.append_many(&transaction, &[event(1, "with it"), forbidden]).unwrap_err();
    assert_eq!(fault.kind(), EnqueueFaultKind::Database);
    assert!(fault.to_string().contains("a rule of the application"), "{fault}");

    assert_eq!(SqliteOutbox.append_many(&transaction, Vec::<Event>::new()).unwrap(), []);
    let mut savepoint = transaction.savepoint().unwrap();
    SqliteOutbox.enqueue(&mut savepoint, event(1, "goes on")).await.unwrap();
    savepoint.commit().unwrap();
    transaction.commit().unwrap();
    assert_eq!(database.count("eventferry_outbox"), 1);
}

#[tokio::test]
async fn an_ended_transaction_is_refused() {
    let database = Database::with_lanes(4).await;
    let mut app = database.app();
    let transaction = app.transaction().unwrap();
    transaction.execute_batch("COMMIT").unwrap();
    let fault = SqliteOutbox.append(&transaction, event(1, "alone")).unwrap_err();
    assert_eq!(fault.kind(), EnqueueFaultKind::Refused);
    drop(transaction);
    assert_eq!(database.count("eventferry_outbox"), 0);
}

#[tokio::test]
async fn enqueueing_without_the_tables_says_what_to_do() {
    let database = Database::empty();
    let mut app = database.app();
    let transaction = app.transaction().unwrap();
    let fault = SqliteOutbox.append(&transaction, event(1, "x")).unwrap_err();
    assert_eq!(fault.kind(), EnqueueFaultKind::Database);
    assert!(fault.to_string().contains("eventferry init"), "{fault}");
}

#[tokio::test]
async fn four_columns_are_enough_in_plain_sql() {
    let database = Database::with_lanes(4).await;
    let app = database.app();
    app.execute_batch(
        r#"
        INSERT INTO eventferry_outbox (topic, aggregate_type, aggregate_id, payload)
        VALUES ('orders', 'order', 42, '{"total": 7}'), ('orders', 'order', 42, NULL);
        INSERT INTO eventferry_outbox (topic, aggregate_type, aggregate_id, payload, key, partition, headers)
        VALUES ('orders', 'order', '42', x'00ff', 'text key', 3,
                '{"b": "1", "a": "größe", "b": 2, "t": true, "n": null}');
        "#,
    )
    .unwrap();
    let (mut relay, leases) = database.sole_relay().await;
    let records = read_all(&mut relay, &lanes_of(&leases)).await;
    let rows: Vec<_> = records.iter().map(|record| &record.row).collect();
    assert_eq!(rows.iter().map(|row| row.aggregate_id()).collect::<Vec<_>>(), ["42"; 3]);
    assert_eq!(rows[0].payload(), Some(&br#"{"total": 7}"#[..]));
    assert_eq!(rows[1].payload(), None);
    assert_eq!((rows[2].payload(), rows[2].key()), (Some(&[0, 255][..]), Some(&b"text key"[..])));
    assert_eq!(rows[2].partition(), Some(3));
    assert_ne!(rows[0].message_id(), rows[1].message_id());
    let mut headers = Vec::new();
    rows[2].headers(&mut |name, value| {
        headers.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()))
    });
    let expected = [("b", "1"), ("a", "größe"), ("b", "2"), ("t", "true"), ("n", "")];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let age = i64::try_from(clock).unwrap() - rows[0].enqueued_at().0;
    assert!((-1_000..60_000_000).contains(&age), "enqueued {age} microseconds ago");
}

#[tokio::test]
async fn a_wrong_insert_is_told_what_is_wrong() {
    let database = Database::with_lanes(4).await;
    let app = database.app();
    for (columns, values, says) in [
        ("topic, aggregate_type, aggregate_id", "'', 'order', '1'", "topic_has_1_to_249_characters"),
        ("topic, aggregate_type, aggregate_id", "'t', '', '1'", "aggregate_type_is_text"),
        ("topic, aggregate_type, aggregate_id", "'t', 'order', ''", "aggregate_id_is_text"),
        ("topic, aggregate_type, aggregate_id", "'t', 'order', 'a' || char(0)", "without_zeros"),
        ("topic, aggregate_type, aggregate_id", "'t', 'order', x'31'", "aggregate_id_is_text"),
        ("topic, aggregate_type, aggregate_id, payload", "'t', 'order', '1', 5", "payload_is_a_blob_or_text"),
        (
            "topic, aggregate_type, aggregate_id, payload",
            "'t', 'order', '1', zeroblob(16777217)",
            "payload_is_a_blob_or_text_of_at_most_16_MiB",
        ),
        (
            "topic, aggregate_type, aggregate_id, headers",
            "'t', 'order', '1', '[1]'",
            "headers_are_a_json_object",
        ),
        (
            "topic, aggregate_type, aggregate_id, headers",
            "'t', 'order', '1', '{'",
            "headers_are_a_json_object",
        ),
        (
            "topic, aggregate_type, aggregate_id, partition",
            "'t', 'order', '1', -1",
            "partition_is_a_number_from_0",
        ),
        ("topic, aggregate_type, aggregate_id, message_id", "'t', 'order', '1', x'00'", "blob_of_16_bytes"),
        (
            "topic, aggregate_type, aggregate_id, enqueued_at",
            "'t', 'order', '1', 'now'",
            "whole_microseconds",
        ),
    ] {
        let error = app
            .execute(&format!("INSERT INTO eventferry_outbox ({columns}) VALUES ({values})"), [])
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{values}: {error}");
    }
    app.execute(
        "INSERT INTO eventferry_outbox (topic, aggregate_type, aggregate_id) VALUES ('t', 'order', 1)",
        [],
    )
    .unwrap();
    app.execute("DELETE FROM eventferry_outbox", []).unwrap();
    let by_hand =
        "INSERT INTO eventferry_outbox (id, topic, aggregate_type, aggregate_id) VALUES (1, 't', 'order', 1)";
    let error = app.execute(by_hand, []).unwrap_err().to_string();
    assert!(error.contains("leave out the id"), "{error}");
    assert_eq!(database.count("eventferry_outbox"), 0);
}
