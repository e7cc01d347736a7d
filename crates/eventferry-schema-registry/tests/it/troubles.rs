//! What a registry does when it does not answer well.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use eventferry_core::{PublishFault, PublishFaultKind};
use eventferry_schema_registry::{Registry, RegistryConfig, Secret};
use serde_json::json;

use crate::stub::{Reply, Stub};
use crate::toy;

const LATEST: &str = "GET /subjects/t-value/versions/latest";

fn stub() -> Stub {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &[]));
    stub
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn fault(registry: &Registry) -> PublishFault {
    registry.latest("t-value").await.unwrap_err()
}

#[tokio::test]
async fn servers_are_tried_in_turn_beginning_with_the_one_that_answered_last() {
    let (unwell, well) = (stub(), stub());
    unwell.reply(LATEST, Reply::refusal(500, 50003));
    let config = RegistryConfig::new([nobody(), unwell.url.clone(), well.url.clone()]).unwrap();
    let registry = Registry::new(config);
    for _ in 0..3 {
        assert_eq!(registry.latest("t-value").await.unwrap().id, Some(7));
    }
    assert_eq!((unwell.asked().len(), well.asked().len()), (1, 3));
    // What answers and is no registry is passed over, too: a page of a proxy's, a path where nothing is.
    for foreign in [Reply::new(404, json!({})), Reply::new(302, json!({})), Reply::text(200, "<html>")] {
        let proxy = stub();
        proxy.reply(LATEST, foreign);
        let config = RegistryConfig::new([proxy.url.clone(), well.url.clone()]).unwrap();
        assert_eq!(Registry::new(config).latest("t-value").await.unwrap().id, Some(7));
    }
    well.away(true);
    let fault = fault(&registry).await;
    assert_eq!(*fault.kind(), PublishFaultKind::Unavailable);
    assert!(fault.message().contains("500, code 50003") && fault.message().contains("primary"), "{fault}");
}

#[tokio::test]
async fn when_no_server_answers_each_is_named_with_its_reason() {
    let (one, other) = (nobody(), nobody());
    let registry = Registry::new(RegistryConfig::new([&one, &other]).unwrap());
    let fault = fault(&registry).await;
    assert_eq!((*fault.kind(), fault.class()), (PublishFaultKind::Unavailable, Some("RegistryUnavailable")));
    for url in [one, other] {
        assert!(fault.message().contains(&format!("{}: ", &url[7..])), "{fault}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_waited_for_no_longer_than_set() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = RegistryConfig::new([url]).unwrap().timeout(Duration::from_millis(50));
    let began = Instant::now();
    let fault = fault(&Registry::new(config)).await;
    assert!(fault.message().contains("no answer within 50ms"), "{fault}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn whoever_is_asked_for_less_asks_nothing_for_as_long_as_was_said() {
    let stub = stub();
    stub.reply(LATEST, Reply::refusal(429, 429).header("Retry-After", "30"));
    let registry = stub.registry();
    let first = fault(&registry).await;
    assert_eq!(*first.kind(), PublishFaultKind::Throttled(Duration::from_secs(30)));
    let second = fault(&registry).await;
    let PublishFaultKind::Throttled(left) = *second.kind() else { panic!("{second}") };
    assert!(left <= Duration::from_secs(30) && left > Duration::from_secs(1), "{left:?}");
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_whose_url_to_give() {
    let (stub, elsewhere) = (stub(), stub());
    let to = format!("{}/subjects/t-value/versions/latest?sesame", elsewhere.url);
    stub.reply(LATEST, Reply::new(307, json!({})).header("Location", &to));
    let registry = Registry::new(stub.config().bearer(Secret::text("sesame")).unwrap());
    let fault = fault(&registry).await;
    assert_eq!(*fault.kind(), PublishFaultKind::Unavailable);
    let host = elsewhere.url.trim_start_matches("http://");
    assert!(fault.message().contains(&format!("(it names {host}): give its URL instead")), "{fault}");
    assert!(!fault.message().contains("sesame") && elsewhere.asked().is_empty(), "{fault}");
}

#[tokio::test]
async fn what_answers_without_being_a_registry_is_told_from_one() {
    let stub = stub();
    for (reply, says) in [
        (Reply::new(200, json!("welcome")), "is no schema registry"),
        (Reply::new(404, json!("no such page")), "see whether the URL is a registry's"),
        (Reply::new(503, json!("try later")), "answers 503"),
    ] {
        stub.reply(LATEST, reply);
        let fault = fault(&stub.registry()).await;
        assert_eq!(
            (*fault.kind(), fault.class()),
            (PublishFaultKind::Unavailable, Some("RegistryUnavailable"))
        );
        assert!(fault.message().contains(says) && !fault.message().contains("sesame"), "{fault}");
    }
}

#[tokio::test]
async fn references_are_looked_up_each_once_and_before_whoever_refers_to_them() {
    let stub = Stub::start();
    let refers = |to: &[(&str, &str, u32)]| {
        let all = to
            .iter()
            .map(|(name, subject, version)| json!({ "name": name, "subject": subject, "version": version }));
        all.collect::<Vec<_>>()
    };
    let put = |subject: &str, text: &str, to: &[(&str, &str, u32)]| {
        let body =
            json!({ "id": 1, "version": 1, "schemaType": "JSON", "schema": text, "references": refers(to) });
        stub.reply(&format!("GET /subjects/{subject}/versions/1"), Reply::new(200, body));
    };
    put("top", "T", &[("l", "left", 1), ("r", "right", 1)]);
    put("left", "L", &[("b", "base", 1)]);
    put("right", "R", &[("b", "base", 1), ("l", "left", 1)]);
    // What refers to itself, over others or not, ends all the same.
    put("base", "B", &[("l", "left", 1), ("b", "base", 1)]);
    let registry = stub.registry();
    let top = registry.version("top", 1).await.unwrap();
    let source = registry.source(&top).await.unwrap();
    let texts: Vec<_> = source.references.iter().map(|(name, text)| format!("{name}{text}")).collect();
    assert_eq!((source.text.as_str(), texts), ("T", ["bB", "lL", "rR"].map(str::to_owned).to_vec()));
    assert_eq!(stub.asked().len(), 4);

    // Of two versions of one the first counts.
    put("right", "R", &[("b", "base", 2), ("l", "left", 1)]);
    let source = registry.source(&top).await.unwrap();
    assert!(source.references.contains(&("b".to_owned(), "B".to_owned())));
    put("right", "R", &[("b", "other", 1)]);
    let fault = registry.source(&top).await.unwrap_err();
    assert_eq!(*fault.kind(), PublishFaultKind::TopicRefused);
    assert!(fault.message().contains("two schemas are referred to as b"), "{fault}");
}
