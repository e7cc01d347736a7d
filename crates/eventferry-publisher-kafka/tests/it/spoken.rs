//! What is said about connections: once when something is wrong, once when it is over.

use std::fmt::{Debug, Write};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use eventferry_core::publisher::{Publisher, Role, Taken};
use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};
use rdkafka::mocking::MockCluster;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::bench::{acknowledged, numbered, reports, send, session};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what this process says from now on.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
}

/// What was said with this in it.
pub(crate) fn said_of(what: &str) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(what)).cloned().collect()
}

/// Keeps what is said at INFO and above.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

#[tokio::test]
async fn an_outage_is_two_lines() {
    listen();
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let mut config = KafkaConfig::new(&brokers);
    config.properties.insert("reconnect.backoff.ms".into(), "10".into());
    config.properties.insert("reconnect.backoff.max.ms".into(), "50".into());
    config.properties.insert("sasl.password".into(), "hunter2".into());
    let publisher = KafkaPublisher::new(config).unwrap();
    publisher.learn("t").await.unwrap();
    let mut session = session(&publisher, Role::Main).await;
    acknowledged(&mut session, 0, &numbered("t", 0, 10)).await;
    for outage in 1..=2 {
        cluster.broker_down(-1).unwrap();
        assert_eq!(send(&mut session, outage, &numbered("t", outage, 10)), Taken::Yes);
        // Long enough for many vain attempts to connect.
        let waited = tokio::time::timeout(Duration::from_secs(2), session.reports(&mut Vec::new())).await;
        assert!(waited.is_err(), "a broker that is down reports nothing");
        cluster.broker_up(-1).unwrap();
        reports(&mut session, 1).await;
    }
    let ours = said_of(&brokers);
    let said: Vec<_> = ours.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(said, ["WARN", "INFO", "WARN", "INFO"], "{ours:#?}");
    assert!(ours[0].contains("no connection to the broker"), "{ours:#?}");
    assert!(!ours[0].contains("reason=\"\""), "{ours:#?}");
    assert!(ours[1].contains("acknowledge again"), "{ours:#?}");
    assert_eq!(said_of("hunter2"), [""; 0]);
}
