//! CloudEvents as the specification has them, and as the official Python SDK writes and reads them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventferry_core::envelope::collect_headers;
use eventferry_core::{
    Envelope, Event, NotSerialized, PublishFaultKind, Row as _, Serialized, Serializer as _, StoredEvent,
    Timestamp,
};
use eventferry_serializer_cloudevents::{CloudEvents, Mode};
use serde_json::{Map, Value, json};

const SOURCE: &str = "/shop/orders";
const ID: &str = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f";
const BOTH: [(Mode, &str); 2] = [(Mode::Binary, "binary"), (Mode::Structured, "structured")];

fn stored(event: Event) -> StoredEvent {
    let enqueued_at = Timestamp(1_795_726_520_123_456);
    StoredEvent { message_id: ID.parse().unwrap(), event, enqueued_at }
}

fn serialized(mode: Mode, event: &StoredEvent) -> Result<Serialized, NotSerialized> {
    CloudEvents::new(mode, SOURCE).unwrap().serialize(event)
}

/// A message as it is sent: the headers that a CloudEvent has, and the payload.
fn sent(mode: Mode, event: &StoredEvent) -> (Map<String, Value>, Option<Vec<u8>>) {
    let serialized = serialized(mode, event).unwrap();
    let view = serialized.view(event);
    let envelope = Envelope::of(&view);
    let headers = collect_headers(&envelope).into_iter();
    let headers = headers.filter(|(name, _)| name.starts_with("ce_") || name == "content-type");
    let headers = headers.map(|(name, value)| (name, String::from_utf8(value).unwrap().into()));
    (headers.collect(), envelope.payload().map(<[u8]>::to_vec))
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join(name)).unwrap()).unwrap()
}

/// The events of cases.json, with their names.
fn cases() -> Vec<(Value, StoredEvent)> {
    let cases = fixture("cases.json");
    let event = |case: &Value| {
        let text = |name: &str| case[name].as_str().unwrap().to_owned();
        let mut event = Event::new("orders.created", ("order", text("subject")));
        if text("type") != "orders.created" {
            event = event.header("event-type", text("type"));
        }
        event.payload = Some(STANDARD.decode(text("payload")).unwrap());
        event.content_type = case["content_type"].as_str().map(str::to_owned);
        StoredEvent { message_id: text("id").parse().unwrap(), ..stored(event) }
    };
    cases.as_array().unwrap().iter().map(|case| (case.clone(), event(case))).collect()
}

#[test]
fn we_write_what_the_python_sdk_writes() {
    let written = fixture("written_by_sdk.json");
    for (case, event) in cases() {
        for (mode, name) in BOTH {
            let theirs = &written[case["name"].as_str().unwrap()][name];
            let (mut headers, payload) = sent(mode, &event);
            let payload = payload.unwrap();
            if mode == Mode::Structured {
                // The SDK leaves the character set out, which JSON has anyway.
                let content_type = headers["content-type"].as_str().unwrap().replace("; charset=UTF-8", "");
                headers.insert("content-type".into(), content_type.into());
            }
            assert_eq!(&Value::Object(headers), &theirs["headers"], "{case}");
            let theirs = theirs["payload"].as_str().unwrap();
            let theirs = STANDARD.decode(theirs).unwrap();
            if mode == Mode::Structured || case["is_json"] == true {
                let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
                assert_eq!(read(&payload), read(&theirs), "{case}");
            } else {
                assert_eq!(payload, theirs, "{case}");
            }
        }
    }
}

#[test]
fn the_python_sdk_reads_what_we_write() {
    let ours: Map<String, Value> = cases()
        .iter()
        .map(|(case, event)| {
            let message = |mode| {
                let (headers, payload) = sent(mode, event);
                json!({"headers": headers, "payload": STANDARD.encode(payload.unwrap())})
            };
            let messages: Map<_, _> =
                BOTH.into_iter().map(|(mode, name)| (name.to_owned(), message(mode))).collect();
            (case["name"].as_str().unwrap().to_owned(), messages.into())
        })
        .collect();
    let ours = Value::Object(ours);
    if std::env::var_os("EVENTFERRY_WRITE_FIXTURES").is_some() {
        let text = format!("{}\n", serde_json::to_string_pretty(&ours).unwrap());
        std::fs::write(fixtures().join("ours.json"), text).unwrap();
    }
    // What it read is what we write today.
    assert_eq!(ours, fixture("ours.json"));
    let read = fixture("read_by_sdk.json");
    for (case, event) in cases() {
        for (_, mode) in BOTH {
            let read = &read[case["name"].as_str().unwrap()][mode];
            let mut expected = json!({"specversion": "1.0", "source": SOURCE});
            for name in ["id", "type", "subject", "time"] {
                expected[name] = case[name].clone();
            }
            if let Some(content_type) = case["content_type"].as_str() {
                expected["datacontenttype"] = content_type.into();
            }
            assert_eq!(read["attributes"], expected, "{case}");
            let payload = event.payload().unwrap();
            if case["is_json"] == true {
                assert_eq!(read["data"], serde_json::from_slice::<Value>(payload).unwrap(), "{case}");
            } else if read["is_bytes"] == true {
                assert_eq!(read["data"], STANDARD.encode(payload), "{case}");
            } else {
                assert_eq!(read["data"], str::from_utf8(payload).unwrap(), "{case}");
            }
        }
    }
}

