//! The slot is looked after: what is in the way is said, what it keeps is gauged, and what becomes of it costs nothing.

use std::time::Instant;

use eventferry_core::store::{Prepare, Settlement, Store as _, Upkeep as _, Verdict};
use eventferry_core::{StoreFault, StoreFaultKind};
use eventferry_store_postgres::{FeedChoice, PostgresConfig, PostgresStore};

use crate::own_server::{NEWEST, OLDEST, OwnServer};
use crate::roles::{drop_role, role};
use crate::server::{
    Database, PATIENCE, Relay, enqueue, expire, on_every_server, on_every_server_by, query, until,
};
use crate::tail::{come_to_the_tail, drop_slot, emit};

/// How many sessions have the slot.
const HOLDERS: &str = "SELECT count(*) FROM pg_replication_slots
    WHERE slot_name = eventferry.tail_slot() AND active_pid IS NOT NULL";

/// Ends who has it, as a relay does that takes over.
const END: &str = "SELECT eventferry.end_tail(active_pid) FROM pg_replication_slots
    WHERE slot_name = eventferry.tail_slot()";

/// What a relay of this role is told at its start.
async fn told(url: &str, feed: FeedChoice) -> Result<(), StoreFault> {
    prepared(PostgresConfig::from_url(url).unwrap().feed(feed), Prepare::Check).await
}

async fn prepared(config: PostgresConfig, prepare: Prepare) -> Result<(), StoreFault> {
    PostgresStore::new(config).prepare(prepare).await.map(drop)
}

