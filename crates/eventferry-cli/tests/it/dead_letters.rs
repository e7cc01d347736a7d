//! `dead-letters replay`: what was given up, enqueued again.

use rdkafka::Message;
use rdkafka::message::OwnedMessage;

use crate::kafka::{self, Member, Topic, header, headers};
use crate::parked::Shop;
use crate::program::Ended;

/// A dead-letter topic, and the arguments that replay it.
fn replay<'a>(shop: &Shop, dead: &'a Topic, more: &[&'a str]) -> Ended {
    let publisher = kafka::url();
    let replay = ["dead-letters", "replay", "--publisher", &publisher, "--topic", &dead.name];
    shop.program.run(&[&replay[..], &["--store", &shop.store], more].concat())
}

#[track_caller]
fn replayed(shop: &Shop, dead: &Topic, more: &[&str]) -> String {
    let ended = replay(shop, dead, more);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out
}

/// The headers of a dead letter for a topic.
fn letter<'a>(topic: &'a str, message_id: &'a str, id: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("message-id", message_id),
        ("aggregate-type", "order"),
        ("aggregate-id", id),
        ("tenant", "acme"),
        ("dlq-reason", "the record is too large"),
        ("dlq-error-class", "MessageSizeTooLarge"),
        ("dlq-original-topic", topic),
        ("dlq-failed-at", "2026-11-26T20:55:20.123456Z"),
        ("dlq-attempts", "5"),
    ]
}

/// The message id of the `n`th event.
fn id(n: usize) -> String {
    format!("0189f7ea-ae2c-7809-8aeb-b819cf5e0{n:03}")
}

fn ids(messages: &[OwnedMessage]) -> Vec<String> {
    messages.iter().map(|message| header(message, "message-id").unwrap()).collect()
}

#[test]
fn a_dead_letter_goes_back_to_where_it_belonged() {
    for shop in Shop::both() {
        let dead = Topic::named(&format!("{}.dlq", shop.topic.name));
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
        let _relay = shop.relay(&["--dead-letter-topic", "{topic}.dlq"]);
        let letter = dead.messages(1).pop().unwrap();
        assert_eq!(header(&letter, "dlq-original-topic").as_ref(), Some(&shop.topic.name));
        assert_eq!(header(&letter, "dlq-original-partition").as_deref(), Some("0"));
        assert_eq!(header(&letter, "dlq-detail"), None);

        let rehearsed = replayed(&shop, &dead, &["--dry-run"]);
        assert!(rehearsed.contains(&large) && rehearsed.contains("1 event of topic"), "{rehearsed}");
        assert!(rehearsed.contains("would be enqueued again; nothing was changed"), "{rehearsed}");

        shop.topic.set("max.message.bytes", "1000000");
        let said = replayed(&shop, &dead, &["--who", "ada", "--why", "limit raised"]);
        assert!(said.starts_with("1 event of topic ") && said.contains("enqueued again"), "{said}");
        let message = shop.topic.messages(1).pop().unwrap();
        assert_eq!((message.key(), message.payload()), (letter.key(), letter.payload()));
        let own: Vec<_> =
            headers(&letter).into_iter().filter(|(name, _)| !name.starts_with("dlq-")).collect();
        assert_eq!(headers(&message), own);
        assert_eq!(own.len(), 6, "{own:?}");
        let audit = shop.audit();
        assert_eq!(audit.len(), 2, "{audit:#?}");
        assert!(
            audit[0].starts_with("ada|replay of dead letters begun: topic `")
                && audit[0].ends_with("|limit raised")
        );
        assert!(audit[1].contains("replay of dead letters done: 1 events"), "{audit:#?}");

        assert!(replayed(&shop, &dead, &[]).starts_with("nothing to replay"));
        assert!(replayed(&shop, &dead, &["--from-beginning", "--dry-run"]).contains(&large));
        assert!(replayed(&shop, &dead, &["--group", "another", "--dry-run"]).contains(&large));
        assert_eq!(shop.audit().len(), 2, "what did nothing is not recorded");
    }
}

#[test]
fn a_replay_keeps_order_and_reads_up_to_the_end_it_found() {
    const COUNT: usize = 700;
    for shop in Shop::both() {
        let dead = Topic::new();
        let target = Topic::new();
        for n in 0..COUNT {
            dead.send("7", Some("x"), &letter(&shop.topic.name, &id(n), "7"));
        }
        let said = replayed(&shop, &dead, &["--to-topic", &target.name]);
        assert!(said.starts_with("700 events"), "{said}");
        let _relay = shop.relay(&[]);
        let expected: Vec<_> = (0..COUNT).map(id).collect();
        assert_eq!(ids(&target.messages(COUNT)), expected);
    }
}

