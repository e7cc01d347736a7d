//! Logging in: each way on a real broker that wants it, and what is said where it fails.

use std::process::Command;
use std::time::Duration;

use eventferry_core::publisher::{Publisher as _, Role, Session as _};
use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};

use crate::authority::{Authority, locked};
use crate::own_broker::{Door, FERRY, OwnBroker};

struct Ground {
    broker: OwnBroker,
    ours: Authority,
    stranger: Authority,
}

impl Ground {
    fn new() -> Self {
        let (ours, stranger) = (Authority::new("ours"), Authority::new("another"));
        let keystore = |name: &str, year: i32| {
            let [_, pem] = ours.sign(name, year);
            format!("ssl.keystore.type=PEM\nssl.keystore.location={pem}\n")
        };
        let (good, expired, other) =
            (keystore("localhost", 2100), keystore("localhost", 2021), keystore("other.example", 2100));
        let trust = format!("ssl.truststore.type=PEM\nssl.truststore.location={}\n", ours.file());
        let scram = |mechanism: &str| {
            format!(
                "{}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
                mechanism.to_lowercase()
            )
        };
        let scram = format!(
            "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512\n{}{}",
            scram("SCRAM-SHA-256"),
            scram("SCRAM-SHA-512")
        );
        let door = |name, protocol, settings: String| Door { name, protocol, settings };
        let doors = [
            door("OPEN", "PLAINTEXT", String::new()),
            door("TLS", "SSL", good.clone()),
            door("EXPIRED", "SSL", expired),
            door("OTHER", "SSL", other),
            door("MUTUAL", "SSL", format!("{good}{trust}ssl.client.auth=required\n")),
            door("PLAIN", "SASL_SSL", format!("{good}{FERRY}")),
            door("SCRAM", "SASL_SSL", format!("{good}{scram}")),
        ];
        let users =
            ["SCRAM-SHA-256=[name=ferry,password=sesame]", "SCRAM-SHA-512=[name=ferry,password=sesame]"];
        Self { broker: OwnBroker::start(&doors, &users), ours, stranger }
    }

    /// What becomes of a session at a door, with these options.
    async fn enters(&self, door: &str, options: &str) -> Result<(), String> {
        enters(&self.url(door, options)).await
    }

    fn url(&self, door: &str, options: &str) -> String {
        format!("kafka://localhost:{}?{options}", self.broker.port(door))
    }
}

/// What becomes of a session.
async fn enters(url: &str) -> Result<(), String> {
    let config = KafkaConfig::from_url(url).map_err(|fault| fault.to_string())?;
    let publisher = KafkaPublisher::new(config).map_err(|fault| fault.to_string())?;
    let session = publisher.connect(Role::Main).await.map_err(|fault| fault.to_string())?;
    session.abandon(Duration::ZERO).await;
    Ok(())
}

