//! Certificates that are replaced while a relay runs.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use eventferry_core::publisher::{Publisher, Role, Session as _, Taken, Token};
use eventferry_core::{OutboxId, PublishFaultKind, Stamp};
use eventferry_publisher_kafka::{ClusterConfig, KafkaClusters, KafkaConfig, KafkaPublisher};

use crate::authority::Authority;
use crate::bench::{Kafka, PATIENCE, Routed, Said, acknowledged, numbered, reports, said, send, session};
use crate::own_broker::{Door, OwnBroker};
use crate::small_relay::{SmallRelay, Undone};

/// Longer than it takes until files have been looked at again.
const LOOKED_AT: Duration = Duration::from_secs(7);

/// How long the publisher's transactions may be open.
const TRANSACTION_MAX: Duration = Duration::from_secs(15);

/// An authority, and the files of a relay that it signs for.
struct Ground {
    ours: Authority,
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let this = Self { ours: Authority::new("ours"), folder: tempfile::tempdir().unwrap() };
        this.put("ca", &this.ours.file());
        this
    }

    /// The way in for those whom the authority has signed for.
    fn door(&self) -> Door {
        let [_, pem] = self.ours.sign("localhost", 2100);
        let settings = format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={pem}\nssl.truststore.type=PEM\n\
             ssl.truststore.location={}\nssl.client.auth=required\n",
            self.ours.file()
        );
        Door { name: "MUTUAL", protocol: "SSL", settings }
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.path().join(format!("relay.{kind}"))
    }

    /// Puts one file of these in the place of the relay's, at once, as mounted secrets change.
    fn put(&self, kind: &str, from: &str) {
        let file = self.file(kind);
        std::fs::copy(from, file.with_extension("new")).unwrap();
        std::fs::rename(file.with_extension("new"), file).unwrap();
    }

    fn put_both(&self, [key, certificate]: &[String; 2]) {
        self.put("key", key);
        self.put("pem", certificate);
    }

    fn config(&self, broker: &OwnBroker) -> KafkaConfig {
        let url = format!(
            "kafka://localhost:{}?security.protocol=ssl&ssl.ca.location={}&ssl.certificate.location={}\
             &ssl.key.location={}",
            broker.port("MUTUAL"),
            self.file("ca").display(),
            self.file("pem").display(),
            self.file("key").display()
        );
        KafkaConfig::from_url(&url).unwrap()
    }

    fn publisher(&self, broker: &OwnBroker) -> KafkaPublisher {
        KafkaPublisher::new(self.config(broker)).unwrap()
    }
}

/// Whether a session says within this time that it has ended.
async fn ends<P: Publisher>(session: &mut Routed<P>, within: Duration) -> bool {
    let mut reports = Vec::new();
    let ended = tokio::time::timeout(within, session.reports(&mut reports)).await.is_ok();
    assert!(reports.is_empty(), "{reports:?}");
    ended
}

