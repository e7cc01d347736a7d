//! Features choose what is built: who carries from PostgreSQL to Kafka builds no format, no telemetry and no other
//! driver.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

/// What comes with features of its own: formats and their schemas, telemetry, drivers. A `*` stands for the rest.
const APART: [&str; 22] = [
    "eventferry-events",
    "eventferry-schema-registry",
    "eventferry-serializer-avro",
    "eventferry-serializer-protobuf",
    "eventferry-serializer-json-schema",
    "eventferry-serializer-cloudevents",
    "eventferry-otel",
    "apache-avro",
    "prost*",
    "protox*",
    "jsonschema*",
    "schemars*",
    "schema_registry_converter",
    "opentelemetry*",
    "tracing-opentelemetry",
    "diesel*",
    "pq-sys",
    "sea-*",
    "sqlx*",
    "rusqlite",
    "libsqlite3-sys",
    "deadpool-postgres",
];

/// The crates that are built for the front door with these words of cargo's.
fn built_with(words: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--locked", "-e", "normal", "-p", "eventferry", "--prefix", "none"]);
    let output =
        cargo.args(["-f", "{p}"]).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn is(name: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |family| name.starts_with(family))
}

/// Which of those that come with features of their own are built.
fn apart(built: &BTreeSet<String>) -> BTreeSet<&str> {
    let is_apart = |name: &&str| APART.iter().any(|pattern| is(name, pattern));
    built.iter().map(String::as_str).filter(is_apart).collect()
}

#[test]
fn postgres_and_kafka_alone_pull_no_format_no_telemetry_and_no_other_driver() {
    for words in [
        &["--features", "postgres,kafka"][..],
        &["--no-default-features", "--features", "postgres,kafka"],
        &["--features", "postgres-tls,kafka-tls,consumer-kafka,inbox-postgres"],
    ] {
        let built = built_with(words);
        assert!(built.contains("tokio-postgres") && built.contains("rdkafka"), "{words:?}: {built:?}");
        assert_eq!(apart(&built), BTreeSet::new(), "{words:?}");
    }
}

#[test]
fn each_driver_comes_with_its_feature_and_brings_no_other_along() {
    for (feature, own) in [
        ("sqlx", &["sqlx*"][..]),
        ("sqlx-08", &["sqlx*"]),
        ("diesel", &["diesel*"]),
        ("diesel-async", &["diesel*"]),
        // It is made of sqlx.
        ("sea-orm", &["sea-*", "sqlx*"]),
        ("sqlite", &["rusqlite", "libsqlite3-sys"]),
        ("sqlx-sqlite", &["rusqlite", "libsqlite3-sys", "sqlx*"]),
        ("sea-orm-sqlite", &["rusqlite", "libsqlite3-sys", "sqlx*", "sea-*"]),
    ] {
        let built = built_with(&["--no-default-features", "--features", feature]);
        let found = apart(&built);
        for pattern in own {
            assert!(found.iter().any(|name| is(name, pattern)), "{feature}: no {pattern} in {found:?}");
        }
        let others: Vec<_> = found.iter().filter(|name| !own.iter().any(|own| is(name, own))).collect();
        assert_eq!(others, Vec::<&&str>::new(), "{feature}");
    }
}
