//! The contract's clauses for publishers against a real Kafka: see `eventferry-conformance`.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::process::ExitCode;

use eventferry_conformance::Trouble;
use eventferry_conformance::publisher::{Delivered, Reach, Subject};
use eventferry_publisher_kafka::KafkaPublisher;
use tokio::runtime::Runtime;

#[expect(dead_code, reason = "the bench of the other tests, of which the clauses need a part")]
#[path = "../it/bench.rs"]
mod bench;
mod delivered;

struct Kafka {
    runtime: Runtime,
    kafka: bench::Kafka,
}

impl Subject for Kafka {
    type Publisher = KafkaPublisher;

    fn reach(&self) -> Reach {
        Reach { partitions: true, times: true, limits: true }
    }

    async fn publisher(&self) -> Result<KafkaPublisher, Trouble> {
        Ok(KafkaPublisher::new(self.kafka.config())?)
    }

    async fn create(&self, topic: &str, partitions: u16) -> Result<(), Trouble> {
        self.kafka.create(topic, i32::from(partitions), &[]).await;
        Ok(())
    }

    async fn limit(&self, topic: &str, bytes: usize) -> Result<(), Trouble> {
        self.kafka.limit(topic, bytes).await;
        Ok(())
    }

    async fn read(&self, topic: &str) -> Result<Vec<Delivered>, Trouble> {
        Ok(self.kafka.read(topic).await.iter().map(delivered::delivered).collect())
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

fn main() -> ExitCode {
    let runtime = Runtime::new().unwrap();
    let kafka = bench::Kafka::find();
    eventferry_conformance::publisher::main(Kafka { runtime, kafka })
}