#[test]
fn in_binary_mode_the_attributes_are_headers_and_all_else_is_as_it_was() {
    let event =
        Event::new("orders", ("order", 42)).payload("{}", "application/json").header("tenant", "acme");
    let row = stored(event);
    let serialized = serialized(Mode::Binary, &row).unwrap();
    let headers: Vec<_> = serialized
        .headers
        .iter()
        .map(|header| (header.name.as_str(), str::from_utf8(&header.value).unwrap()))
        .collect();
    assert_eq!(
        headers,
        [
            ("ce_specversion", "1.0"),
            ("ce_id", ID),
            ("ce_source", SOURCE),
            ("ce_type", "orders"),
            ("ce_subject", "42"),
            ("ce_time", "2026-11-26T20:55:20.123456Z"),
        ]
    );
    let rest = Serialized { headers: Vec::new(), ..serialized };
    assert_eq!(rest, Serialized::default());
}

#[test]
fn in_structured_mode_a_json_payload_stands_in_the_document_byte_for_byte() {
    let payload = "{ \"z\": 12345678901234567890.000000000000000001, \"a\": 1e400,\n \"z\": \"\\u0041\" } ";
    let row =
        stored(Event::new("orders", ("or\"der", "4\n2")).payload(payload, "application/json; charset=utf-8"));
    let serialized = serialized(Mode::Structured, &row).unwrap();
    let document = String::from_utf8(serialized.payload.clone().unwrap()).unwrap();
    let head = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{ID}\",\"source\":\"{SOURCE}\",\"type\":\"orders\",\"subject\":\"4\\n2\",\
         \"time\":\"2026-11-26T20:55:20.123456Z\",\"datacontenttype\":\"application/json; charset=utf-8\",\"data\":"
    );
    assert_eq!(document, format!("{head}{payload}}}"));
    assert_eq!(serialized.content_type.as_deref(), Some("application/cloudevents+json; charset=UTF-8"));
    assert_eq!((serialized.key, serialized.headers), (None, Vec::new()));
}

#[test]
fn what_says_that_it_is_json_and_is_not_is_refused_without_its_bytes() {
    for payload in [&b"{\"sesame\""[..], b"sesame", b"1, 2", b"{}}", b"\"\xff\"", b"", b"\"a\x01\""] {
        let row = stored(Event::new("orders", ("order", 1)).payload(payload, "application/json"));
        let Err(NotSerialized::Refused(fault)) = serialized(Mode::Structured, &row) else {
            panic!("{payload:?} was taken")
        };
        assert_eq!((fault.kind(), fault.class()), (&PublishFaultKind::Rejected, Some("NotJson")));
        assert!(fault.message().contains("topic `orders`") && !fault.message().contains("sesame"), "{fault}");
        assert!(serialized(Mode::Binary, &row).is_ok());
    }
}

#[test]
fn a_tombstone_stays_one() {
    let row = stored(Event::new("orders", ("order", 1)));
    assert_eq!(serialized(Mode::Structured, &row).unwrap(), Serialized::default());
    let (headers, payload) = sent(Mode::Binary, &row);
    assert_eq!((&headers["ce_id"], payload), (&json!(ID), None));
}

#[test]
fn what_is_a_cloud_event_already_is_sent_as_it_is() {
    let event = || Event::new("orders", ("order", 1));
    for own in [
        event().payload("{}", "application/json").header("ce_specversion", "1.0"),
        event().payload("{}", "application/cloudevents+json"),
        event().payload("[]", "Application/CloudEvents-batch+json"),
    ] {
        for (mode, _) in BOTH {
            assert_eq!(serialized(mode, &stored(own.clone())).unwrap(), Serialized::default());
        }
    }
}

#[test]
fn the_type_is_the_first_event_type_that_is_a_text() {
    let typed = |value: &[u8]| {
        let event =
            Event::new("orders", ("order", 1)).header("event-type", value).header("event-type", "Second");
        sent(Mode::Binary, &stored(event)).0["ce_type"].clone()
    };
    assert_eq!(typed(b"OrderCreated"), "OrderCreated");
    assert_eq!(typed(b""), "Second");
    assert_eq!(typed(b"\xff"), "Second");
}

#[test]
fn a_source_is_a_uri() {
    for source in ["", "a b", "a\nb", "<a>"] {
        let refusal = CloudEvents::new(Mode::Binary, source).unwrap_err().to_string();
        assert!(refusal.contains("no source of CloudEvents; give a URI"), "{refusal}");
    }
    assert!(CloudEvents::new(Mode::Binary, "https://shop.example/orders?a=1#b").is_ok());
}
