//! `parked`: what the broker refused, in people's hands.

use std::os::unix::fs::PermissionsExt;

use rdkafka::Message;
use serde_json::Value;

use crate::kafka::{self, Topic, header};
use crate::postgres::Database;
use crate::program::{PATIENCE, Program, Running, within};

/// The most bytes of a batch in these tests' topics, and a payload that is over it.
const LIMIT: &str = "5000";
const LARGE: usize = 10_000;

/// An outbox in a database of its own, with a topic that takes no large events.
pub(crate) struct Shop {
    pub(crate) program: Program,
    pub(crate) store: String,
    pub(crate) topic: Topic,
    database: Option<Database>,
}

impl Shop {
    /// One in SQLite and one in PostgreSQL: every test here holds for both.
    pub(crate) fn both() -> [Self; 2] {
        let database = Database::new();
        [Self::at(None), Self::at(Some(database))]
    }

    fn at(database: Option<Database>) -> Self {
        let program = Program::new();
        let store = database.as_ref().map_or_else(|| program.sqlite(), |database| database.url.clone());
        program.done(&["init", "--store", &store]);
        std::fs::write(program.path("large"), "x".repeat(LARGE)).unwrap();
        let topic = Topic::with(&[("max.message.bytes", LIMIT)]);
        Self { program, store, topic, database }
    }

    /// Runs the program to its good end, on this store.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        self.program.done(&[arguments, &["--store", &self.store]].concat())
    }

    pub(crate) fn enqueue(&self, id: &str, payload: &str, more: &[&str]) -> String {
        let event = ["--topic", &self.topic.name, "--aggregate-type", "order", "--aggregate-id", id];
        let enqueue = [&["enqueue", "--payload", payload], &event[..], more].concat();
        self.done(&enqueue).trim().to_owned()
    }

    /// A relay that gives an event up when it is refused for the second time. After a change of the topic's limit the
    /// second attempt is the one that knows of it for certain: the broker is asked once a second.
    pub(crate) fn relay(&self, more: &[&str]) -> Running {
        let attempts = ["--retry-attempts", "2", "--retry-backoff", "fixed:1500ms"];
        let publisher = kafka::url();
        let run = [&["run", "--store", &self.store, "--publisher", &publisher], &attempts[..]].concat();
        self.program.start(&[&run, more].concat())
    }

    /// What `parked list --json` prints of these.
    pub(crate) fn listed(&self, filter: &[&str]) -> Vec<Value> {
        lines(&self.done(&[&["parked", "list", "--json"], filter].concat()))
    }

    /// Waits until so many events are parked, and lists them.
    #[track_caller]
    pub(crate) fn parked(&self, count: usize) -> Vec<Value> {
        within(PATIENCE, || Some(self.listed(&[])).filter(|listed| listed.len() == count))
    }

    /// Waits until so many events are parked and the first of them waits for a person, and lists them.
    #[track_caller]
    fn given_up(&self, count: usize) -> Vec<Value> {
        let given_up = |listed: &Vec<Value>| listed.len() == count && listed[0]["stage"] == "waiting";
        within(PATIENCE, || Some(self.listed(&[])).filter(given_up))
    }

    /// The payloads' sizes of the topic's first messages.
    fn sizes(&self, count: usize) -> Vec<usize> {
        let messages = self.topic.messages(count);
        messages.iter().map(|message| message.payload().map_or(0, <[u8]>::len)).collect()
    }

    /// Runs SQL in PostgreSQL.
    pub(crate) fn sql(&self, sql: &str) {
        self.database.as_ref().unwrap().sql(sql);
    }

    /// Who did what and why, in order.
    pub(crate) fn audit(&self) -> Vec<String> {
        if let Some(database) = &self.database {
            let all =
                "SELECT string_agg(concat_ws('|', who, what, why), E'\\n' ORDER BY id) FROM eventferry.audit";
            return database.sql(all).unwrap_or_default().lines().map(str::to_owned).collect();
        }
        let database = rusqlite::Connection::open(self.program.path("app.db")).unwrap();
        let all = "SELECT who || '|' || what || '|' || why FROM eventferry_audit ORDER BY id";
        let mut query = database.prepare(all).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

/// Lines of JSON.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_parked_event_waits_for_a_person_who_has_it_tried_again() {
    for shop in Shop::both() {
        let large = shop.enqueue("7", "@large", &["--header", "tenant=acme"]);
        let behind = shop.enqueue("7", "small", &[]);
        let relay = shop.relay(&[]);
        let listed = shop.given_up(2);
        assert_eq!(
            (&listed[0]["message_id"], &listed[0]["stage"]),
            (&large.as_str().into(), &"waiting".into())
        );
        assert_eq!((&listed[0]["attempts"], &listed[0]["payload_bytes"]), (&2.into(), &LARGE.into()));
        assert!(
            listed[0]["class"].is_string()
                && listed[0]["reason"].is_string()
                && listed[0]["due_at"].is_null()
        );
        assert_eq!((&listed[1]["message_id"], &listed[1]["class"]), (&behind.as_str().into(), &Value::Null));

        let table = shop.done(&["parked", "list"]);
        assert!(
            table.starts_with("MESSAGE ID") && table.contains("waits behind an earlier event"),
            "{table}"
        );
        let shown = shop.done(&["parked", "show", "--id", &large]);
        assert!(
            shown.contains("order 7") && shown.contains("tenant: acme") && !shown.contains("xxx"),
            "{shown}"
        );
        assert!(shop.done(&["parked", "show", "--id", &large, "--payload"]).contains(&"x".repeat(4_096)));

        let retry = ["parked", "retry", "--topic", &shop.topic.name, "--who", "ada", "--why", "limit raised"];
        let rehearsed = shop.done(&[&retry[..], &["--dry-run"]].concat());
        assert!(rehearsed.contains("retry would be decided for 1 event; nothing was changed"), "{rehearsed}");
        assert!(rehearsed.contains(&large) && !rehearsed.contains(&behind), "{rehearsed}");
        assert!(shop.audit().is_empty() && shop.listed(&[]).iter().all(|event| event["decision"].is_null()));

        shop.topic.set("max.message.bytes", "1000000");
        let decided = shop.done(&retry);
        assert!(decided.starts_with("retry is decided for 1 event: the relay"), "{decided}");
        assert!(decided.contains("1 event more matches and it does not fit"), "{decided}");
        assert_eq!(shop.sizes(2), [LARGE, 5], "in order");
        shop.parked(0);
        assert_eq!(shop.audit(), ["ada|retry|limit raised"]);
        drop(relay);
    }
}

