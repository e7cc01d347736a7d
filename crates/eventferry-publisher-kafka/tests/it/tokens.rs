//! Logging in by tokens and by passwords that change: on a real broker, with what should be let in and what should not.

use std::time::{Duration, Instant, SystemTime};

use eventferry_core::publisher::{Publisher as _, Role, Session as _, Taken};
use eventferry_publisher_kafka::{Change, Cluster, DeclaredTopic, KafkaConfig, KafkaPublisher, OauthToken};

use crate::authority::Authority;
use crate::bench::{PATIENCE, Routed, Said, numbered, reports, said, send, session};
use crate::own_broker::{Door, FERRY, OwnBroker};
use crate::token_server::{TokenServer, jwt};

const SASL: &str = "security.protocol=sasl_plaintext";
const OAUTH: &str = "security.protocol=sasl_plaintext&sasl.mechanisms=OAUTHBEARER";

/// How long the doors that ask again let a connection be.
const ASKED_AGAIN: Duration = Duration::from_secs(3);

struct Ground {
    broker: OwnBroker,
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let bearer = "oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.\
                      OAuthBearerLoginModule required;\nsasl.enabled.mechanisms=OAUTHBEARER\n";
        let again = format!("connections.max.reauth.ms={}\n", ASKED_AGAIN.as_millis());
        let door = |name, settings: String| Door { name, protocol: "SASL_PLAINTEXT", settings };
        let doors = [
            door("BEARER", format!("{bearer}oauthbearer.{again}")),
            door("PLAIN", FERRY.to_owned()),
            door("AGAIN", format!("{FERRY}plain.{again}")),
        ];
        Self { broker: OwnBroker::start(&doors, &[]), folder: tempfile::tempdir().unwrap() }
    }

    fn config(&self, door: &str, options: &str) -> Result<KafkaConfig, String> {
        let url = format!("kafka://localhost:{}?{options}", self.broker.port(door));
        KafkaConfig::from_url(&url).map_err(|fault| fault.to_string())
    }

    /// What becomes of a session.
    async fn enters(&self, config: KafkaConfig) -> Result<(), String> {
        let publisher = KafkaPublisher::new(config).map_err(|fault| fault.to_string())?;
        let session = publisher.connect(Role::Main).await.map_err(|fault| fault.to_string())?;
        session.abandon(Duration::ZERO).await;
        // The client that asks about topics logs in by itself.
        Cluster::of(&publisher).names().await.map(drop).map_err(|fault| fault.to_string())
    }

    async fn tries(&self, door: &str, options: &str) -> Result<(), String> {
        self.enters(self.config(door, options)?).await
    }

    /// A file with this text.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        // As mounted secrets change: at once.
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        path.display().to_string()
    }

    /// A session at a door, with a topic to send to.
    async fn sends(&self, door: &str, options: &str, topic: &str) -> Routed {
        let judge = KafkaPublisher::new(KafkaConfig::new(self.broker.judge())).unwrap();
        let declared = DeclaredTopic { name: topic.to_owned(), ..DeclaredTopic::default() };
        Cluster::of(&judge).perform(&Change::Create(declared)).await.unwrap();
        let publisher = KafkaPublisher::new(self.config(door, options).unwrap()).unwrap();
        publisher.learn(topic).await.unwrap();
        session(&publisher, Role::Main).await
    }
}

/// Sends one event and says how long its acknowledgement took.
async fn sent(session: &mut Routed, topic: &str, number: u64) -> Duration {
    let started = Instant::now();
    assert_eq!(send(session, number, &numbered(topic, number, 10)), Taken::Yes);
    let reports = reports(session, 1).await;
    assert_eq!(said(&reports[0]), Said::Acknowledged, "{reports:?}");
    started.elapsed()
}

