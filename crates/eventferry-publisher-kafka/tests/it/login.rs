//! Logging in: each way on a real broker that wants it, and what is said where it fails.

use eventferry_core::publisher::{Publisher as _, Role};
use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};

use crate::own_broker::{Authority, Door, OwnBroker};

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
        let plain = "plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
                     user_ferry=\"sesame\";\nsasl.enabled.mechanisms=PLAIN\n";
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
            door("PLAIN", "SASL_SSL", format!("{good}{plain}")),
            door("SCRAM", "SASL_SSL", format!("{good}{scram}")),
        ];
        let users =
            ["SCRAM-SHA-256=[name=ferry,password=sesame]", "SCRAM-SHA-512=[name=ferry,password=sesame]"];
        Self { broker: OwnBroker::start(&doors, &users), ours, stranger }
    }

    /// What becomes of a session at a door, with these options.
    async fn enters(&self, door: &str, options: &str) -> Result<(), String> {
        let url = format!("kafka://localhost:{}?{options}", self.broker.port(door));
        let config = KafkaConfig::from_url(&url).map_err(|fault| fault.to_string())?;
        let publisher = KafkaPublisher::new(config).map_err(|fault| fault.to_string())?;
        let session = publisher.connect(Role::Main).await.map_err(|fault| fault.to_string())?;
        eventferry_core::publisher::Session::abandon(session, std::time::Duration::ZERO).await;
        Ok(())
    }
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
        ("PLAIN", sasl("PLAIN", "open"), "sasl.password"),
        ("SCRAM", sasl("SCRAM-SHA-256", "open"), "sasl.password"),
        ("SCRAM", sasl("SCRAM-SHA-512", "open"), "sasl.password"),
        ("PLAIN", sasl("SCRAM-SHA-256", "sesame"), "sasl.mechanisms"),
        ("TLS", String::new(), "security.protocol"),
        ("OPEN", format!("{tls}&{ca}"), "security.protocol"),
    ] {
        let said = ground.enters(door, &options).await.unwrap_err();
        assert!(said.contains(setting), "{door} {options}: {said}");
        assert!(!said.contains("sesame") && !said.contains("=open"), "{said}");
    }
}