#[test]
fn a_discarded_event_is_gone_and_its_aggregate_goes_on() {
    for shop in Shop::both() {
        let large = shop.enqueue("7", "@large", &[]);
        shop.enqueue("7", "small", &[]);
        let _relay = shop.relay(&[]);
        shop.parked(2);
        let decided = shop.done(&["parked", "discard", "--id", &large, "--why", "a test order", "--json"]);
        assert_eq!(decided, "{\"decision\":\"discard\",\"taken\":1,\"refused\":0}\n");
        assert_eq!(shop.sizes(1), [5]);
        shop.parked(0);
        let audit = shop.audit();
        let [line] = &audit[..] else { panic!("{audit:?}") };
        assert!(line.ends_with("|discard|a test order") && !line.starts_with('|'), "somebody did: {line}");
    }
}

#[test]
fn an_aggregate_that_is_held_goes_on_when_it_is_released() {
    for shop in Shop::both() {
        let dead = Topic::named(&format!("{}.dlq", shop.topic.name));
        let large = shop.enqueue("7", "@large", &[]);
        shop.enqueue("7", "small", &[]);
        let _relay =
            shop.relay(&["--dead-letter-topic", "{topic}.dlq", "--on-dead", "hold", "--dead-letter-detail"]);
        let letter = dead.messages(1).pop().unwrap();
        assert_eq!(header(&letter, "message-id").as_deref(), Some(large.as_str()));
        assert!(header(&letter, "dlq-detail").is_some());
        let held = within(PATIENCE, || shop.listed(&["--stage", "held"]).pop());
        assert_eq!(held["message_id"], large);
        let unfit = shop.done(&["parked", "discard", "--id", &large]);
        assert!(unfit.starts_with("discard was decided for no event\n1 event more matches"), "{unfit}");
        assert_eq!(shop.topic.count(), 0);
        shop.done(&["parked", "release", "--stage", "held", "--older-than", "0s"]);
        assert_eq!(shop.sizes(1), [5]);
        shop.parked(0);
    }
}

