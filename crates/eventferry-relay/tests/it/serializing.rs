//! A serializer before the publisher: what it makes is sent, what it refuses is parked, and what it waits for waits.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventferry_conformance::publisher::model::{Model, ModelPublisher};
use eventferry_conformance::publisher::{Delivered, Reach, Subject, clauses};
use eventferry_conformance::{Ended, Trouble};
use eventferry_core::parked::{Decision, Stage};
use eventferry_core::publisher::Publisher as _;
use eventferry_core::{Header, NotSerialized, PublishFault, PublishFaultKind, Row, Serialized, Serializer};
use eventferry_relay::Serializing;

use crate::scene::{Scene, attempts};

/// Writes payloads in capitals, once it has learned their topic. It has no form for a payload with a question mark.
#[derive(Clone, Default)]
struct Capitals(Arc<State>);

#[derive(Default)]
struct State {
    learned: Mutex<Vec<String>>,
    away: AtomicBool,
    asked_in_vain: AtomicU32,
}

impl Capitals {
    fn learned(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serializer for Capitals {
    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        if self.0.away.load(Ordering::Relaxed) {
            self.0.asked_in_vain.fetch_add(1, Ordering::Relaxed);
            return Err(PublishFault::new(PublishFaultKind::Unavailable, "the registry is away"));
        }
        self.learned().push(topic.to_owned());
        Ok(())
    }

    fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized> {
        if row.topic() == "plain" {
            return Ok(Serialized::default());
        }
        if !self.learned().iter().any(|topic| topic == row.topic()) {
            return Err(NotSerialized::Unknown);
        }
        let payload = row.payload().unwrap_or_default();
        if payload.contains(&b'?') {
            let fault = PublishFault::new(PublishFaultKind::Rejected, "/text: no form for it");
            return Err(NotSerialized::Refused(Box::new(fault.of_class("PayloadMismatch"))));
        }
        Ok(Serialized {
            key: Some(payload.to_ascii_uppercase()),
            payload: Some(payload.to_ascii_uppercase()),
            content_type: Some("text/capitals".into()),
            headers: vec![Header { name: "schema".into(), value: b"7".to_vec() }],
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_serializer_makes_is_sent() {
    let mut scene = Scene::new().await;
    scene.enqueue("orders", &["a1", "b1"]);
    let relay = scene.relay().serializer(Capitals::default());
    scene.run(relay, async |scene| scene.broker.count() == 2).await;
    assert_eq!(scene.broker.bodies("orders"), ["A1", "B1"]);
    let message = &scene.broker.taken()[0];
    assert_eq!((&*message.key, message.header("content-type")), ("A1", Some("text/capitals")));
    assert_eq!((message.header("schema"), message.header("aggregate-id")), (Some("7"), Some("a")));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_serialized_is_parked_with_the_reason_and_nobody_else_waits() {
    let mut scene = Scene::new().await;
    scene.enqueue("orders", &["a?", "a2", "b1"]);
    let relay = scene.relay().serializer(Capitals::default()).retry(attempts(2));
    let waits = async |scene: &Scene| {
        scene.broker.count() == 1 && scene.shown().await.iter().any(|event| event.stage == Stage::Waiting)
    };
    scene.run(relay, waits).await;
    assert_eq!(scene.broker.bodies("orders"), ["B1"]);
    let shown = scene.shown().await;
    assert_eq!((shown.len(), shown[0].attempts), (2, 2));
    assert_eq!(shown[0].class.as_deref(), Some("PayloadMismatch"));
    assert_eq!(shown[0].message.as_deref(), Some("/text: no form for it"));
    assert_eq!(shown[0].row.event.payload.as_deref(), Some(&b"a?"[..]), "parked as it was enqueued");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_goes_as_it_was_enqueued_and_its_topic_is_not_asked_for() {
    let mut scene = Scene::new().await;
    let capitals = Capitals::default();
    scene.enqueue("orders", &["a?", "a2"]);
    let relay = scene.relay().serializer(capitals.clone()).retry(attempts(1)).dead_letters("dead");
    scene.run(relay, async |scene| scene.broker.count() == 2).await;
    assert_eq!(
        (scene.broker.bodies("dead"), scene.broker.bodies("orders")),
        (vec!["a?".into()], vec!["A2".into()])
    );
    assert_eq!(*capitals.learned(), ["orders"]);
}

#[tokio::test(start_paused = true)]
async fn while_a_serializer_cannot_learn_nothing_is_counted_or_parked_and_other_topics_go() {
    let mut scene = Scene::new().await;
    let capitals = Capitals::default();
    capitals.0.away.store(true, Ordering::Relaxed);
    scene.enqueue("orders", &["a1", "a2", "b1"]);
    scene.enqueue("plain", &["c1"]);
    let relay = scene.relay().serializer(capitals.clone());
    let state = Arc::clone(&capitals.0);
    let began = tokio::time::Instant::now();
    let done = async |scene: &Scene| {
        assert!(scene.shown().await.is_empty(), "nothing is parked");
        if began.elapsed() > Duration::from_secs(60) {
            assert_eq!(scene.broker.bodies("plain"), ["c1"]);
            state.away.store(false, Ordering::Relaxed);
        }
        scene.broker.count() == 4
    };
    let finished = scene.run(relay, done).await;
    assert!(capitals.0.asked_in_vain.load(Ordering::Relaxed) > 3);
    let orders = scene.broker.bodies("orders");
    let of_a: Vec<_> = orders.iter().map(String::as_str).filter(|body| body.starts_with('A')).collect();
    assert_eq!((of_a, orders.len(), finished.shipped), (vec!["A1", "A2"], 3, 4));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_serialized_goes_when_a_person_retries_it_and_it_can_be() {
    let mut scene = Scene::new().await;
    scene.enqueue("orders", &["a?"]);
    let relay = scene.relay().serializer(Capitals::default()).retry(attempts(1));
    let waits = async |scene: &Scene| scene.shown().await.iter().any(|event| event.stage == Stage::Waiting);
    scene.run(relay, waits).await;
    scene.decide(Decision::Retry).await;
    let relay = scene.relay();
    scene.run(relay, async |scene| scene.broker.count() == 1).await;
    assert_eq!(scene.broker.bodies("orders"), ["a?"]);
}

/// Changes nothing.
struct Unchanged;

impl Serializer for Unchanged {
    async fn learn(&self, _: &str) -> Result<(), PublishFault> {
        Ok(())
    }

    fn serialize(&self, _: &dyn Row) -> Result<Serialized, NotSerialized> {
        Ok(Serialized::default())
    }
}

/// Refuses an event at every second asking: it could be serialized when it was routed, and cannot be when it is sent.
#[derive(Default)]
struct Fickle(AtomicU32);

impl Serializer for Fickle {
    async fn learn(&self, _: &str) -> Result<(), PublishFault> {
        Ok(())
    }

    fn serialize(&self, row: &dyn Row) -> Result<Serialized, NotSerialized> {
        let refused = row.payload() == Some(b"a1") && self.0.fetch_add(1, Ordering::Relaxed) == 1;
        let fault =
            || Box::new(PublishFault::new(PublishFaultKind::Rejected, "/: stricter").of_class("Stricter"));
        if refused { Err(NotSerialized::Refused(fault())) } else { Ok(Serialized::default()) }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_serialized_any_more_when_it_is_sent_is_parked_and_loses_no_order() {
    let mut scene = Scene::new().await;
    scene.enqueue("orders", &["b1", "a1", "a2", "b2"]);
    let relay = scene.relay().serializer(Fickle::default());
    scene.run(relay, async |scene| scene.broker.count() == 4).await;
    let orders = scene.broker.bodies("orders");
    let of = |letter| orders.iter().filter(|body| body.starts_with(letter)).cloned().collect::<Vec<_>>();
    assert_eq!((of('a'), of('b')), (vec!["a1".into(), "a2".into()], vec!["b1".into(), "b2".into()]));
}

/// The model broker, with a serializer before its publisher.
struct Before(Model);

impl Subject for Before {
    type Publisher = Serializing<ModelPublisher, Unchanged>;

    fn reach(&self) -> Reach {
        self.0.reach()
    }

    async fn publisher(&self) -> Result<Self::Publisher, Trouble> {
        Ok(Serializing::new(self.0.publisher().await?, Unchanged))
    }

    async fn create(&self, topic: &str, partitions: u16) -> Result<(), Trouble> {
        self.0.create(topic, partitions).await
    }

    async fn limit(&self, topic: &str, bytes: usize) -> Result<(), Trouble> {
        self.0.limit(topic, bytes).await
    }

    async fn read(&self, topic: &str) -> Result<Vec<Delivered>, Trouble> {
        self.0.read(topic).await
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.0.block_on(work)
    }
}

#[test]
fn a_publisher_with_a_serializer_before_it_keeps_every_clause() {
    let subject = Arc::new(Before(Model::default()));
    for clause in clauses() {
        match clause.ask(&subject) {
            Ok(Ended::Kept) => {}
            other => panic!("{clause}: {other:?}"),
        }
    }
    let abilities = subject.block_on(subject.publisher()).unwrap().abilities();
    assert_eq!(abilities, Model::default().declared().abilities);
}