#[test]
fn what_is_no_dead_letter_is_skipped_and_named() {
    let [shop, _] = Shop::both();
    let dead = Topic::new();
    let own = shop.topic.name.clone();
    dead.send("k", Some("not ours"), &[]);
    dead.send("k", Some("not ours"), &[]);
    dead.send("1", Some("x"), &letter(&own, &id(0), "1"));
    dead.send("k", Some("x"), &letter(&own, "7", "1"));
    let said = replayed(&shop, &dead, &[]);
    assert!(said.starts_with("1 event of topic"), "{said}");
    assert!(said.contains("skipped 3 records that cannot be enqueued:"), "{said}");
    assert!(said.contains("partition 0, offsets 0 to 1: no header dlq-original-topic"), "{said}");
    assert!(said.contains("partition 0, offset 3: the header message-id is not a UUID"), "{said}");
    assert!(replayed(&shop, &dead, &[]).starts_with("nothing to replay"), "the group is past them");
}

#[test]
fn the_group_stays_before_what_a_filter_left_out() {
    let [shop, _] = Shop::both();
    let dead = Topic::new();
    for n in 0..4 {
        let aggregate = n.to_string();
        dead.send(&aggregate, Some("x"), &letter(&shop.topic.name, &id(n), &aggregate));
    }
    let said = replayed(&shop, &dead, &["--limit", "1"]);
    assert!(said.starts_with("1 event of"), "{said}");
    let said = replayed(&shop, &dead, &["--aggregate-id", "2"]);
    assert!(said.starts_with("1 event of") && said.contains("2 records did not match: the group"), "{said}");
    assert!(said.contains("meets them again, with the same message ids"), "{said}");
    assert!(replayed(&shop, &dead, &[]).starts_with("3 events of"));
    let _relay = shop.relay(&[]);
    assert_eq!(ids(&shop.topic.messages(5)), [0, 2, 1, 2, 3].map(id));
}

#[test]
fn positions_are_told_only_after_the_events_are_committed() {
    for shop in Shop::both() {
        let dead = Topic::new();
        dead.send("1", Some("x"), &letter(&shop.topic.name, &id(1), "1"));
        let group = format!("group-{}", dead.name);
        // A group whose members share its topics takes no position from anybody else: as if the program had been
        // killed before it came to tell.
        let member = Member::of(&group, &shop.topic.name);
        let ended = replay(&shop, &dead, &["--group", &group]);
        ended.expect(4, &["another program consumes under this group"]);
        drop(member);
        assert!(replayed(&shop, &dead, &["--group", &group]).starts_with("1 event of"));
        let _relay = shop.relay(&[]);
        assert_eq!(ids(&shop.topic.messages(2)), [id(1), id(1)], "twice, under one message id");
    }
}

#[test]
fn what_the_database_refuses_is_replayed_later() {
    let [_, shop] = Shop::both();
    let dead = Topic::new();
    dead.send("1", Some("x"), &letter(&shop.topic.name, &id(1), "1"));
    let refuse = "ALTER TABLE eventferry.outbox ADD CONSTRAINT refused CHECK (message_id IS NULL) NOT VALID";
    shop.sql(refuse);
    let ended = replay(&shop, &dead, &[]);
    ended.expect(3, &["append to eventferry.outbox"]);
    shop.sql("ALTER TABLE eventferry.outbox DROP CONSTRAINT refused");
    assert!(replayed(&shop, &dead, &[]).starts_with("1 event of"));
    let _relay = shop.relay(&[]);
    assert_eq!(ids(&shop.topic.messages(1)), [id(1)]);
}

#[test]
fn what_cannot_be_read_is_said_at_once() {
    let [shop, _] = Shop::both();
    let missing = Topic::to_be();
    replay(&shop, &missing, &[]).expect(4, &[&missing.name, "does not exist"]);
    let nobody = format!("kafka://{}", crate::proxy::nobody());
    let base = ["dead-letters", "replay", "--store", &shop.store, "--topic", "t"];
    let refused = |more: &[&str], code, says: &[&str]| {
        shop.program.run(&[&base, more].concat()).expect(code, says);
    };
    refused(&["--publisher", &nobody], 4, &["topic `t`"]);
    refused(&[], 2, &["no publisher is named"]);
    refused(&["--publisher", "http://h"], 2, &["kafka://"]);
    refused(&["--publisher", &nobody, "--older-than", "x"], 2, &["--older-than: `x`"]);
    refused(&["--publisher", &nobody, "--group", ""], 2, &["--group"]);
}
