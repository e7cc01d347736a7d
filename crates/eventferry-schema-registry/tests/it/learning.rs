//! What a topic's events are written by, and when the registry is asked.

use std::time::{Duration, Instant};

use eventferry_core::{
    Envelope, Event, MessageId, NotSerialized, PublishFault, PublishFaultKind, Serialized, Serializer as _,
    StoredEvent, Timestamp,
};
use eventferry_schema_registry::{
    Framing, Given, Others, Part, PartSchema, RegistrySerializer, SchemaChoice, SchemaId, SchemaType,
    SubjectStrategy,
};
use serde_json::json;

use crate::stub::{Reply, Stub, guid};
use crate::toy::{self, Toy};

const JSON: Toy = Toy(SchemaType::Json);

/// An order's event, as a relay reads it back.
fn stored(topic: &str, payload: &str) -> StoredEvent {
    event(Event::new(topic, ("order", 1)).payload(payload, "application/json"))
}

fn event(event: Event) -> StoredEvent {
    StoredEvent { message_id: MessageId([1; 16]), event, enqueued_at: Timestamp(0) }
}

/// Values of topic `t` by this, and of no other.
fn serializer(stub: &Stub, schema: PartSchema) -> RegistrySerializer {
    RegistrySerializer::builder(stub.registry()).values("t", schema).build()
}

/// Serializes as a relay does: what is unknown is learned.
async fn serialized(serializer: &RegistrySerializer, row: &StoredEvent) -> Serialized {
    if let Err(NotSerialized::Unknown) = serializer.serialize(row) {
        serializer.learn(&row.event.topic).await.unwrap();
    }
    serializer.serialize(row).unwrap()
}