#[test]
fn what_is_exported_is_complete() {
    for shop in Shop::both() {
        let more = [
            "--header",
            "b=1",
            "--header",
            "b=2",
            "--content-type",
            "text/plain",
            "--key",
            "k",
            "--partition",
            "0",
        ];
        let large = shop.enqueue("7", "@large", &more);
        shop.enqueue("8", "@large", &[]);
        let _relay = shop.relay(&[]);
        shop.parked(2);
        let said = shop.done(&["parked", "export", "--aggregate-id", "7", "--output", "events.jsonl"]);
        assert_eq!(said, "exported 1 event to events.jsonl\n");
        let path = shop.program.path("events.jsonl");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let events = lines(&std::fs::read_to_string(&path).unwrap());
        let event = &events[0];
        assert_eq!((events.len(), &event["message_id"]), (1, &large.as_str().into()));
        assert_eq!(event["payload_encoding"], "base64");
        let payload = event["payload"].as_str().unwrap();
        assert!(payload.len() == LARGE.div_ceil(3) * 4 && payload.starts_with("eHh4eHh4"), "{payload}");
        let headers = serde_json::json!([{"name": "b", "text": "1"}, {"name": "b", "text": "2"}]);
        assert_eq!(event["headers"], headers);
        assert_eq!((&event["key"]["text"], &event["content_type"]), (&"k".into(), &"text/plain".into()));
        assert_eq!(event["partition"], 0);
        let again = ["parked", "export", "--store", &shop.store, "--output", "events.jsonl"];
        shop.program
            .run(&again)
            .expect(2, &["--output: `events.jsonl` cannot be made", "does not exist yet"]);
        assert_eq!(lines(&shop.done(&["parked", "export"])).len(), 2);
        assert_eq!(lines(&shop.done(&["parked", "export", "--limit", "1"])).len(), 1);
    }
}

#[test]
fn filters_and_limits_say_which_events_are_meant() {
    for shop in Shop::both() {
        let ids: Vec<_> = (0..4).map(|id| shop.enqueue(&id.to_string(), "@large", &[])).collect();
        let relay = shop.relay(&[]);
        within(PATIENCE, || (shop.listed(&["--stage", "waiting"]).len() == 4).then_some(()));
        drop(relay);
        let count = |filter: &[&str]| shop.listed(filter).len();
        assert_eq!(count(&["--id", &ids[0], "--id", &ids[3]]), 2);
        assert_eq!(count(&["--aggregate-type", "order", "--aggregate-id", "2"]), 1);
        assert_eq!(count(&["--topic", &shop.topic.name]), 4);
        assert_eq!((count(&["--topic", "other"]), count(&["--reason", "no such reason"])), (0, 0));
        let class = shop.listed(&[])[0]["class"].as_str().unwrap().to_owned();
        assert_eq!(count(&["--reason", &class.to_lowercase()]), 4);
        assert_eq!((count(&["--stage", "waiting"]), count(&["--stage", "topic"])), (4, 0));
        assert_eq!((count(&["--older-than", "1h"]), count(&["--older-than", "0s"])), (0, 4));
        assert_eq!(count(&["--limit", "3"]), 3);
        let table = shop.done(&["parked", "list", "--limit", "3"]);
        assert!(table.contains("the first 3 events of more"), "{table}");
        assert_eq!(shop.done(&["parked", "list", "--topic", "other"]), "no parked event matches\n");

        // No relay runs, so that decisions stay where they were written.
        let discard = ["parked", "discard", "--all", "--limit", "3", "--json"];
        assert_eq!(lines(&shop.done(&[&discard[..], &["--dry-run"]].concat())).len(), 3);
        assert_eq!(lines(&shop.done(&discard))[0]["taken"], 3);
        let decided: Vec<_> = shop.listed(&[]).iter().map(|event| event["decision"].clone()).collect();
        assert_eq!(decided.iter().filter(|decision| **decision == "discard").count(), 3);
        assert_eq!(shop.audit().len(), 3);
        let rest = &lines(&shop.done(&discard))[0];
        assert_eq!((&rest["taken"], &rest["refused"]), (&1.into(), &3.into()));
    }
}

#[test]
fn a_decision_on_everything_by_mistake_is_refused() {
    let program = Program::new();
    let store = program.sqlite();
    program.done(&["init", "--store", &store]);
    for decision in ["retry", "discard", "release"] {
        let refused = |more: &[&str], says: &str| {
            program.run(&[&["parked", decision, "--store", &store], more].concat()).expect(2, &[says]);
        };
        refused(&[], "give --all");
        refused(&["--dry-run"], "give --all");
        refused(&["--all", "--topic", "t"], "not both");
        refused(&["--topic", ""], "--topic");
        refused(&["--reason", ""], "--reason");
        refused(&["--id", ""], "is not a UUID");
        refused(&["--stage", "parked"], "possible values: topic, dead-letter-topic, waiting, held");
        refused(&["--older-than", "old"], "--older-than: `old` is not a duration");
        refused(&["--all", "--who", ""], "--who: a name has 1 to 200 characters");
        let all = ["parked", decision, "--store", &store, "--all"];
        assert_eq!(program.done(&all), "no parked event matches\n");
    }
    program.run(&["parked", "list", "--store", "sqlite:none.db"]).expect(3, &["eventferry init"]);
}
