//! What a relay costs a database while nobody enqueues.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::kafka::{self, Topic};
use crate::postgres::Database;
use crate::program::{PATIENCE, Program, within};

/// How many statements the database has answered: each of a relay's is a transaction of its own.
fn statements(database: &Database) -> i64 {
    const COUNT: &str =
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    database.sql(COUNT).unwrap().parse().unwrap()
}

/// The processor time that a process has used, where /proc tells it.
fn spent(process: u32) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let nanos = |task: std::fs::DirEntry| -> Option<u64> {
        std::fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Some(Duration::from_nanos(tasks.filter_map(Result::ok).filter_map(nanos).sum()))
}

/// Runs a relay until it has nothing to do, and counts its statements for a while; and the share of a processor that it
/// takes.
fn statements_and_share(doorbell: &str) -> (f64, f64) {
    let (program, database, topic) = (Program::new(), Database::new(), Topic::new());
    program.done(&["init", "--store", &database.url, "--doorbell", doorbell]);
    // The server has work of its own in each database, such as autovacuum's: as much in one that nobody uses.
    let unused = Database::new();
    program.done(&["init", "--store", &unused.url, "--doorbell", doorbell]);
    let event =
        ["--topic", &topic.name, "--aggregate-type", "order", "--aggregate-id", "1", "--payload", "x"];
    program.done(&[&["enqueue", "--store", &database.url], &event[..]].concat());
    let mut relay = program.start(&["run", "--store", &database.url, "--publisher", &kafka::url()]);
    relay.says("took lanes");
    topic.messages(1);
    if doorbell == "on" {
        const SLEEPER: &str = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = 1685024626";
        within(PATIENCE, || database.sql(SLEEPER));
    }
    // waits: sessions tell what they counted within a second or two
    sleep(Duration::from_secs(4));
    // Of three times the calmest: autovacuum comes by once a minute at most.
    let rounds = [(); 3].map(|()| {
        let spent_before = spent(relay.child.id()).unwrap_or_default();
        let (before, unused_before, started) = (statements(&database), statements(&unused), Instant::now());
        // waits: what is counted is what happens while nothing does
        sleep(Duration::from_secs(12));
        let counted = (statements(&database) - before) - (statements(&unused) - unused_before);
        let spent = spent(relay.child.id()).unwrap_or_default().saturating_sub(spent_before);
        let seconds = started.elapsed().as_secs_f64();
        (counted as f64 / seconds, spent.as_secs_f64() / seconds)
    });
    println!("doorbell {doorbell}: {rounds:.4?} statements a second, share of a processor");
    let calmest = |of: fn((f64, f64)) -> f64| rounds.into_iter().map(of).fold(f64::MAX, f64::min);
    (calmest(|round| round.0), calmest(|round| round.1))
}

#[test]
fn an_idle_relay_asks_the_database_less_than_five_times_a_second_and_takes_a_hundredth_of_a_processor() {
    for doorbell in ["on", "off"] {
        let (rate, share) = statements_and_share(doorbell);
        assert!(
            rate > 1.0,
            "{rate} a second with the doorbell {doorbell}: it does not even renew its leases"
        );
        assert!(rate < 5.0, "{rate} a second with the doorbell {doorbell}");
        assert!(share < 0.01, "{share} of a processor with the doorbell {doorbell}");
    }
}