fn refusal(serializer: &RegistrySerializer, row: &StoredEvent) -> PublishFault {
    match serializer.serialize(row) {
        Err(NotSerialized::Refused(fault)) => *fault,
        other => panic!("it is not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_payload_is_written_behind_the_id_of_its_topics_latest_schema() {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &["total"]));
    let serializer = serializer(&stub, PartSchema::new(JSON));
    let row = stored("t", r#"{"total":1}"#);
    let serialized = serialized(&serializer, &row).await;
    assert_eq!(serialized.payload.as_deref(), Some(&b"\0\0\0\0\x07|0|{\"total\":1}"[..]));
    assert_eq!(serialized.content_type.as_deref(), Some("application/vnd.confluent.json"));
    assert!(serialized.headers.is_empty() && serialized.key.is_none());
    let view = serialized.view(&row);
    assert_eq!(Envelope::of(&view).key(), b"1");
}

#[tokio::test]
async fn framed_by_header_the_bytes_are_the_formats_alone() {
    let stub = Stub::start();
    stub.latest("t-value", 7, "PROTOBUF", &toy::schema("Order", &[]));
    let format = Toy(SchemaType::Protobuf);
    let serializer = serializer(&stub, PartSchema::new(format).framing(Framing::Header));
    let serialized = serialized(&serializer, &stored("t", "{}")).await;
    assert_eq!(serialized.payload.as_deref(), Some(&b"|0|{}"[..]));
    assert_eq!(serialized.content_type.as_deref(), Some("application/protobuf"));
    let [header] = &serialized.headers[..] else { panic!("one header") };
    assert_eq!(header.name, "__value_schema_id");
    let (id, indexes) = SchemaId::read(&header.value).unwrap();
    assert_eq!((id, indexes), (SchemaId::Guid(guid(7).parse().unwrap()), &[4, 2, 0][..]));
}

#[tokio::test]
async fn a_registry_without_guids_is_told_of_where_they_are_needed() {
    let stub = Stub::start();
    let body = json!({ "id": 7, "version": 1, "schemaType": "JSON", "schema": toy::schema("Order", &[]) });
    stub.reply("GET /subjects/t-value/versions/latest", Reply::new(200, body.clone()));
    stub.reply("GET /schemas/ids/7", Reply::new(200, body));
    let serializer = serializer(&stub, PartSchema::new(JSON).framing(Framing::Header));
    let fault = serializer.learn("t").await.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused);
    assert!(fault.message().contains("gives no GUIDs") && fault.message().contains("prefixes"), "{fault}");
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_refused_with_the_path_of_its_field_and_without_its_value() {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &["total"]));
    let serializer = serializer(&stub, PartSchema::new(JSON));
    serializer.learn("t").await.unwrap();
    let fault = refusal(&serializer, &stored("t", r#"{"tutal":"sesame"}"#));
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::Rejected, Some("PayloadMismatch")));
    assert_eq!(
        fault.message(),
        "/total: it is missing; it is to fit the schema with id 7 of subject t-value"
    );
}

#[tokio::test]
async fn what_is_not_json_passes_untouched_unless_it_is_to_be_refused() {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &[]));
    let passing = serializer(&stub, PartSchema::new(JSON));
    let refusing = serializer(&stub, PartSchema::new(JSON).others(Others::Refuse));
    let row = |content_type: &str| event(Event::new("t", ("order", 1)).payload("{}", content_type));
    for content_type in ["text/plain", "application/avro", "application/vnd.confluent.avro"] {
        assert_eq!(passing.serialize(&row(content_type)).unwrap(), Serialized::default(), "{content_type}");
    }
    let fault = refusal(&refusing, &row("text/plain"));
    assert_eq!(fault.class(), Some("PayloadMismatch"));
    assert!(fault.message().contains("the payload is text/plain"), "{fault}");
    // Written already, when it was enqueued.
    assert!(refusing.serialize(&row("application/vnd.confluent.avro")).is_ok());
    let framed = event(
        Event::new("t", ("order", 1)).payload("{}", "application/json").header("__value_schema_id", "x"),
    );
    assert_eq!(refusing.serialize(&framed).unwrap(), Serialized::default());
    // A tombstone remains one.
    assert_eq!(refusing.serialize(&event(Event::new("t", ("order", 1)))).unwrap(), Serialized::default());
    assert!(stub.asked().is_empty());
    // Nothing is said of it: then it is JSON.
    let mut bare = row("");
    bare.event.content_type = None;
    assert_eq!(serialized(&passing, &bare).await.payload.as_deref(), Some(&b"\0\0\0\0\x07|0|{}"[..]));
}

#[tokio::test]
async fn topics_that_are_not_named_pass_untouched_and_ask_nothing() {
    let stub = Stub::start();
    let serializer = serializer(&stub, PartSchema::new(JSON));
    assert_eq!(serializer.serialize(&stored("other", "{}")).unwrap(), Serialized::default());
    serializer.learn("other").await.unwrap();
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn what_holds_for_other_topics_does_not_for_those_that_are_named() {
    let stub = Stub::start();
    stub.latest("any-value", 3, "JSON", &toy::schema("Any", &[]));
    let serializer = RegistrySerializer::builder(stub.registry())
        .other_topics(Part::Value, PartSchema::new(JSON))
        .untouched("t")
        .build();
    assert_eq!(serializer.serialize(&stored("t", "{}")).unwrap(), Serialized::default());
    assert!(serialized(&serializer, &stored("any", "{}")).await.payload.is_some());
}

#[tokio::test]
async fn what_was_learned_needs_no_registry_any_more() {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &[]));
    let serializer = serializer(&stub, PartSchema::new(JSON));
    let row = stored("t", "{}");
    let first = serialized(&serializer, &row).await;
    stub.away(true);
    let asked = stub.asked().len();
    for _ in 0..100 {
        assert_eq!(serializer.serialize(&row).unwrap(), first);
    }
    serializer.learn("t").await.unwrap();
    assert_eq!(stub.asked().len(), asked);
}

