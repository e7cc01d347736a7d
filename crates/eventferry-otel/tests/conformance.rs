//! The contract's clauses for publishers, put to a model publisher that is traced: what is decorated carries as before,
//! in transactions too.

use std::process::ExitCode;

use eventferry_conformance::Trouble;
use eventferry_conformance::publisher::model::{Model, ModelPublisher};
use eventferry_conformance::publisher::{Delivered, Reach, Subject};
use eventferry_otel::Traced;

struct TracedModel(Model);

impl Subject for TracedModel {
    type Publisher = Traced<ModelPublisher>;

    fn reach(&self) -> Reach {
        Reach { partitions: true, times: true, limits: true }
    }

    async fn publisher(&self) -> Result<Traced<ModelPublisher>, Trouble> {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        Ok(Traced::new(self.0.publisher().await?).tracer_provider(&provider))
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
        eventferry_conformance::model::block_on(work)
    }
}

fn main() -> ExitCode {
    eventferry_conformance::publisher::main(TracedModel(Model::default()))
}
