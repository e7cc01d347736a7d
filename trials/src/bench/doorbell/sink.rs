//! A broker that takes everything at once, and forgets it.

use std::time::Duration;

use eventferry::core::publisher::{
    Abilities, Domain, Outcome, Pipeline, Publisher, Refusal, Report, Role, Route, Session, Taken, Token,
};
use eventferry::core::{Envelope, OutboxId, PublishFault, PublishFaultKind, Stamp};

/// The broker.
pub(super) struct Sink;

/// What was sent and is not reported yet.
#[derive(Default)]
pub(super) struct SinkSession(Vec<Report>);

impl Publisher for Sink {
    type Session = SinkSession;

    fn abilities(&self) -> Abilities {
        Abilities {
            pipeline: Pipeline::Gapless,
            first_alone: None,
            refusal: Refusal::PerRecord,
            durable_ack: true,
            transactions: None,
        }
    }

    async fn connect(&self, _: Role) -> Result<SinkSession, PublishFault> {
        Ok(SinkSession::default())
    }

    async fn take_over(&self, _: &OutboxId) -> Result<(SinkSession, Option<Stamp>), PublishFault> {
        Err(PublishFault::new(PublishFaultKind::Misconfigured, "this broker has no transactions"))
    }

    async fn learn(&self, _: &str) -> Result<(), PublishFault> {
        Ok(())
    }

    fn route(&self, _: &Envelope<'_>) -> Route {
        Route::To(Domain(0))
    }
}

impl Session for SinkSession {
    fn send(&mut self, token: Token, _: Domain, _: &Envelope<'_>) -> Taken {
        self.0.push(Report { token, outcome: Outcome::Acknowledged });
        Taken::Yes
    }

    fn begin(&mut self, _: Token, _: Stamp) -> Taken {
        Taken::Ended
    }

    fn commit(&mut self, _: Token) {}

    fn abort(&mut self, _: Token) {}

    async fn reports(&mut self, into: &mut Vec<Report>) {
        if self.0.is_empty() {
            std::future::pending::<()>().await;
        }
        into.append(&mut self.0);
    }

    async fn abandon(self, _: Duration) -> Vec<Report> {
        self.0
    }
}