/// Holds it to be a wrong setting, said in these words.
fn says(told: Result<(), StoreFault>, words: &[&str]) {
    let fault = told.unwrap_err();
    assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured, "{fault}");
    for words in words {
        assert!(fault.message().contains(words), "no `{words}`: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_replication_is_told_at_the_start() {
    for feed in [FeedChoice::TailTable, FeedChoice::TailMessages] {
        on_every_server_by(feed, async |database| {
            let (name, url) = role(&database, "grant_relay").await;
            says(told(&url, feed).await, &["REPLICATION", "42501"]);
            let admin = database.client().await;
            admin.batch_execute(&format!("ALTER ROLE {name} REPLICATION")).await.unwrap();
            told(&url, feed).await.unwrap();
            drop_role(&database, &name).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_settings_leave_no_room_says_which() {
    for programs in [NEWEST, OLDEST] {
        for (settings, words) in [
            ("wal_level = replica", ["wal_level is `replica`", "logical"]),
            ("max_wal_senders = 0", ["max_wal_senders 0", "restart"]),
            ("max_replication_slots = 0", ["max_replication_slots is 0", "restart"]),
        ] {
            let server = OwnServer::start(programs, settings).await;
            let database = server.database(FeedChoice::TailTable);
            says(database.store().prepare(Prepare::Apply).await.map(drop), &words);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_and_senders_that_are_all_taken_are_named() {
    for programs in [NEWEST, OLDEST] {
        let settings = "max_replication_slots = 1\nmax_wal_senders = 1";
        let server = OwnServer::start(programs, settings).await;
        let database = server.database(FeedChoice::TailTable);
        let app = database.client().await;
        app.batch_execute("SELECT pg_create_physical_replication_slot('anothers')").await.unwrap();
        let fault = database.store().prepare(Prepare::Apply).await.unwrap_err();
        assert!(fault.message().contains("max_replication_slots"), "{fault}");
        app.batch_execute("SELECT pg_drop_replication_slot('anothers')").await.unwrap();
        database.store().prepare(Prepare::Apply).await.unwrap();
        let mut relay = database.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        // Whoever stands by waits until there is room for it, and says so.
        let fault = told(&database.url, FeedChoice::TailTable).await.unwrap_err();
        assert_eq!(*fault.kind(), StoreFaultKind::Unavailable, "{fault}");
        assert!(fault.message().contains("raise max_wal_senders"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replication_that_is_refused_or_had_elsewhere_is_told_at_the_start() {
    let (server, other) = (OwnServer::start(NEWEST, "").await, OwnServer::start(OLDEST, "").await);
    let database = server.database(FeedChoice::TailTable);
    database.store().prepare(Prepare::Apply).await.unwrap();
    let app = database.client().await;
    app.batch_execute("CREATE ROLE stranger LOGIN REPLICATION").await.unwrap();
    app.batch_execute("CREATE DATABASE another").await.unwrap();
    server.lets_in("host all stranger all reject").await;
    let stranger = database.url.replace("postgres@", "stranger@");
    for (url, words) in [
        (stranger, ["pg_hba", "--replication-url"]),
        (server.url("another"), ["another database", "--replication-url"]),
        (other.url("postgres"), ["another cluster", "--replication-url"]),
    ] {
        let config = PostgresConfig::from_url(&database.url).unwrap().feed(FeedChoice::TailTable);
        let there = || config.clone().replication_url(&url).unwrap();
        let mut fault = prepared(there(), Prepare::Check).await;
        // The server reads its pg_hba.conf anew when it comes to it.
        while fault.is_ok() {
            fault = prepared(there(), Prepare::Check).await;
        }
        says(fault, &words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_or_a_publication_that_is_not_ours_is_told_at_the_start() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let app = database.client().await;
        let told = async || told(&database.url, FeedChoice::TailTable).await;
        told().await.unwrap();
        for change in [
            "ALTER PUBLICATION eventferry DROP TABLE eventferry.outbox",
            "ALTER PUBLICATION eventferry SET TABLE eventferry.outbox;
             ALTER PUBLICATION eventferry SET (publish = 'update')",
            "ALTER PUBLICATION eventferry SET (publish = 'insert', publish_via_partition_root = false)",
        ] {
            app.batch_execute(change).await.unwrap();
            says(told().await, &["DROP PUBLICATION eventferry", "init --tail"]);
        }
        app.batch_execute("DROP PUBLICATION eventferry").await.unwrap();
        says(told().await, &["no publication", "init --tail"]);
        database.store().prepare(Prepare::Apply).await.unwrap();
        told().await.unwrap();

        drop_slot(&app).await;
        app.batch_execute("SELECT pg_create_physical_replication_slot(eventferry.tail_slot())")
            .await
            .unwrap();
        says(told().await, &["not made by eventferry", "pg_drop_replication_slot"]);
        drop_slot(&app).await;
        let name: String = query(&app, "SELECT eventferry.tail_slot()").await;
        let (base, _) = database.url.rsplit_once('/').unwrap();
        let elsewhere = crate::server::client(&format!("{base}/postgres")).await;
        let make = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
        elsewhere.batch_execute(&make).await.unwrap();
        says(told().await, &["another database", "pg_drop_replication_slot"]);
        drop_slot_elsewhere(&elsewhere, &name).await;
    })
    .await;
}

async fn drop_slot_elsewhere(client: &tokio_postgres::Client, name: &str) {
    client.batch_execute(&format!("SELECT pg_drop_replication_slot('{name}')")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_inserted_while_there_was_no_publication_is_read_from_the_table() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let app = database.client().await;
        let mut relay = database.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "1").await;
        assert_eq!(relay.read_all().await, ["a/1"]);
        crate::tail::settle_all(&mut relay).await;
        drop(relay);
        app.batch_execute("DROP PUBLICATION eventferry").await.unwrap();
        enqueue(&app, "a", "2").await;
        database.store().prepare(Prepare::Apply).await.unwrap();
        enqueue(&app, "a", "3").await;
        expire(&database).await;
        let mut heir = database.relay("heir").await;
        heir.take(64).await;
        let read = heir.read_all().await;
        assert!(read.ends_with(&["a/2".into(), "a/3".into()]), "{read:?}");
        come_to_the_tail(&mut heir, &app).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_of_the_table_needs_none_of_it() {
    on_every_server(async |database| {
        let (name, url) = role(&database, "grant_relay").await;
        told(&url, FeedChoice::Table).await.unwrap();
        drop_role(&database, &name).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_slot_keeps_of_the_log_is_gauged() {
    on_every_server_by(FeedChoice::TailTable, async |database| {
        let app = database.client().await;
        let mut idle = database.relay("looks on").await;
        let before = idle.roles.upkeep.log().await.unwrap().unwrap();
        assert!(!before.lost && before.spare_bytes.is_none(), "{before:?}");
        write_log(&app, 3 << 20).await;
        let kept = idle.roles.upkeep.gauge().await.unwrap().log.unwrap();
        assert!(kept.kept_bytes >= before.kept_bytes + (3 << 20), "{before:?} {kept:?}");
        // Whoever went back to the table and left the slot is told, too.
        let table = Database { url: database.url.clone(), feed: FeedChoice::Table };
        let mut table = table.relay("reads the table").await;
        assert!(table.roles.upkeep.log().await.unwrap().unwrap().kept_bytes >= kept.kept_bytes);
        drop_slot(&app).await;
        assert_eq!(table.roles.upkeep.gauge().await.unwrap().log, None);
    })
    .await;
}

/// Lets the write-ahead log grow by so many bytes of others' work.
pub(crate) async fn write_log(app: &tokio_postgres::Client, bytes: i32) {
    let write = "SELECT pg_logical_emit_message(true, 'others', repeat('x', 1 << 20))
                 FROM generate_series(1, $1 / (1 << 20) + 1)";
    app.execute(write, &[&bytes]).await.unwrap();
}

/// A transaction whose commit record lies before the slot, and which is not visible because its standby has not
/// answered, may be the newest of all: then no snapshot's xmax is above it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_waits_for_its_standby_is_not_lost_at_the_hand_over() {
    for programs in [NEWEST, OLDEST] {
        // A standby of this name never comes.
        let server = OwnServer::start(programs, "synchronous_standby_names = 'nobody'").await;
        let url = server.url("postgres");
        // These sessions wait for the disk alone.
        let local = format!("{url}?options=-c%20synchronous_commit%3Dlocal");
        let local = Database { url: local, feed: FeedChoice::TailTable };
        local.store().prepare(Prepare::Apply).await.unwrap();
        let app = local.client().await;
        let mut relay = local.relay("owner").await;
        let waiting =
            tokio::spawn(async move { enqueue(&crate::server::client(&url).await, "a", "waits").await });
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        while query::<i64>(&app, waits).await == 0 {}
        app.batch_execute(
            "SELECT pg_replication_slot_advance(eventferry.tail_slot(), pg_current_wal_flush_lsn())",
        )
        .await
        .unwrap();
        relay.take(64).await;
        let early = relay.read_all().await;
        app.batch_execute("ALTER SYSTEM SET synchronous_standby_names = ''").await.unwrap();
        app.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        waiting.await.unwrap();
        assert!(early.is_empty(), "{early:?}");
        enqueue(&app, "a", "after").await;
        assert_eq!(relay.read_all().await, ["a/waits", "a/after"]);
        come_to_the_tail(&mut relay, &app).await;
        assert!(relay.read_all().await.is_empty());
    }
}

/// The other way round: a window beside the tail does not show a transaction that waits for its standby, though the
/// stream has handed it over. Who goes on from that window reads it once more, and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_waits_for_its_standby_is_not_lost_when_the_tail_is_left_for_the_table() {
    for programs in [NEWEST, OLDEST] {
        // A standby of this name never comes.
        let server = OwnServer::start(programs, "synchronous_standby_names = 'nobody'").await;
        let url = server.url("postgres");
        // These sessions wait for the disk alone.
        let local = format!("{url}?options=-c%20synchronous_commit%3Dlocal");
        let tail = Database { url: local.clone(), feed: FeedChoice::TailTable };
        tail.store().prepare(Prepare::Apply).await.unwrap();
        let app = tail.client().await;
        let mut relay = tail.owner().await;
        come_to_the_tail(&mut relay, &app).await;
        enqueue(&app, "a", "before").await;
        let waiting =
            tokio::spawn(async move { enqueue(&crate::server::client(&url).await, "a", "waits").await });
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        while query::<i64>(&app, waits).await == 0 {}
        enqueue(&app, "b", "later").await;
        assert_eq!(relay.read_all().await, ["a/before", "a/waits", "b/later"]);
        // Others' log, so that positions follow: they stand by a window that does not show what waits.
        let stand = "SELECT count(*) FROM eventferry.position AS p
            JOIN eventferry.read_window AS w ON w.id = p.read_window
            WHERE EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.wait_event = 'SyncRep'
                          AND NOT pg_visible_in_snapshot(a.backend_xid::text::xid8, w.cur)
                          AND pg_snapshot_xmax(w.cur) > a.backend_xid::text::xid8)";
        let started = Instant::now();
        while query::<i64>(&app, stand).await < 64 {
            write_log(&app, 20 << 20).await;
            carry_quietly(&mut relay).await;
            assert!(started.elapsed() < PATIENCE, "no window was taken while it waited");
        }
        drop(relay);
        expire(&tail).await;
        let mut table = Database { url: tail.url.clone(), feed: FeedChoice::Table }.owner().await;
        assert!(table.read_all().await.is_empty());
        app.batch_execute("ALTER SYSTEM SET synchronous_standby_names = ''").await.unwrap();
        app.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        waiting.await.unwrap();
        enqueue(&app, "a", "after").await;
        assert_eq!(table.read_all().await, ["a/waits", "a/after"]);
    }
}

/// A server of its own, and a relay that reads its log.
async fn streaming(programs: &str, feed: FeedChoice) -> (OwnServer, tokio_postgres::Client, Relay) {
    let server = OwnServer::start(programs, "").await;
    let database = server.database(feed);
    database.store().prepare(Prepare::Apply).await.unwrap();
    let app = database.client().await;
    let mut relay = database.owner().await;
    come_to_the_tail(&mut relay, &app).await;
    (server, app, relay)
}

/// An outbox that is quiet while others write much: positions follow, and the server lets go of its log.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_outbox_in_a_busy_database_lets_the_log_go() {
    for programs in [NEWEST, OLDEST] {
        for feed in [FeedChoice::TailTable, FeedChoice::TailMessages] {
            let (server, app, mut relay) = streaming(programs, feed).await;
            let database = server.database(feed);
            let mut others = database.relay("stands by").await;
            others.take(64).await;
            assert!(others.leases.is_empty());
            let confirmed = "SELECT (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint FROM pg_replication_slots
                             WHERE slot_name = eventferry.tail_slot()";
            let before: i64 = query(&app, confirmed).await;
            for round in 0.. {
                // A segment of the log, and another.
                app.batch_execute("CREATE TABLE others (); DROP TABLE others").await.unwrap();
                app.batch_execute("SELECT pg_switch_wal()").await.unwrap();
                carry_quietly(&mut relay).await;
                if round < 12 {
                    continue;
                }
                // The server notes which transactions run, as it does by itself every 15 s.
                app.batch_execute("CHECKPOINT").await.unwrap();
                let kept = relay.roles.upkeep.log().await.unwrap().unwrap().kept_bytes;
                if kept <= 64 << 20 {
                    break;
                }
                assert!(round < 100, "{kept} bytes are kept though the log goes on");
            }
            let after: i64 = query(&app, confirmed).await;
            assert!(after - before > 120 << 20, "{before} {after}");
        }
    }
}

/// Much was written, and then nothing at all: positions follow once more, past where the server noted what runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_before_a_long_silence_is_let_go() {
    for programs in [NEWEST, OLDEST] {
        for feed in [FeedChoice::TailTable, FeedChoice::TailMessages] {
            let (_server, app, mut relay) = streaming(programs, feed).await;
            match feed {
                FeedChoice::TailMessages => emit(&app, "a", "1").await,
                _ => enqueue(&app, "a", "1").await,
            }
            assert_eq!(relay.read_all().await, ["a/1"]);
            carry_quietly(&mut relay).await;
            let end = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
            let burst: i64 = query(&app, end).await;
            // The server notes which transactions run, as it does by itself every 15 s.
            app.batch_execute("CHECKPOINT").await.unwrap();
            let kept = "SELECT (restart_lsn - '0/0'::pg_lsn)::bigint FROM pg_replication_slots
                        WHERE slot_name = eventferry.tail_slot()";
            let lets_go = async |relay: &mut Relay, slot: &str, burst: i64| {
                let started = Instant::now();
                while query::<i64>(&app, slot).await < burst {
                    carry_quietly(relay).await;
                    assert!(started.elapsed() < PATIENCE, "the log of the burst is kept: {slot}");
                }
            };
            lets_go(&mut relay, kept, burst).await;
            // The same for others' burst, however long all was quiet before.
            write_log(&app, 40 << 20).await;
            let burst: i64 = query(&app, end).await;
            let confirmed = kept.replace("restart_lsn", "confirmed_flush_lsn");
            lets_go(&mut relay, &confirmed, burst).await;
            app.batch_execute("CHECKPOINT").await.unwrap();
            lets_go(&mut relay, kept, burst).await;
        }
    }
}

/// Reads, and settles what was passed, as a relay does.
async fn carry_quietly(relay: &mut Relay) {
    let page = relay.read().await;
    assert!(page.records.is_empty());
    for (lane, mark) in page.passed {
        let (lease, prefix) = (relay.lease(lane), [mark]);
        let settlement = Settlement { lease, prefix: &prefix, park: vec![], changes: vec![], carries: None };
        assert_eq!(relay.settle(settlement).await, Verdict::Done);
    }
}

/// Of several hosts the driver takes the one that may be written to, and replication is had from the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_from_the_host_that_is_written_to() {
    let (read_only, server) = (OwnServer::start(NEWEST, "").await, OwnServer::start(OLDEST, "").await);
    let admin = crate::server::client(&read_only.url("postgres")).await;
    admin.batch_execute("ALTER DATABASE postgres SET default_transaction_read_only = on").await.unwrap();
    let host = |server: &OwnServer| {
        let url = server.url("postgres");
        url.split(['@', '/']).nth(3).unwrap().to_owned()
    };
    let url = format!(
        "postgres://postgres@{},{}/postgres?target_session_attrs=read-write",
        host(&read_only),
        host(&server)
    );
    let database = Database { url, feed: FeedChoice::TailTable };
    database.store().prepare(Prepare::Apply).await.unwrap();
    let mut relay = database.owner().await;
    let app = database.client().await;
    come_to_the_tail(&mut relay, &app).await;
    enqueue(&app, "a", "1").await;
    assert_eq!(relay.read_all().await, ["a/1"]);
    for (host, wanted) in [(host(&read_only), "read-write"), (host(&server), "read-only")] {
        let url = format!("postgres://postgres@{host}/postgres?target_session_attrs={wanted}");
        let config = PostgresConfig::from_url(&url).unwrap();
        let driver = config.connect().await.map(drop).unwrap_err();
        let good = PostgresConfig::from_url(&database.url).unwrap().feed(FeedChoice::TailTable);
        let mut tail = PostgresStore::new(good.replication_url(&url).unwrap());
        let replication = tail.prepare(Prepare::Check).await.map(drop).unwrap_err();
        for fault in [driver, replication] {
            let named = fault.message().contains("target_session_attrs");
            assert!(named && *fault.kind() == StoreFaultKind::Unavailable, "{fault}");
        }
    }
}

/// PostgreSQL lets everybody write messages under any prefix, until that is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_not_emitted_by_us_stops_no_relay() {
    for feed in [FeedChoice::TailTable, FeedChoice::TailMessages] {
        on_every_server_by(feed, async |database| {
            let app = database.client().await;
            let mut relay = database.owner().await;
            come_to_the_tail(&mut relay, &app).await;
            emit(&app, "a", "1").await;
            let record = |topic: &str, kind: &str, partition: &str| {
                format!(
                    "record_send(ROW(pg_current_xact_id(), 1::bigint, now(), gen_random_uuid(), {topic}, {kind},
                     'a'::text, NULL::bytea, NULL::bytea, NULL::text, NULL::bytea[], {partition}::integer))"
                )
            };
            for content in [
                "''".into(),
                "'\\x0000000c'::bytea".into(),
                "convert_to('forged', 'UTF8')".into(),
                record("''::text", "'test'::text", "NULL"),
                record("repeat('t', 250)", "'test'::text", "NULL"),
                record("'t'::text", "repeat('t', 1025)", "NULL"),
                record("'t'::text", "NULL::text", "NULL"),
                record("'t'::text", "'test'::text", "-1"),
            ] {
                let forge = format!("SELECT pg_logical_emit_message(true, 'eventferry', {content})");
                app.batch_execute(&forge).await.unwrap();
            }
            emit(&app, "a", "2").await;
            assert_eq!(relay.read_all().await, ["a/1", "a/2"]);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_looks_into_the_slot_is_not_ended() {
    for mended in [true, false] {
        on_every_server_by(FeedChoice::TailTable, async |database| {
            if !mended {
                database.undo("end_tail", "s.confirmed_flush_lsn IS NULL OR", "true OR").await;
            }
            let (app, person) = (database.client().await, database.client().await);
            app.batch_execute("CREATE TABLE much AS SELECT generate_series(1, 1000000)").await.unwrap();
            let look =
                "SELECT count(*) FROM pg_logical_slot_peek_binary_changes(eventferry.tail_slot(), NULL, NULL,
                        'proto_version', '1', 'publication_names', 'eventferry')";
            let looks = tokio::spawn(async move { person.batch_execute(look).await });
            until(&app, HOLDERS, 1).await;
            app.batch_execute(END).await.unwrap();
            assert_eq!(looks.await.unwrap().is_ok(), mended);
            until(&app, HOLDERS, 0).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_left_making_the_slot_is_ended() {
    on_every_server(async |database| {
        let (app, writer, left) = (database.client().await, database.client().await, database.client().await);
        writer.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
        let make = "SELECT pg_create_logical_replication_slot(eventferry.tail_slot(), 'pgoutput')";
        let makes = tokio::spawn(async move { left.batch_execute(make).await });
        until(&app, HOLDERS, 1).await;
        app.batch_execute(END).await.unwrap();
        assert!(makes.await.unwrap().is_err());
        until(&app, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = eventferry.tail_slot()", 0)
            .await;
    })
    .await;
}
