//! A relay whose events are written by schemas of a registry, on a real registry and a real Kafka.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eventferry::core::store::{Prepare, Store as _};
use eventferry::kafka::{KafkaConfig, KafkaPublisher};
use eventferry::relay::{Finished, Happening};
use eventferry::schemas::{
    Encoded, Format, NewSchema, Part, PartSchema, PayloadFault, Registry, RegistryConfig,
    RegistryDeserializer, RegistrySerializer, Schema, SchemaFault, SchemaSource, SchemaType,
};
use eventferry::sqlite::{SqliteConfig, SqliteOutbox, SqliteStore};
use eventferry::{Event, Relay};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::sync::oneshot;
use uuid::Uuid;

/// What is to come comes by then.
const PATIENCE: Duration = Duration::from_secs(120);

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `eval \"$(cargo xtask services env)\"` first"))
}

/// A format that takes any JSON with a member `n`, and lets it be.
struct Plain;

impl Format for Plain {
    type Schema = Plain;

    fn schema_type(&self) -> SchemaType {
        SchemaType::Json
    }

    fn compile(&self, _: &SchemaSource) -> Result<Plain, SchemaFault> {
        Ok(Plain)
    }
}

impl Schema for Plain {
    fn record(&self) -> Option<&str> {
        None
    }

    fn encode(&self, _: Option<&str>, json: &[u8]) -> Result<Encoded, PayloadFault> {
        if json.starts_with(b"{\"n\":") {
            return Ok(Encoded { message_indexes: Vec::new(), body: json.to_vec() });
        }
        Err(PayloadFault { path: "/n".into(), message: "it is missing".into() })
    }

    fn decode(&self, _: &[u32], body: &[u8]) -> Result<Vec<u8>, PayloadFault> {
        Ok(body.to_vec())
    }
}

/// A way to the registry that can be shut, and counts whom it sent away.
struct Gate {
    url: String,
    shut: Arc<AtomicBool>,
    sent_away: Arc<AtomicUsize>,
}

impl Gate {
    /// One that is shut.
    fn to(url: &str) -> Self {
        let (server, path) = url.trim_start_matches("http://").split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = format!("http://{}/{path}", listener.local_addr().unwrap());
        let (shut, sent_away) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
        let (shared, counted, server) = (Arc::clone(&shut), Arc::clone(&sent_away), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.load(Ordering::SeqCst) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server) else { continue };
                carry(client.try_clone().unwrap(), server.try_clone().unwrap());
                carry(server, client);
            }
        });
        Self { url: own, shut, sent_away }
    }

    fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::SeqCst);
    }

    /// Waits until so many more were sent away.
    async fn sends_away(&self, more: usize) {
        let wanted = self.sent_away.load(Ordering::SeqCst) + more;
        let until = Instant::now() + PATIENCE;
        while self.sent_away.load(Ordering::SeqCst) < wanted {
            assert!(Instant::now() < until, "nobody comes to the gate");
            // waits: between two looks
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
        drop(from.shutdown(Shutdown::Both));
    });
}

/// Topics of this test's own, and an outbox.
struct Scene {
    client: ClientConfig,
    prefix: String,
    folder: tempfile::TempDir,
}

const TOPICS: [&str; 4] = ["first", "later", "plain", "poisoned"];

