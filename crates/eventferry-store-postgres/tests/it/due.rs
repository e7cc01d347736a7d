//! Which parked events are due, held against a model, and at size.

use std::collections::BTreeMap;
use std::time::Instant;

use eventferry_core::parked::{DueAsk, ParkedKey};
use eventferry_core::store::Ledger as _;
use eventferry_core::{Lane, Row as _};
use tokio_postgres::Client;

use crate::server::{Database, Relay, on_every_server};
use crate::traps::pages_read;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A parked event of the model.
#[derive(Clone, Debug)]
struct Model {
    key: ParkedKey,
    aggregate: String,
    topic: String,
    state: &'static str,
    /// Whether its own time has come; `None`: it has none.
    time: Option<bool>,
    decided: bool,
}

impl Model {
    fn is_due(&self, except: &[&str]) -> bool {
        let come = self.time.unwrap_or(true) && !self.decided;
        match self.state {
            "topic" => come && !except.contains(&self.topic.as_str()),
            "dead_letter_topic" => come,
            _ => false,
        }
    }
}

/// Parks events of all kinds in lanes 0 to 3, and returns those that are unsettled, in the order of keys.
async fn fill(client: &Client, seed: u64) -> Vec<Model> {
    let mut dice = Dice(seed);
    let mut models = Vec::new();
    for number in 0..150 {
        let (lane, aggregate) = (dice.below(4) as i32, format!("a{}", dice.below(6)));
        let topic = format!("t{}", dice.below(3));
        let kind = dice.below(12);
        let state = ["topic", "dead_letter_topic", "waiting", "held", "shipped"][match kind {
            0..8 => 0,
            8 => 1,
            9 if dice.below(3) == 0 => 2,
            10 if dice.below(3) == 0 => 3,
            _ => 4,
        }];
        let time = match (state, kind) {
            ("topic", 0..5) => None,
            ("topic", 5..7) | ("dead_letter_topic", _) => Some(dice.below(8) > 0),
            ("topic", _) => Some(true),
            _ => None,
        };
        let settled = state == "shipped";
        let decided = !settled && dice.below(40) == 0;
        let sql = "INSERT INTO eventferry.parked (lane, id, created_at, message_id, topic, aggregate_type,
                       aggregate_id, payload, state, due_at, decision, settled_at)
                   VALUES ($1, $2, now(), gen_random_uuid(), $3, 'test', $4, $5, $6,
                       CASE WHEN $7 THEN now() - interval '1 second'
                            WHEN NOT $7 THEN now() + interval '1 hour' END,
                       CASE WHEN $8 THEN 'discard' END, CASE WHEN $9 THEN now() END) RETURNING ordinal";
        let payload = vec![0u8; dice.below(200) as usize];
        let row = client
            .query_one(
                sql,
                &[&lane, &i64::from(number), &topic, &aggregate, &payload, &state, &time, &decided, &settled],
            )
            .await
            .unwrap();
        let key = ParkedKey { lane: Lane(lane as u16), ordinal: row.get(0) };
        models.push(Model { key, aggregate, topic, state, time, decided });
    }
    let first =
        "SELECT eventferry.first_is_due(array_agg(lane), array_agg(aggregate_type), array_agg(aggregate_id),
                                                now())
                 FROM eventferry.parked";
    client.execute(first, &[]).await.unwrap();
    models.retain(|model| model.state != "shipped");
    models.sort_by_key(|model| model.key);
    models
}

/// What is due after this event, as the contract says it.
fn expected(models: &[Model], lanes: &[Lane], except: &[&str], after: Option<ParkedKey>) -> Vec<ParkedKey> {
    let mut goes_on: BTreeMap<(Lane, &str), bool> = BTreeMap::new();
    let mut keys = Vec::new();
    for model in models.iter().filter(|model| lanes.contains(&model.key.lane)) {
        let goes_on = goes_on.entry((model.key.lane, &model.aggregate)).or_insert(true);
        *goes_on &= model.is_due(except) && Some(model.key) > after;
        if *goes_on {
            keys.push(model.key);
        }
    }
    keys
}

/// Holds what the ledger hands over, page by page, against the model. Says how much it was.
async fn compare_pages(
    relay: &mut Relay,
    models: &[Model],
    lanes: &[Lane],
    except_topics: &[&str],
    (records_max, bytes_max): (u32, u64),
) -> usize {
    let (mut due, mut after) = (0, None);
    loop {
        let expected = expected(models, lanes, except_topics, after);
        let ask = DueAsk { lanes, except_topics, after, records_max, bytes_max };
        let page = relay.roles.ledger.due(ask).await.unwrap();
        let bytes: u64 = page.events.iter().map(|event| event.row.size_bytes() as u64).sum();
        assert!(page.events.len() <= records_max as usize, "{} records", page.events.len());
        assert!(bytes <= bytes_max || page.events.len() == 1, "{bytes} bytes");
        let keys: Vec<ParkedKey> = page.events.iter().map(|event| event.key).collect();
        assert_eq!(
            Some(keys.as_slice()),
            expected.get(..keys.len()),
            "after {after:?}, but {except_topics:?}"
        );
        due += keys.len();
        if !page.more {
            assert_eq!(keys.len(), expected.len(), "after {after:?}, but {except_topics:?}");
            return due;
        }
        assert!(!keys.is_empty(), "more, and nothing to go on after");
        after = keys.last().copied();
    }
}

