//! The consumer's side: each version arrives as the type that is asked for.

use eventferry::events::{DecodeFaultKind, Registry, TypedEvent as _, registry};
use serde_json::{Value, json};

use crate::shop::{OrderCreated, OrderCreatedV1, OrderId, OrderPaid, order};

const TOPIC: &str = "orders.created";

fn headers(version: &str) -> [(&str, &[u8]); 1] {
    [("event-version", version.as_bytes())]
}

/// Version 1 had a number for a total; 2 has an amount and a currency.
fn steps() -> Registry {
    let builder = registry![OrderCreated, OrderCreatedV1].upcast(TOPIC, 1, |mut payload: Value| {
        let amount = payload["total"].as_u64().ok_or("`total` is no number")?;
        payload["total"] = json!({"amount": amount, "currency": "EUR"});
        payload["customer"] = "ada".into();
        Ok::<_, &str>(payload)
    });
    builder.build().unwrap()
}

#[test]
fn an_event_comes_back_as_the_value_that_was_enqueued() {
    let event = order().to_event().unwrap();
    let headers: Vec<_> = event.headers.iter().map(|one| (one.name.as_str(), one.value.as_slice())).collect();
    let registry = steps();
    let back: OrderCreated =
        registry.decode(&event.topic, headers.iter().copied(), event.payload.as_deref()).unwrap();
    assert_eq!(back, order());
    assert_eq!(registry.recognize(&event.topic, headers).unwrap().name, "OrderCreated");
}

#[test]
fn an_old_version_becomes_a_new_one_by_its_steps() {
    let old = br#"{"id": 42, "total": 700}"#;
    // Without the header it is version 1.
    for headers in [&headers("1")[..], &[]] {
        let back: OrderCreated = steps().decode(TOPIC, headers.iter().copied(), Some(old)).unwrap();
        assert_eq!(back, order());
        let as_it_was: OrderCreatedV1 = steps().decode(TOPIC, headers.iter().copied(), Some(old)).unwrap();
        assert_eq!(as_it_was, OrderCreatedV1 { id: OrderId(42), total: 700 });
    }
}

#[test]
fn steps_are_taken_one_after_the_other() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize, eventferry::Event)]
    #[event(topic = "t", aggregate = "order", version = 4)]
    struct Four {
        #[event(aggregate_id)]
        id: u64,
        steps: Vec<u32>,
    }
    let add = |version: u32| {
        move |mut payload: Value| {
            payload["steps"].as_array_mut().unwrap().push(version.into());
            Ok::<_, String>(payload)
        }
    };
    let builder = registry![Four].upcast("t", 3, add(3)).upcast("t", 1, add(1)).upcast("t", 2, add(2));
    let registry = builder.build().unwrap();
    for (version, steps) in [("1", vec![1, 2, 3]), ("3", vec![3]), ("4", vec![])] {
        let four: Four = registry.decode("t", headers(version), Some(br#"{"id": 1, "steps": []}"#)).unwrap();
        assert_eq!(four, Four { id: 1, steps });
    }
}

#[test]
fn what_cannot_be_decoded_is_said_without_a_value() {
    let registry = steps();
    let sesame = br#"{"id": 42, "total": {"amount": "sesame", "currency": "EUR"}, "customer": "a"}"#;
    let fault = |version, payload: Option<&[u8]>| {
        registry.decode::<OrderCreated>(TOPIC, headers(version), payload).unwrap_err()
    };
    use DecodeFaultKind::{Malformed, NoStep, Tombstone, Unknown};
    let new = Registry::builder().event::<OrderCreated>().build().unwrap();
    let no_step = new.decode::<OrderCreated>(TOPIC, headers("1"), Some(b"{}")).unwrap_err();
    let elsewhere = registry.decode::<OrderCreated>("others", [], Some(b"{}")).unwrap_err();
    let not_its_own = registry.decode::<OrderPaid>(TOPIC, [], Some(b"{}")).unwrap_err();
    let not_listed = registry.decode::<OrderPaid>("orders.paid", [], Some(b"{}")).unwrap_err();
    for (fault, kind, says) in [
        (fault("2", Some(sesame)), Malformed, "`/total/amount` does not fit the type (line 1, column 39)"),
        (fault("2", Some(b"{} sesame")), Malformed, "does not fit the type"),
        (fault("2", Some(b"sesame")), Malformed, "the payload does not fit the type"),
        (fault("1", Some(b"sesame")), Malformed, "the payload is not JSON: expected value at line 1"),
        (
            fault("1", Some(br#"{"total": "sesame"}"#)),
            Malformed,
            "the step to the next version refused it: `total`",
        ),
        (
            fault("1", Some(br#"{"total": 1, "id": "sesame"}"#)),
            Malformed,
            "`/id` does not fit the type after",
        ),
        (fault("x", Some(b"{}")), Malformed, "event-version is no number"),
        (fault("3", Some(b"{}")), Unknown, "version 3 is not known here; known are 1, 2"),
        (fault("2", None), Tombstone, "no payload"),
        (no_step, NoStep, "no step leads on from version 1"),
        (elsewhere, Unknown, "OrderCreated is not version 2 of topic `others`"),
        (not_its_own, Unknown, "OrderPaid is not"),
        (not_listed, Unknown, "OrderPaid is not"),
    ] {
        assert_eq!(*fault.kind(), kind, "{fault}");
        assert!(fault.to_string().contains(says) && !fault.to_string().contains("sesame"), "{fault}");
    }
    let whole = br#"{"id": 1, "total": {"amount": 1, "currency": "E"}, "customer": "a", "note": null} x"#;
    assert!(fault("2", Some(whole)).to_string().contains("not JSON: trailing characters"));
}