#[tokio::test]
async fn a_registry_that_is_away_is_an_outage_and_the_topic_is_learned_when_it_is_back() {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &[]));
    stub.away(true);
    let serializer = serializer(&stub, PartSchema::new(JSON));
    let row = stored("t", "{}");
    assert!(matches!(serializer.serialize(&row), Err(NotSerialized::Unknown)));
    let fault = serializer.learn("t").await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::Unavailable, Some("RegistryUnavailable")));
    assert!(matches!(serializer.serialize(&row), Err(NotSerialized::Unknown)));
    stub.away(false);
    assert!(serialized(&serializer, &row).await.payload.is_some());
}

#[tokio::test]
async fn a_subject_that_is_not_there_holds_its_topic_and_says_what_to_do() {
    let stub = Stub::start();
    let serializer = serializer(&stub, PartSchema::new(JSON));
    let fault = serializer.learn("t").await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::TopicRefused, Some("SubjectNotFound")));
    assert!(fault.message().contains("register a schema there, or switch auto-registration on"), "{fault}");
    assert!(fault.message().contains("GET /subjects/t-value/versions/latest"), "{fault}");
}

#[tokio::test]
async fn a_schema_of_another_format_or_none_at_all_holds_its_topic() {
    let stub = Stub::start();
    let serializer = serializer(&stub, PartSchema::new(JSON));
    for (schema_type, schema, says) in
        [("AVRO", "{}", "is AVRO"), ("JSON", "{", "cannot be read: it is no JSON")]
    {
        stub.latest("t-value", 7, schema_type, schema);
        let fault = serializer.learn("t").await.unwrap_err();
        assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::TopicRefused, Some("SchemaInvalid")));
        assert!(fault.message().contains(says), "{fault}");
    }
}

#[tokio::test]
async fn events_of_several_records_share_a_topic() {
    for (strategy, prefix) in [(SubjectStrategy::Record, ""), (SubjectStrategy::TopicRecord, "t-")] {
        let stub = Stub::start();
        stub.latest(&format!("{prefix}shop.Made"), 1, "JSON", &toy::schema("shop.Made", &["made"]));
        stub.latest(&format!("{prefix}shop.Paid"), 2, "JSON", &toy::schema("shop.Paid", &["paid"]));
        let serializer = serializer(&stub, PartSchema::new(JSON).strategy(strategy));
        let row = |record: &str| {
            let body = format!("{{\"{}\":1}}", record[5..].to_lowercase());
            event(
                Event::new("t", ("order", 1)).payload(body, "application/json").header("event-type", record),
            )
        };
        for (record, id) in [("shop.Made", 1), ("shop.Paid", 2), ("shop.Made", 1)] {
            let payload = serialized(&serializer, &row(record)).await.payload.unwrap();
            assert!(payload.starts_with(&[0, 0, 0, 0, id]) && payload[5..].starts_with(record.as_bytes()));
        }
        assert_eq!(stub.asked().len(), 2);
    }
}

#[tokio::test]
async fn an_event_of_a_record_that_nobody_registered_is_refused_and_holds_no_other() {
    let stub = Stub::start();
    stub.latest("shop.Made", 1, "JSON", &toy::schema("shop.Made", &[]));
    let schema = PartSchema::new(JSON).strategy(SubjectStrategy::Record).record("shop.{event-type}");
    let serializer = serializer(&stub, schema);
    let row = |record: &str| {
        event(Event::new("t", ("order", 1)).payload("{}", "application/json").header("event-type", record))
    };
    assert!(matches!(serializer.serialize(&row("Nonsense")), Err(NotSerialized::Unknown)));
    assert!(matches!(serializer.serialize(&row("Made")), Err(NotSerialized::Unknown)));
    serializer.learn("t").await.unwrap();
    let fault = refusal(&serializer, &row("Nonsense"));
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::Rejected, Some("SubjectNotFound")));
    assert!(fault.message().contains("/subjects/shop.Nonsense/"), "{fault}");
    assert!(serializer.serialize(&row("Made")).is_ok());
    let fault = refusal(&serializer, &stored("t", "{}"));
    assert_eq!(fault.class(), Some("RecordUnknown"));
    assert!(fault.message().contains("no header event-type"), "{fault}");
}

