//! The contract's clauses for publishers against two real Kafkas in one publisher: topics whose names end with an odd
//! digit are the second one's. So sessions have both, and clauses that use two topics use two clusters.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::process::ExitCode;

use eventferry_conformance::Trouble;
use eventferry_conformance::publisher::{Delivered, Reach, Subject};
use eventferry_publisher_kafka::{ClusterConfig, KafkaClusters};
use tokio::runtime::Runtime;

#[expect(dead_code, reason = "the bench of the other tests, of which the clauses need a part")]
#[path = "../it/bench.rs"]
mod bench;
mod delivered;
#[expect(dead_code, reason = "the broker of the other tests, of which the clauses need a part")]
#[path = "../it/own_broker.rs"]
mod own_broker;

struct Clusters {
    runtime: Runtime,
    even: bench::Kafka,
    odd: bench::Kafka,
    _broker: own_broker::OwnBroker,
}

impl Clusters {
    fn publisher(&self) -> Result<KafkaClusters, Trouble> {
        let odd = ClusterConfig::new("odd", self.odd.config()).topics(["*1", "*3", "*5", "*7", "*9"]);
        Ok(KafkaClusters::new([odd, ClusterConfig::new("even", self.even.config())])?)
    }

    fn of(&self, topic: &str) -> &bench::Kafka {
        if topic.ends_with(['1', '3', '5', '7', '9']) { &self.odd } else { &self.even }
    }
}

impl Subject for Clusters {
    type Publisher = KafkaClusters;

    fn reach(&self) -> Reach {
        Reach { partitions: true, times: true, limits: true }
    }

    async fn publisher(&self) -> Result<KafkaClusters, Trouble> {
        Clusters::publisher(self)
    }

    async fn create(&self, topic: &str, partitions: u16) -> Result<(), Trouble> {
        self.of(topic).create(topic, i32::from(partitions), &[]).await;
        Ok(())
    }

    async fn limit(&self, topic: &str, bytes: usize) -> Result<(), Trouble> {
        self.of(topic).limit(topic, bytes).await;
        Ok(())
    }

    async fn read(&self, topic: &str) -> Result<Vec<Delivered>, Trouble> {
        Ok(self.of(topic).read(topic).await.iter().map(delivered::delivered).collect())
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

fn main() -> ExitCode {
    let runtime = Runtime::new().unwrap();
    let broker = own_broker::OwnBroker::start(&[], &[]);
    let (even, odd) = (bench::Kafka::find(), bench::Kafka::at(broker.judge()));
    eventferry_conformance::publisher::main(Clusters { runtime, even, odd, _broker: broker })
}