/// As many due events as make the ledger walk its list: none.
async fn always_walk(database: &Database) {
    database.undo("due", "few constant bigint := 5000", "few constant bigint := 0").await;
    database.undo("due", "chunk_max bigint := records_max * 2 + 1000", "chunk_max bigint := 7").await;
    database.undo("due", "chunk_max < 50000", "chunk_max < 50").await;
}

async fn compare(database: &Database, pages: &[(u32, u64)]) {
    let app = database.client().await;
    let mut relay = database.owner().await;
    let lanes: Vec<Lane> = (0..4).map(Lane).collect();
    let mut due = 0;
    for seed in 1..=4 {
        app.batch_execute("TRUNCATE eventferry.parked").await.unwrap();
        let models = fill(&app, seed).await;
        for lanes in [&lanes[..], &lanes[1..3]] {
            for except in [&[][..], &["t1"], &["t0", "t1", "t2"]] {
                for page in pages {
                    due += compare_pages(&mut relay, &models, lanes, except, *page).await;
                }
            }
        }
        let ask = DueAsk { lanes: &lanes, except_topics: &[], after: None, records_max: 100, bytes_max: 1 };
        let page = relay.roles.ledger.due(ask).await.unwrap();
        let decided: Vec<ParkedKey> = page.decisions.iter().map(|decided| decided.key).collect();
        let expected = models.iter().filter(|model| model.decided).map(|model| model.key);
        assert_eq!(decided, expected.collect::<Vec<_>>());
    }
    assert!(due > 100, "{due} due in all shows little");
}

const PAGES: [(u32, u64); 5] = [(1000, 1 << 20), (1, 1 << 20), (7, 1 << 20), (100, 1000), (100, 1)];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_comes_once_a_round_in_order_on_pages_of_any_size() {
    on_every_server(async |database| compare(&database, &PAGES).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_the_same_where_the_list_is_walked() {
    on_every_server(async |database| {
        always_walk(&database).await;
        compare(&database, &PAGES[..4]).await;
    })
    .await;
}

/// Parks so many events of `aggregates` aggregates in one statement; the first of each in an hour, the others behind.
async fn park_many(client: &Client, events: i32, aggregates: i32) {
    let fill = format!(
        "INSERT INTO eventferry.parked (lane, id, created_at, message_id, topic, aggregate_type, aggregate_id, payload,
                                        due_at, class)
         SELECT n % {aggregates} % 64, n, now(), gen_random_uuid(), 't' || n % 3, 'order', n % {aggregates}, 'x',
                CASE WHEN n < {aggregates} THEN now() + interval '1 hour' END, 'C'
         FROM generate_series(0, {events} - 1) AS n"
    );
    client.batch_execute(&fill).await.unwrap();
}

const ASK: &str =
    "SELECT * FROM eventferry.current_history() AS h, eventferry.due(h.system_identifier, h.timeline,
    (SELECT array_agg(l.lane ORDER BY l.lane) FROM eventferry.lane AS l), EXCEPT, -1, -1, 100, 100000)";

#[tokio::test(flavor = "multi_thread")]
async fn asking_costs_what_is_due_and_not_what_is_parked() {
    on_every_server(async |database| {
        let app = database.client().await;
        // Never analyzed, as after a sudden outage.
        app.batch_execute("ALTER TABLE eventferry.parked SET (autovacuum_enabled = off)").await.unwrap();
        park_many(&app, 60_000, 640).await;
        let ask = ASK.replace("EXCEPT", "'{}'");
        let begun = Instant::now();
        // The first time, the server reads its own catalogs.
        pages_read(&app, &ask).await;
        let nothing = pages_read(&app, &ask).await;
        let one = "UPDATE eventferry.parked SET due_at = now()
                   WHERE ordinal = (SELECT min(ordinal) FROM eventferry.parked)";
        app.batch_execute(one).await.unwrap();
        let first = pages_read(&app, &ask).await;
        app.batch_execute("UPDATE eventferry.parked SET due_at = now() WHERE due_at IS NOT NULL").await.unwrap();
        let left_out = pages_read(&app, &ASK.replace("EXCEPT", "'{t0,t1,t2}'")).await;
        let list = "SELECT * FROM eventferry.list_parked((SELECT array_agg(lane) FROM eventferry.lane), 30, 0, 100)";
        let list = pages_read(&app, list).await;
        let settle = "UPDATE eventferry.parked SET state = 'shipped', settled_at = now(), due_at = NULL";
        app.batch_execute(settle).await.unwrap();
        let gauge = "SELECT count(*) FROM eventferry.parked AS p WHERE p.lane = 7 AND p.settled_at IS NULL";
        let mut count = i64::MAX;
        // A process of the server that has just begun may still look at what was there before.
        for _ in 0..20 {
            app.batch_execute("VACUUM eventferry.parked").await.unwrap();
            count = pages_read(&app, gauge).await;
            if count < 20 {
                break;
            }
        }
        let settled = pages_read(&app, &ask).await;
        let seen = format!(
            "{nothing} pages for nothing, {first} for 94 events, {left_out} for topics left out, {list} to list, \
             {settled} among settled ones, {count} to count them; {:?}",
            begun.elapsed()
        );
        let whole: i64 = app
            .query_one("SELECT pg_relation_size('eventferry.parked') / 8192", &[])
            .await
            .unwrap()
            .get(0);
        assert!(whole > 1000, "{whole} pages in all");
        assert!(nothing < 3000 && first < 3500 && left_out < 3000, "{seen}");
        assert!(list < 400 && settled < 3000 && count < 20, "{seen}");
    })
    .await;
}