#[tokio::test]
async fn no_name_that_an_event_gives_its_record_holds_its_topic() {
    let stub = Stub::start();
    stub.latest("shop.Made", 1, "JSON", &toy::schema("shop.Made", &[]));
    stub.reply("GET /subjects/shop.Hidden/versions/latest", Reply::refusal(403, 40301));
    stub.reply("GET /subjects/shop.a%20b/versions/latest", Reply::refusal(400, 400));
    let serializer = serializer(&stub, PartSchema::new(JSON).strategy(SubjectStrategy::Record));
    let row = |record: &str| {
        event(Event::new("t", ("order", 1)).payload("{}", "application/json").header("event-type", record))
    };
    // They would be other places in a URL, or none.
    for odd in [".", "..", "a/b", "a\\b", "a%2fb", "a?b", "a#b", "a\u{0}", ""] {
        assert_eq!(refusal(&serializer, &row(odd)).class(), Some("RecordUnknown"), "{odd:?}");
    }
    let names = ["shop.Hidden", "shop.Made", "shop.a b"];
    for name in names {
        assert!(matches!(serializer.serialize(&row(name)), Err(NotSerialized::Unknown)));
    }
    // Whether it lets us have anything at all is not known before the first one that it does.
    let fault = serializer.learn("t").await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::Unavailable, Some("RegistryDenies")));
    serializer.learn("t").await.unwrap();
    let classes = names.map(|name| match serializer.serialize(&row(name)) {
        Err(NotSerialized::Refused(fault)) => fault.class(),
        Err(NotSerialized::Unknown) => panic!("{name} holds its topic"),
        Ok(_) => None,
    });
    assert_eq!(classes, [Some("RegistryDenies"), None, Some("SubjectRefused")]);
}

#[tokio::test]
async fn nothing_is_written_by_a_schema_whose_writers_have_rules() {
    let stub = Stub::start();
    let rules = |mode: &str, disabled: bool| {
        let rule = json!({"name": "pii", "kind": "TRANSFORM", "type": "ENCRYPT", "mode": mode, "disabled": disabled});
        let schema = toy::schema("shop.Made", &[]);
        json!({"id": 1, "version": 1, "schemaType": "JSON", "schema": schema, "ruleSet": {"domainRules": [rule]}})
    };
    for (mode, disabled, held) in
        [("WRITEREAD", false, true), ("WRITEREAD", true, false), ("READ", false, false)]
    {
        stub.reply("GET /subjects/t-value/versions/latest", Reply::new(200, rules(mode, disabled)));
        let learned = serializer(&stub, PartSchema::new(JSON));
        assert!(matches!(learned.serialize(&stored("t", "{}")), Err(NotSerialized::Unknown)));
        let told = learned.learn("t").await.err();
        assert_eq!(told.as_ref().map(|fault| *fault.kind()), held.then_some(PublishFaultKind::TopicRefused));
        assert!(told.is_none_or(|fault| fault.message().contains("ruleSet")));
    }
}