/// Waits until what was asked under this token has been done.
async fn succeeded(session: &mut Routed, token: Token) {
    let reports = reports(session, 1).await;
    assert_eq!((reports[0].token, said(&reports[0])), (token, Said::Acknowledged), "{reports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_takes_a_new_session_and_half_of_one_takes_none() {
    let ground = Ground::new();
    let broker = OwnBroker::strict(&[ground.door()]);
    let kafka = Kafka::at(broker.judge());
    for user in ["first", "second"] {
        kafka.create(user, 1, &[]).await;
        broker.grant_to(&format!("CN={user}"), "Write", &["--topic", user]);
    }
    let second = ground.ours.sign("second", 2100);
    ground.put_both(&ground.ours.sign("first", 2100));
    let publisher = ground.publisher(&broker);
    ground.put("ca", &Authority::new("another").file());
    let stranger = publisher.connect(Role::Main).await.err().unwrap();
    assert!(stranger.message().contains("ssl.ca.location"), "{stranger}");
    ground.put("ca", &ground.ours.file());
    let mut former = session(&publisher, Role::Main).await;
    publisher.learn("first").await.unwrap();
    assert_eq!(*publisher.learn("second").await.unwrap_err().kind(), PublishFaultKind::TopicRefused);
    acknowledged(&mut former, 0, &numbered("first", 0, 10)).await;

    let [key, certificate] = &second;
    ground.put("pem", certificate);
    assert!(!ends(&mut former, LOOKED_AT).await, "the key is the former one's");
    acknowledged(&mut former, 1, &numbered("first", 1, 10)).await;
    // What begins meanwhile begins with what there was.
    let mut beside = session(&publisher, Role::Alone).await;
    acknowledged(&mut beside, 2, &numbered("first", 2, 10)).await;

    ground.put("key", key);
    assert!(ends(&mut former, PATIENCE).await);
    // One that always has something to report says it when it is given more.
    assert_eq!(send(&mut beside, 3, &numbered("first", 3, 10)), Taken::Ended);
    for session in [former, beside] {
        assert!(session.abandon(Duration::ZERO).await.is_empty());
    }
    // Both clients are the second's now: one that asks about topics, and one that sends.
    publisher.learn("second").await.unwrap();
    let mut later = session(&publisher, Role::Main).await;
    acknowledged(&mut later, 4, &numbered("second", 4, 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_for_one_cluster_takes_new_sessions_with_all() {
    let ground = Ground::new();
    let broker = OwnBroker::start(&[ground.door()], &[]);
    ground.put_both(&ground.ours.sign("first", 2100));
    let guarded = ClusterConfig::new("guarded", ground.config(&broker)).topics(["guarded.*"]);
    let clusters = KafkaClusters::new([guarded, ClusterConfig::new("open", Kafka::find().config())]).unwrap();
    let mut session = session(&clusters, Role::Main).await;
    ground.put_both(&ground.ours.sign("second", 2100));
    assert!(ends(&mut session, PATIENCE).await);
    assert_eq!(send(&mut session, 0, &numbered("open", 0, 10)), Taken::Ended);
    assert!(session.abandon(Duration::ZERO).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_certificate_expired_goes_on_when_there_is_another() {
    const LIFE: Duration = Duration::from_secs(15);
    let ground = Ground::new();
    let mut broker = OwnBroker::start(&[ground.door()], &[]);
    let kafka = Kafka::at(broker.judge());
    kafka.create("kept", 1, &[]).await;
    let end = SystemTime::now() + LIFE;
    ground.put_both(&ground.ours.sign_until("relay", end));
    let publisher = ground.publisher(&broker);
    let rows: Vec<_> = (0..20).map(|number| numbered("kept", number, 10)).collect();
    let mut relay = SmallRelay::new(&publisher, &rows, 0, Undone::Nothing);
    relay.enqueued = 10;
    relay.carry(|relay| relay.position == 10).await;

    assert!(SystemTime::now() < end, "it is carried while the certificate holds");
    relay.carry(|_| SystemTime::now() > end + Duration::from_secs(1)).await;
    let restarted = tokio::task::spawn_blocking(move || {
        broker.restart();
        broker
    });
    relay.carry(|_| restarted.is_finished()).await;
    relay.enqueued = 20;
    let since = SystemTime::now();
    relay.carry(|_| since.elapsed().unwrap() > Duration::from_secs(3)).await;
    assert_eq!(relay.position, 10, "it is let in with a certificate that has expired");
    ground.put_both(&ground.ours.sign("relay", 2100));
    relay.carry_all().await;
    relay.end().await;
    assert_eq!(kafka.numbers("kept").await, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_begun_is_carried_to_its_end() {
    let ground = Ground::new();
    let broker = OwnBroker::start(&[ground.door()], &[]);
    let kafka = Kafka::at(broker.judge());
    kafka.create("whole", 1, &[]).await;
    ground.put_both(&ground.ours.sign("first", 2100));
    let publisher = ground.publisher(&broker);
    publisher.learn("whole").await.unwrap();
    let outbox = OutboxId("orders".into());
    let (session, last) = publisher.take_over(&outbox).await.unwrap();
    assert_eq!(last, None);
    let mut session = Routed::of(&publisher, session);
    let stamp = Stamp { number: 1, nonce: 9 };
    assert_eq!(session.begin(Token(100), stamp), Taken::Yes);
    succeeded(&mut session, Token(100)).await;
    acknowledged(&mut session, 0, &numbered("whole", 0, 10)).await;

    ground.put_both(&ground.ours.sign("second", 2100));
    assert!(!ends(&mut session, LOOKED_AT).await, "a transaction is open");
    acknowledged(&mut session, 1, &numbered("whole", 1, 10)).await;
    session.commit(Token(101));
    succeeded(&mut session, Token(101)).await;
    assert!(ends(&mut session, PATIENCE).await);
    assert_eq!(session.begin(Token(102), Stamp { number: 2, nonce: 9 }), Taken::Ended);
    assert!(session.abandon(PATIENCE).await.is_empty());

    let (session, last) = publisher.take_over(&outbox).await.unwrap();
    assert_eq!(last, Some(stamp));
    session.abandon(Duration::ZERO).await;
    assert_eq!(kafka.numbers("whole").await, [0, 1]);
}

/// Nobody else would end it: while it has the lanes no other relay takes the broker over.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_no_broker_answers_is_not_waited_for_with_former_certificates() {
    let ground = Ground::new();
    let mut broker = OwnBroker::start(&[ground.door()], &[]);
    ground.put_both(&ground.ours.sign("first", 2100));
    let publisher = ground.publisher(&broker);
    let (session, _) = publisher.take_over(&OutboxId("orders".into())).await.unwrap();
    let mut session = Routed::of(&publisher, session);
    assert_eq!(session.begin(Token(100), Stamp { number: 1, nonce: 9 }), Taken::Yes);
    succeeded(&mut session, Token(100)).await;
    broker.kill();
    session.commit(Token(101));
    ground.put_both(&ground.ours.sign("second", 2100));
    assert!(ends(&mut session, LOOKED_AT + TRANSACTION_MAX + PATIENCE).await);
    let reports = session.abandon(Duration::ZERO).await;
    assert!(reports.iter().all(|report| said(report) != Said::Acknowledged), "{reports:?}");
}