fn oidc(server: &TokenServer, secret: &str) -> String {
    format!(
        "{OAUTH}&sasl.oauthbearer.method=oidc&sasl.oauthbearer.token.endpoint.url={}&sasl.oauthbearer.client.id=ferry\
         &{secret}&sasl.oauthbearer.scope=kafka",
        server.url
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_source_lets_in_who_may_and_says_to_others_which_setting_is_wrong() {
    let ground = Ground::new();
    let server = TokenServer::start(300);
    let (ours, stranger) = (Authority::new("ours"), Authority::new("another"));
    let secure = TokenServer::start_tls(300, ours.sign("localhost", 2100));
    let https = |more: String| format!("{}&{more}", oidc(&secure, "sasl.oauthbearer.client.secret=se/same"));
    let good = ground.file("good", &format!("{}\n", jwt("ferry", 300)));
    let (secret, password) = (ground.file("secret", "se/same\n"), ground.file("password", "sesame\n"));
    let plain = format!("{SASL}&sasl.mechanisms=PLAIN&sasl.username=ferry");
    for (door, options) in [
        ("BEARER", format!("{OAUTH}&sasl.oauthbearer.token.file={good}")),
        ("BEARER", format!("{OAUTH}&sasl.oauthbearer.token.command=cat {good}")),
        (
            "BEARER",
            format!("{OAUTH}&enable.sasl.oauthbearer.unsecure.jwt=true&sasl.oauthbearer.token.file={good}"),
        ),
        ("BEARER", oidc(&server, "sasl.oauthbearer.client.secret=se/same")),
        ("BEARER", oidc(&server, &format!("sasl.oauthbearer.client.secret.file={secret}"))),
        ("BEARER", oidc(&server, "sasl.oauthbearer.client.secret.command=printf se/same")),
        ("BEARER", https(format!("https.ca.location={}", ours.file()))),
        ("PLAIN", format!("{plain}&sasl.password.file={password}")),
        ("PLAIN", format!("{plain}&sasl.password.command=cat {password}")),
    ] {
        assert_eq!(ground.tries(door, &options).await, Ok(()), "{door} {options}");
    }
    let expired = ground.file("expired", &jwt("ferry", -10));
    let nobody = ground.file("nobody", &jwt("", 300));
    let wrong = ground.file("wrong", "open");
    let mut gone = TokenServer::start(300);
    gone.url = "http://127.0.0.1:1/token".into();
    for (door, options, setting) in [
        (
            "BEARER",
            format!("{OAUTH}&sasl.oauthbearer.token.file={expired}"),
            "token.file: the token has expired",
        ),
        (
            "BEARER",
            format!("{OAUTH}&sasl.oauthbearer.token.file={nobody}"),
            "the broker does not take the token",
        ),
        (
            "BEARER",
            format!("{OAUTH}&sasl.oauthbearer.token.file={good}.none"),
            "token.file: the file cannot be read",
        ),
        (
            "BEARER",
            format!("{OAUTH}&sasl.oauthbearer.token.command=echo sesame%3B exit 3"),
            "token.command: it failed",
        ),
        (
            "BEARER",
            format!("{OAUTH}&sasl.oauthbearer.token.command=true"),
            "token.command: what is to be there",
        ),
        ("BEARER", OAUTH.to_owned(), "sasl.oauthbearer.token.command"),
        ("BEARER", oidc(&server, "sasl.oauthbearer.client.secret=open"), "check sasl.oauthbearer.client.id"),
        (
            "BEARER",
            oidc(&server, "sasl.oauthbearer.client.secret=se/same").replace("=kafka", "=x"),
            "check sasl.oauthbearer.scope",
        ),
        (
            "BEARER",
            oidc(&gone, "sasl.oauthbearer.client.secret=se/same"),
            "sasl.oauthbearer.token.endpoint.url: the endpoint cannot",
        ),
        ("BEARER", https(format!("https.ca.location={}", stranger.file())), "see https.ca.location"),
        ("BEARER", https(String::new()), "see https.ca.location"),
        ("BEARER", https(format!("https.ca.location={good}")), "https.ca.location"),
        (
            "PLAIN",
            format!("{OAUTH}&sasl.oauthbearer.token.file={good}"),
            "another way to log in: sasl.mechanisms",
        ),
        (
            "BEARER",
            format!("{plain}&sasl.password.file={password}"),
            "another way to log in: sasl.mechanisms",
        ),
        ("PLAIN", format!("{plain}&sasl.password.file={wrong}"), "sasl.password"),
        ("PLAIN", format!("{plain}&sasl.password.command=echo open"), "sasl.password"),
    ] {
        let said = ground.tries(door, &options).await.unwrap_err();
        assert!(said.contains(setting), "{door} {options}: {said}");
        for secret in ["sesame", "se/same", "open", "eyJ"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
    // Mended without a new publisher: the next session reads it anew, and what was refused is not kept.
    for how in ["file=", "command=cat "] {
        ground.file("wrong", "open");
        let mended = ground.config("PLAIN", &format!("{plain}&sasl.password.{how}{wrong}")).unwrap();
        let publisher = KafkaPublisher::new(mended).unwrap();
        publisher.connect(Role::Main).await.map(drop).unwrap_err();
        ground.file("wrong", "sesame");
        drop(publisher.connect(Role::Main).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_programs_own_tokens_let_in() {
    let ground = Ground::new();
    let in_a_minute = || SystemTime::now() + Duration::from_secs(60);
    let source = move || async move { Ok(OauthToken::new(jwt("ferry", 60), in_a_minute())) };
    assert_eq!(ground.enters(ground.config("BEARER", OAUTH).unwrap().oauth_token(source)).await, Ok(()));
    let source = || async { Err("the vault is sealed".into()) };
    let said = ground.enters(ground.config("BEARER", OAUTH).unwrap().oauth_token(source)).await.unwrap_err();
    assert!(said.contains("own source of tokens: the vault is sealed"), "{said}");
    let source = || async { Ok(OauthToken::new(jwt("ferry", 60), SystemTime::UNIX_EPOCH)) };
    let said = ground.enters(ground.config("BEARER", OAUTH).unwrap().oauth_token(source)).await.unwrap_err();
    assert!(said.contains("the token has expired"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_while_a_session_lives() {
    const LIFE: i64 = 6;
    let ground = Ground::new();
    let server = TokenServer::start(LIFE);
    let options = oidc(&server, "sasl.oauthbearer.client.secret=se/same");
    let mut session = ground.sends("BEARER", &options, "renewed").await;
    let (started, mut number) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(3 * LIFE as u64) {
        let took = sent(&mut session, "renewed", number).await;
        assert!(took < Duration::from_secs(2), "event {number} took {took:?}");
        number += 1;
        // waits: so that time goes by with the session at work
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!((4..=12).contains(&server.given()), "{} tokens", server.given());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_is_read_again_while_a_session_lives() {
    let ground = Ground::new();
    let file = ground.file("password", "sesame");
    let options = format!("{SASL}&sasl.mechanisms=PLAIN&sasl.username=ferry&sasl.password.file={file}");
    let mut session = ground.sends("AGAIN", &options, "rotated").await;
    sent(&mut session, "rotated", 0).await;
    ground.file("password", "open");
    let started = Instant::now();
    // The connection holds until the broker asks again, and the wrong password is known by then or at the next time.
    let mut number = 1;
    loop {
        assert_eq!(send(&mut session, number, &numbered("rotated", number, 10)), Taken::Yes);
        let mut answers = Vec::new();
        let answered = tokio::time::timeout(Duration::from_secs(2), session.reports(&mut answers)).await;
        if answered.is_err() {
            break;
        }
        number += 1;
        assert!(started.elapsed() < PATIENCE, "it is let in with a wrong password");
        // waits: between two tries
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ground.file("password", "sesame");
    let answers = reports(&mut session, 1).await;
    assert_eq!(said(&answers[0]), Said::Acknowledged, "the same session goes on: {answers:?}");
}