#[tokio::test]
async fn a_record_that_was_refused_holds_nothing_while_the_registry_is_away_and_is_taken_once_it_is_there() {
    let stub = Stub::start();
    stub.latest("shop.Made", 1, "JSON", &toy::schema("shop.Made", &[]));
    let serializer = serializer(&stub, PartSchema::new(JSON).strategy(SubjectStrategy::Record));
    let row = |record: &str| {
        event(Event::new("t", ("order", 1)).payload("{}", "application/json").header("event-type", record))
    };
    assert!(matches!(serializer.serialize(&row("shop.Late")), Err(NotSerialized::Unknown)));
    serializer.learn("t").await.unwrap();
    stub.away(true);
    let until = Instant::now() + Duration::from_secs(60);
    let mut is_away = true;
    loop {
        match serializer.serialize(&row("shop.Late")) {
            Err(NotSerialized::Refused(_)) => {}
            Ok(_) => break,
            Err(NotSerialized::Unknown) => panic!("it would hold its topic"),
        }
        if is_away && Instant::now() > until - Duration::from_secs(53) {
            is_away = false;
            stub.latest("shop.Late", 2, "JSON", &toy::schema("shop.Late", &[]));
            stub.away(false);
        }
        assert!(Instant::now() < until, "it is never taken");
        // waits: until a refused record is asked for again, every 5 s
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!is_away);
}

#[tokio::test]
async fn records_that_events_name_without_end_are_refused_and_not_remembered() {
    let stub = Stub::start();
    let serializer = serializer(&stub, PartSchema::new(JSON).strategy(SubjectStrategy::Record));
    let row = |record: u32| {
        let event_type = format!("shop.R{record}");
        event(
            Event::new("t", ("order", 1)).payload("{}", "application/json").header("event-type", event_type),
        )
    };
    for record in 0..1_000 {
        assert!(matches!(serializer.serialize(&row(record)), Err(NotSerialized::Unknown)));
    }
    let fault = refusal(&serializer, &row(1_000));
    assert!(fault.message().contains("more than 1000 records"), "{fault}");
}

#[tokio::test]
async fn a_schema_of_ones_own_is_registered_after_its_compatibility_was_asked() {
    let stub = Stub::start();
    let (text, subject) = (toy::schema("shop.Made", &[]), "t-shop.Made");
    let given = Given { text: text.clone(), references: Vec::new() };
    let schema = PartSchema::new(JSON)
        .strategy(SubjectStrategy::TopicRecord)
        .choice(SchemaChoice::Register(given.clone()));
    let check = format!("POST /compatibility/subjects/{subject}/versions/latest?verbose=true");
    stub.reply(&check, Reply::new(200, json!({ "is_compatible": false, "messages": ["a reason"] })));
    let serializer = serializer(&stub, schema.clone());
    let fault = serializer.learn("t").await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::TopicRefused, Some("SchemaIncompatible")));
    assert!(fault.message().contains("(a reason)"), "{fault}");
    stub.reply(&check, Reply::new(200, json!({ "is_compatible": true })));
    stub.reply(&format!("POST /subjects/{subject}/versions"), Reply::new(200, json!({ "id": 9 })));
    let payload = serialized(&serializer, &stored("t", "{}")).await.payload.unwrap();
    assert!(payload.starts_with(&[0, 0, 0, 0, 9]));
    let lines = stub.lines();
    let order = [format!("POST /subjects/{subject}"), check, format!("POST /subjects/{subject}/versions")];
    assert_eq!(lines[lines.len() - 3..], order);
    let posted: serde_json::Value = serde_json::from_str(&stub.asked().last().unwrap().body).unwrap();
    assert_eq!(posted, json!({ "schema": text, "schemaType": "JSON" }));

    // One that is there is taken as it is, and a serializer that may only look registers nothing.
    let found = json!({ "id": 9, "version": 1, "schemaType": "JSON", "schema": text });
    let before = stub.asked().len();
    stub.reply(&format!("POST /subjects/{subject}"), Reply::new(200, found));
    for choice in [SchemaChoice::Register(given.clone()), SchemaChoice::Given(given.clone())] {
        let serializer = self::serializer(&stub, schema.clone().choice(choice));
        assert!(serialized(&serializer, &stored("t", "{}")).await.payload.is_some());
    }
    assert_eq!(stub.asked().len(), before + 2);
    stub.reply(&format!("POST /subjects/{subject}"), Reply::refusal(404, 40403));
    let looking = self::serializer(&stub, schema.choice(SchemaChoice::Given(given)));
    let fault = looking.learn("t").await.unwrap_err();
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::TopicRefused, Some("SchemaNotFound")));
}

