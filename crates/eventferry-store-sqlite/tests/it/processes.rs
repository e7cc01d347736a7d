//! Two processes on one file: the test's executable runs itself as an application that is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use eventferry_core::Row;
use eventferry_store_sqlite::SqliteOutbox;

use crate::database::{Database, ROOMY, event, hold, lanes_of, payload, read, read_all, settle_page};

/// Tells the executable that it is the second process, and where the database is.
const SECOND: &str = "EVENTFERRY_TEST_SECOND_PROCESS";

/// The second process: commits a batch for each line it is sent and answers it, then leaves a transaction open.
fn write_batches(path: &str) {
    let mut app = rusqlite::Connection::open(path).unwrap();
    app.pragma_update(None, "synchronous", "NORMAL").unwrap();
    app.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    for (batch, _) in std::io::stdin().lines().enumerate() {
        let transaction = app.transaction().unwrap();
        let events: Vec<_> = (0..100).map(|at| event(at, &format!("{batch}/{at}"))).collect();
        SqliteOutbox.append_many(&transaction, &events).unwrap();
        if batch == 5 {
            std::mem::forget(transaction);
        } else {
            transaction.commit().unwrap();
        }
        let mut stdout = std::io::stdout();
        writeln!(stdout, "wrote {batch}").unwrap();
        stdout.flush().unwrap();
    }
}

#[tokio::test]
async fn what_another_process_commits_is_read_and_what_it_leaves_open_is_not() {
    if let Ok(path) = std::env::var(SECOND) {
        return write_batches(&path);
    }
    let database = Database::with_lanes(8).await;
    let (mut relay, leases) = database.sole_relay().await;
    let lanes = lanes_of(&leases);
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("processes::what_another_process_commits_is_read_and_what_it_leaves_open_is_not")
        .env(SECOND, &database.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = process.stdin.take().unwrap();
    let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut write = |batch: u32| {
        writeln!(orders).unwrap();
        let done = format!("wrote {batch}");
        assert!(answers.by_ref().any(|line| line.unwrap().ends_with(&done)));
    };

    for batch in 0..5 {
        write(batch);
        let page = read(&mut relay, &lanes, ROOMY).await.unwrap();
        assert_eq!(page.records.len(), 100);
        assert_eq!(payload(&page.records[99]), format!("{batch}/99"));
        settle_page(&mut relay, &leases, &page).await;
    }
    write(5);
    assert_eq!(read(&mut relay, &lanes, ROOMY).await.unwrap().records.len(), 0);
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(read(&mut relay, &lanes, ROOMY).await.unwrap().records.len(), 0);

    // Its write lock died with it, and its ids are given to others.
    database.commit(&[event(1, "after")]);
    let page = read(&mut relay, &lanes, ROOMY).await.unwrap();
    assert_eq!(page.records.iter().map(payload).collect::<Vec<_>>(), ["after"]);
}

#[tokio::test]
async fn many_writers_and_two_relays_lose_and_reorder_nothing() {
    const WRITERS: u32 = 4;
    const TRANSACTIONS: u32 = 50;
    let database = Database::with_lanes(16).await;
    let (mut a, mut b) = (database.roles("a"), database.roles("b"));
    let of_a = hold(&mut a, &[], 7).await.unwrap();
    let of_b = hold(&mut b, &[], 16).await.unwrap();
    eventferry_core::store::Feed::open(&mut a.feed, &of_a).await.unwrap();
    eventferry_core::store::Feed::open(&mut b.feed, &of_b).await.unwrap();

    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let mut app = database.app();
            std::thread::spawn(move || {
                for number in 0..TRANSACTIONS {
                    let transaction =
                        app.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
                    let events: Vec<_> =
                        (0..5).map(|at| event(writer * 10 + at, &format!("{number:03}"))).collect();
                    SqliteOutbox.append_many(&transaction, &events).unwrap();
                    if number % 7 == 3 { transaction.rollback() } else { transaction.commit() }.unwrap();
                }
            })
        })
        .collect();
    let mut records = Vec::new();
    while writers.iter().any(|writer| !writer.is_finished()) {
        for (relay, leases) in [(&mut a, &of_a), (&mut b, &of_b)] {
            let page = read(relay, &lanes_of(leases), (20, u64::MAX)).await.unwrap();
            settle_page(relay, leases, &page).await;
            records.extend(page.records);
        }
    }
    for writer in writers {
        writer.join().unwrap();
    }
    records.extend(read_all(&mut a, &lanes_of(&of_a)).await);
    records.extend(read_all(&mut b, &lanes_of(&of_b)).await);

    let expected: Vec<_> = (0..TRANSACTIONS).filter(|n| n % 7 != 3).map(|n| format!("{n:03}")).collect();
    for aggregate in (0..WRITERS).flat_map(|writer| (0..5).map(move |at| (writer * 10 + at).to_string())) {
        let of_aggregate: Vec<_> =
            records.iter().filter(|record| record.row.aggregate_id() == aggregate).map(payload).collect();
        assert_eq!(of_aggregate, expected, "aggregate {aggregate}");
    }
}