/// A file's text as a value in a URL.
fn encoded(file: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_in_is_open_to_who_may_and_says_to_others_which_setting_is_wrong() {
    let ground = Ground::new();
    let ca = format!("ssl.ca.location={}", ground.ours.file());
    let [key, pem] = ground.ours.sign("relay", 2100);
    let own = format!("ssl.certificate.location={pem}&ssl.key.location={key}");
    let inline = format!("ssl.certificate.pem={}&ssl.key.pem={}", encoded(&pem), encoded(&key));
    let [late_key, late] = ground.ours.sign("relay", 2021);
    let late = format!("ssl.certificate.location={late}&ssl.key.location={late_key}");
    let [key, pem] = ground.stranger.sign("relay", 2100);
    let anothers = format!("ssl.certificate.location={pem}&ssl.key.location={key}");
    let stranger = format!("ssl.ca.location={}", ground.stranger.file());
    let sasl = |mechanism: &str, password: &str| {
        format!(
            "security.protocol=sasl_ssl&{ca}&sasl.mechanisms={mechanism}&sasl.username=ferry&sasl.password={password}"
        )
    };
    let tls = "security.protocol=ssl";
    for (door, options) in [
        ("OPEN", String::new()),
        ("TLS", format!("{tls}&{ca}")),
        ("TLS", format!("{tls}&ssl.ca.pem={}", encoded(&ground.ours.file()))),
        ("MUTUAL", format!("{tls}&{ca}&{own}")),
        ("MUTUAL", format!("{tls}&{ca}&{inline}")),
        ("PLAIN", sasl("PLAIN", "sesame")),
        ("SCRAM", sasl("SCRAM-SHA-256", "sesame")),
        ("SCRAM", sasl("SCRAM-SHA-512", "sesame")),
    ] {
        let entered = ground.enters(door, &options).await;
        assert_eq!(entered, Ok(()), "{door} {options}");
    }
    for (door, options, setting) in [
        ("TLS", format!("{tls}&{stranger}"), "ssl.ca.location"),
        ("TLS", tls.to_owned(), "ssl.ca.location"),
        ("EXPIRED", format!("{tls}&{ca}"), "expired"),
        ("OTHER", format!("{tls}&{ca}"), "ssl.endpoint.identification.algorithm"),
        ("MUTUAL", format!("{tls}&{ca}"), "ssl.certificate.location"),
        ("MUTUAL", format!("{tls}&{ca}&{anothers}"), "ssl.certificate.location"),
        ("MUTUAL", format!("{tls}&{ca}&{late}"), "ssl.certificate.location"),
        ("PLAIN", sasl("PLAIN", "open"), "sasl.password"),
        ("SCRAM", sasl("SCRAM-SHA-256", "open"), "sasl.password"),
        ("SCRAM", sasl("SCRAM-SHA-512", "open"), "sasl.password"),
        ("PLAIN", sasl("SCRAM-SHA-256", "sesame"), "sasl.mechanisms"),
        ("PLAIN", sasl("sesame", "sesame"), "sasl.mechanisms: there is none of that name"),
        ("TLS", String::new(), "security.protocol"),
        ("OPEN", format!("{tls}&{ca}"), "security.protocol"),
    ] {
        let said = ground.enters(door, &options).await.unwrap_err();
        assert!(said.contains(setting), "{door} {options}: {said}");
        assert!(!said.contains("sesame") && !said.contains("=open"), "{said}");
    }
}

/// Tells the next test where to go, in a process of its own: where a system keeps its authorities is asked of the
/// environment, which is a whole process's.
const DOOR: &str = "EVENTFERRY_TEST_DOOR";

#[tokio::test(flavor = "multi_thread")]
async fn authorities_that_the_system_trusts_are_trusted() {
    if let Ok(url) = std::env::var(DOOR) {
        assert_eq!(enters(&url).await, Ok(()));
        return;
    }
    let ground = Ground::new();
    for (trusted, is_ours) in [(&ground.ours, true), (&ground.stranger, false)] {
        let mut itself = Command::new(std::env::current_exe().unwrap());
        itself.args(["--exact", "login::authorities_that_the_system_trusts_are_trusted", "--nocapture"]);
        itself.env(DOOR, ground.url("TLS", "security.protocol=ssl")).env("SSL_CERT_FILE", trusted.file());
        let output = itself.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_ours, "{said}");
        assert!(is_ours || said.contains("ssl.ca.location"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_opens_with_its_password_and_with_no_other() {
    let ground = Ground::new();
    let [key, pem] = ground.ours.sign("relay", 2100);
    let [anothers, _] = ground.ours.sign("another", 2100);
    let locked = locked(&key, "sesame");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "sesame\n").unwrap();
    let file = file.display();
    let base = format!(
        "security.protocol=ssl&ssl.ca.location={}&ssl.certificate.location={pem}",
        ground.ours.file()
    );
    let located = format!("{base}&ssl.key.location={locked}");
    let inline = format!("{base}&ssl.key.pem={}", encoded(&locked));
    for key in [&located, &inline] {
        for password in ["=sesame".to_owned(), format!(".file={file}"), format!(".command=cat {file}")] {
            let options = format!("{key}&ssl.key.password{password}");
            assert_eq!(ground.enters("MUTUAL", &options).await, Ok(()), "{options}");
        }
    }
    let long = "open".repeat(300);
    for (options, setting) in [
        (
            format!("{located}&ssl.key.password=open"),
            "ssl.key.password: it does not open the key of ssl.key.location",
        ),
        (
            format!("{inline}&ssl.key.password=open"),
            "ssl.key.password: it does not open the key of ssl.key.pem",
        ),
        (format!("{located}&ssl.key.password.file={pem}"), "ssl.key.password.file: it does not open"),
        (
            format!("{located}&ssl.key.password.command=echo open"),
            "ssl.key.password.command: it does not open",
        ),
        (format!("{located}&ssl.key.password.command=false"), "ssl.key.password.command: it failed"),
        (format!("{located}&ssl.key.password={long}"), "ssl.key.password: it is longer"),
        (located.clone(), "ssl.key.password: the key of ssl.key.location is encrypted"),
        (inline.clone(), "ssl.key.password: the key of ssl.key.pem is encrypted"),
        (
            format!("{located}&ssl.key.password=sesame&ssl.key.password.file={file}"),
            "ssl.key.password and ssl.key.password.file exclude each other",
        ),
        (format!("{base}&ssl.key.password.file={file}"), "ssl.key.password.file needs ssl.key.location"),
        (
            format!("{base}&ssl.key.location={anothers}"),
            "ssl.certificate.location, ssl.key.location: the key is not the certificate's",
        ),
        (
            format!("{base}&ssl.key.location={}", ground.ours.file()),
            "ssl.key.location: there is no private key",
        ),
        (format!("{base}&ssl.key.location={key}.none"), "ssl.key.location: the file cannot be read"),
        (
            format!("security.protocol=ssl&ssl.certificate.location={key}&ssl.key.location={key}"),
            "ssl.certificate.location: there is no certificate",
        ),
        (format!("security.protocol=ssl&ssl.ca.location={key}"), "ssl.ca.location: there is no certificate"),
    ] {
        let said = ground.enters("MUTUAL", &options).await.unwrap_err();
        assert!(said.contains(setting), "{options}: {said}");
        assert!(!said.contains("sesame") && !said.contains("open&") && !said.contains("openopen"), "{said}");
    }
}