#[tokio::test]
async fn a_schema_may_be_fixed_by_its_version_or_id() {
    let stub = Stub::start();
    let body = json!({ "id": 4, "version": 2, "schemaType": "JSON", "schema": toy::schema("Order", &[]) });
    stub.reply("GET /subjects/t-value/versions/2", Reply::new(200, body.clone()));
    stub.reply("GET /schemas/ids/4", Reply::new(200, json!({ "schemaType": "JSON", "schema": "{}" })));
    for choice in [SchemaChoice::Version(2), SchemaChoice::Id(SchemaId::Id(4))] {
        let serializer = serializer(&stub, PartSchema::new(JSON).choice(choice));
        let payload = serialized(&serializer, &stored("t", "{}")).await.payload;
        assert!(payload.is_none_or(|payload| payload.starts_with(&[0, 0, 0, 0, 4])));
    }
}

#[tokio::test]
async fn keys_are_written_from_their_text_or_the_json_that_they_are() {
    let stub = Stub::start();
    stub.latest("t-key", 5, "JSON", &toy::text());
    stub.latest("o-key", 6, "JSON", &toy::schema("Key", &["id"]));
    let serializer = RegistrySerializer::builder(stub.registry())
        .keys("t", PartSchema::new(JSON))
        .keys("o", PartSchema::new(JSON).framing(Framing::Header))
        .build();
    let key = |topic: &str, key: &str| event(Event::new(topic, ("order", 1)).key(key));
    let text = serialized(&serializer, &key("t", "42")).await;
    assert_eq!(text.key.as_deref(), Some(&b"\0\0\0\0\x05|0|\"42\""[..]));
    assert_eq!((text.payload, text.content_type), (None, None));
    // The aggregate's id, where the event has no key.
    let row = event(Event::new("t", ("order", 7)));
    assert_eq!(serializer.serialize(&row).unwrap().key.as_deref(), Some(&b"\0\0\0\0\x05|0|\"7\""[..]));
    let object = serialized(&serializer, &key("o", r#"{"id":1}"#)).await;
    assert_eq!(object.key.as_deref(), Some(&b"|0|{\"id\":1}"[..]));
    assert_eq!(object.headers[0].name, "__key_schema_id");
    let fault = refusal(&serializer, &key("o", "sesame"));
    assert_eq!(fault.class(), Some("PayloadMismatch"));
    assert!(fault.message().starts_with("in the key, ") && !fault.message().contains("sesame"), "{fault}");
    let mut binary = key("o", "");
    binary.event.key = Some(vec![0xff]);
    assert!(refusal(&serializer, &binary).message().contains("not UTF-8"));
}

#[tokio::test]
async fn a_newer_schema_is_taken_after_a_while_and_the_old_one_stays_while_the_registry_is_away() {
    let stub = Stub::start();
    stub.latest("t-value", 1, "JSON", &toy::schema("Order", &[]));
    let serializer = RegistrySerializer::builder(stub.registry())
        .values("t", PartSchema::new(JSON))
        .refresh(Duration::ZERO)
        .build();
    let row = stored("t", "{}");
    let id = |serialized: Serialized| serialized.payload.unwrap()[4];
    assert_eq!(id(serialized(&serializer, &row).await), 1);
    stub.away(true);
    for _ in 0..20 {
        assert_eq!(id(serializer.serialize(&row).unwrap()), 1);
        tokio::task::yield_now().await;
    }
    stub.latest("t-value", 2, "JSON", &toy::schema("Order", &[]));
    stub.away(false);
    let until = Instant::now() + Duration::from_secs(60);
    while id(serializer.serialize(&row).unwrap()) == 1 {
        assert!(Instant::now() < until, "the newer schema is never taken");
        // waits: between two looks
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