impl Scene {
    async fn new() -> Self {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", variable("EVENTFERRY_TEST_KAFKA_BROKERS"));
        let prefix = format!("eventferry-schemas-{}-", Uuid::new_v4().simple());
        let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
        let names = TOPICS.map(|topic| format!("{prefix}{topic}"));
        let topics = names.each_ref().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)));
        let made = admin.create_topics(&topics, &AdminOptions::new()).await.unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { client, prefix, folder };
        scene.store().prepare(Prepare::Apply).await.unwrap();
        scene
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::new(SqliteConfig::at(self.folder.path().join("app.db")).unwrap())
    }

    fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Enqueues these payloads, in one transaction and for one aggregate.
    fn enqueue(&self, topic: &str, payloads: &[&str]) {
        let mut database = rusqlite::Connection::open(self.folder.path().join("app.db")).unwrap();
        let transaction = database.transaction().unwrap();
        let topic = self.topic(topic);
        let event =
            |payload: &&str| Event::new(&topic, ("order", &topic)).payload(*payload, "application/json");
        SqliteOutbox.append_many(&transaction, payloads.iter().map(event)).unwrap();
        transaction.commit().unwrap();
    }

    /// The first messages of a topic.
    fn messages(&self, topic: &str, count: usize) -> Vec<Vec<u8>> {
        let consumer: BaseConsumer = self.client.clone().set("group.id", "none").create().unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(&self.topic(topic), 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        let until = Instant::now() + PATIENCE;
        let mut messages = Vec::new();
        while messages.len() < count {
            assert!(Instant::now() < until, "{} of {count} messages came to {topic}", messages.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                messages.push(message.payload().unwrap().to_vec());
            }
        }
        messages
    }

    /// How many messages a topic has.
    fn count(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.client.create().unwrap();
        consumer.fetch_watermarks(&self.topic(topic), 0, PATIENCE).unwrap().1
    }

    async fn remove(self) {
        let admin: AdminClient<DefaultClientContext> = self.client.create().unwrap();
        let names = TOPICS.map(|topic| self.topic(topic));
        admin.delete_topics(&names.each_ref().map(String::as_str), &AdminOptions::new()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_loses_nothing_parks_nothing_and_holds_only_topics_that_need_it() {
    let (scene, url) = (Scene::new().await, variable("EVENTFERRY_TEST_SCHEMA_REGISTRY_URL"));
    let registry = Registry::new(RegistryConfig::new([&url]).unwrap());
    let text = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}"#;
    let schema = NewSchema { schema_type: SchemaType::Json, text: text.into(), references: Vec::new() };
    let mut ids = BTreeMap::new();
    for topic in ["first", "later", "poisoned"] {
        let made = registry.register(&format!("{}-value", scene.topic(topic)), &schema).await.unwrap();
        ids.insert(topic, made.id.unwrap());
    }
    let gate = Gate::to(&url);
    let through = Registry::new(RegistryConfig::new([&gate.url]).unwrap());
    let mut serializer = RegistrySerializer::builder(through);
    for topic in ids.keys() {
        serializer = serializer.values(scene.topic(topic), PartSchema::new(Plain));
    }
    let happened = Arc::<Mutex<Vec<Happening>>>::default();
    let heard = Arc::clone(&happened);
    let kafka =
        KafkaConfig::from_url(&format!("kafka://{}", variable("EVENTFERRY_TEST_KAFKA_BROKERS"))).unwrap();
    let relay = Relay::builder()
        .store(scene.store())
        .publisher(KafkaPublisher::new(kafka).unwrap())
        .serializer(serializer.build())
        .listen(move |happening| heard.lock().unwrap().push(happening))
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(relay.run(async move { drop(stopped.await) }));

    // Away at the start: the topic that needs it waits, the other one goes.
    scene.enqueue("first", &["{\"n\":1}", "{\"n\":2}"]);
    scene.enqueue("plain", &["{\"m\":1}"]);
    gate.sends_away(3).await;
    let plain = |scene: &Scene, count| tokio::task::block_in_place(|| scene.messages("plain", count));
    assert_eq!(plain(&scene, 1), [b"{\"m\":1}"]);
    assert_eq!(scene.count("first"), 0);
    gate.shut(false);
    let framed = |topic: &str, n: u32| {
        [&[0][..], &ids[topic].to_be_bytes(), format!("{{\"n\":{n}}}").as_bytes()].concat()
    };
    let of = |topic: &str, count: u32| (1..=count).map(|n| framed(topic, n)).collect::<Vec<_>>();
    assert_eq!(tokio::task::block_in_place(|| scene.messages("first", 2)), of("first", 2));

    // Away in the middle, for a topic that is not learned yet: what is learned goes on.
    gate.shut(true);
    let away = Instant::now();
    scene.enqueue("later", &["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
    gate.sends_away(3).await;
    scene.enqueue("first", &["{\"n\":3}"]);
    scene.enqueue("plain", &["{\"m\":2}"]);
    assert_eq!(tokio::task::block_in_place(|| scene.messages("first", 3)), of("first", 3));
    assert_eq!(plain(&scene, 2).len(), 2);
    // Longer than a topic that is refused would be waited for before it is shut.
    while away.elapsed() < eventferry::Settings::default().topic_patience * 2 {
        gate.sends_away(1).await;
    }
    assert_eq!(scene.count("later"), 0);
    gate.shut(false);
    assert_eq!(tokio::task::block_in_place(|| scene.messages("later", 3)), of("later", 3));

    // One that does not fit is parked, and only its aggregate waits for it.
    scene.enqueue("poisoned", &["{}"]);
    scene.enqueue("first", &["{\"n\":4}"]);
    assert_eq!(tokio::task::block_in_place(|| scene.messages("first", 4)), of("first", 4));
    let until = Instant::now() + PATIENCE;
    let parked = |happened: &Mutex<Vec<Happening>>| {
        let happened = happened.lock().unwrap();
        happened.iter().find(|happening| matches!(happening, Happening::Parked { .. })).cloned()
    };
    while parked(&happened).is_none() {
        assert!(Instant::now() < until, "nothing is parked");
        // waits: between two looks
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let Some(Happening::Parked { event, why, .. }) = parked(&happened) else { unreachable!() };
    assert_eq!((event.topic, why.class.as_str()), (scene.topic("poisoned"), "PayloadMismatch"));
    assert!(why.message.contains("/n: it is missing"), "{}", why.message);
    let before =
        happened.lock().unwrap().iter().take_while(|it| !matches!(it, Happening::Parked { .. })).count();
    let happened = happened.lock().unwrap().clone();
    let uncounted = |happening: &&Happening| {
        matches!(happening, Happening::ParkedAlong { .. } | Happening::Retried { .. })
    };
    assert_eq!(happened[..before].iter().find(uncounted), None, "{happened:#?}");
    stop.send(()).unwrap();
    let Finished { shipped, settled, .. } = running.await.unwrap().unwrap();
    assert!(settled);
    assert_eq!(shipped, 4 + 3 + 2);

    // Whoever consumes reads it back, by the registry alone.
    let reader = RegistryDeserializer::new(registry).format(Plain);
    let message = tokio::task::block_in_place(|| scene.messages("later", 1)).remove(0);
    assert_eq!(reader.read(Part::Value, [], &message).await.unwrap().json, b"{\"n\":1}");
    scene.remove().await;
}
