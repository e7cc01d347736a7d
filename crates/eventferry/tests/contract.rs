//! CONTRACT.md says which clause applies to which back end; the back ends' own suites prove that they keep it.

use std::path::Path;

use eventferry::core::publisher::Publisher;
use eventferry::core::store::Store;
use eventferry::kafka::{ClusterConfig, KafkaClusters, KafkaConfig, KafkaPublisher};
use eventferry::postgres::{FeedChoice, PostgresConfig, PostgresStore};
use eventferry::sqlite::{SqliteConfig, SqliteStore};
use eventferry_conformance::{Declared, Reach, Writers, publisher, render_contract_md};

#[test]
fn the_page_says_what_the_back_ends_declare() {
    let postgres = |feed| {
        let config = PostgresConfig::from_url("postgres://host/database").unwrap();
        PostgresStore::new(config.feed(feed)).capabilities()
    };
    let sqlite = SqliteStore::new(SqliteConfig::from_url("sqlite:///app.db").unwrap());
    // What the suites of the back ends say of themselves, in each crate's tests/conformance.
    let reach = Reach { rewinds: true, audits: true };
    let postgres = |feed, reach| Declared { capabilities: postgres(feed), writers: Writers::Many, reach };
    let sqlite = Declared { capabilities: sqlite.capabilities(), writers: Writers::One, reach };
    let stores = [
        ("PostgreSQL", postgres(FeedChoice::Table, reach)),
        ("its log's tail", postgres(FeedChoice::TailTable, reach)),
        ("messages in its log", postgres(FeedChoice::TailMessages, Reach { rewinds: false, ..reach })),
        ("SQLite", sqlite),
    ];
    let kafka = KafkaPublisher::new(KafkaConfig::new("host:9092")).unwrap();
    let reach = publisher::Reach { partitions: true, times: true, limits: true };
    let clusters = KafkaClusters::new([ClusterConfig::new("one", KafkaConfig::new("host:9092"))]).unwrap();
    let publishers = [
        ("Kafka", publisher::Declared { abilities: kafka.abilities(), reach }),
        ("several Kafka clusters", publisher::Declared { abilities: clusters.abilities(), reach }),
    ];
    let page = render_contract_md(&stores, &publishers);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../CONTRACT.md");
    if std::env::var_os("EVENTFERRY_WRITE_CONTRACT").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        checked_in == page,
        "CONTRACT.md is not what the clauses say: run EVENTFERRY_WRITE_CONTRACT=1 cargo test -p eventferry \
         --features postgres,sqlite,kafka --test contract, and look at the difference"
    );
}
