//! The publisher with its types taken off, so that a clause is one plain function for every publisher.

use std::sync::Arc;
use std::time::Duration;

use eventferry_core::publisher::{Abilities, Domain, Publisher, Report, Role, Route, Session, Taken, Token};
use eventferry_core::{Envelope, OutboxId, PublishFault, Stamp};

use super::subject::{Delivered, Reach, Subject};
use crate::erased::Work;
use crate::subject::Trouble;

/// A broker and how its publishers are made.
pub(crate) trait AnySubject {
    fn reach(&self) -> Reach;
    fn patience(&self) -> Duration;
    fn publisher(&self) -> Work<'_, Result<Box<dyn AnyPublisher>, Trouble>>;
    fn create<'a>(&'a self, topic: &'a str, partitions: u16) -> Work<'a, Result<(), Trouble>>;
    fn limit<'a>(&'a self, topic: &'a str, bytes: usize) -> Work<'a, Result<(), Trouble>>;
    fn read<'a>(&'a self, topic: &'a str) -> Work<'a, Result<Vec<Delivered>, Trouble>>;
}

/// A publisher.
pub(crate) trait AnyPublisher {
    fn abilities(&self) -> Abilities;
    fn connect(&self, role: Role) -> Work<'_, Result<Box<dyn AnySession>, PublishFault>>;
    fn take_over<'a>(&'a self, outbox: &'a OutboxId) -> Work<'a, Result<TakenOver, PublishFault>>;
    fn learn<'a>(&'a self, topic: &'a str) -> Work<'a, Result<(), PublishFault>>;
    fn route(&self, envelope: &Envelope<'_>) -> Route;
}

/// A session of transactions, and the stamp committed last before it.
pub(crate) type TakenOver = (Box<dyn AnySession>, Option<Stamp>);

/// A session.
pub(crate) trait AnySession {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken;
    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken;
    fn commit(&mut self, token: Token);
    fn abort(&mut self, token: Token);
    fn reports<'a>(&'a mut self, into: &'a mut Vec<Report>) -> Work<'a, ()>;
    fn abandon(self: Box<Self>, within: Duration) -> Work<'static, Vec<Report>>;
}

pub(crate) struct Shore<S>(pub(crate) Arc<S>);

impl<S: Subject> AnySubject for Shore<S> {
    fn reach(&self) -> Reach {
        self.0.reach()
    }

    fn patience(&self) -> Duration {
        self.0.patience()
    }

    fn publisher(&self) -> Work<'_, Result<Box<dyn AnyPublisher>, Trouble>> {
        Box::pin(async { Ok(Box::new(Shell(self.0.publisher().await?)) as Box<dyn AnyPublisher>) })
    }

    fn create<'a>(&'a self, topic: &'a str, partitions: u16) -> Work<'a, Result<(), Trouble>> {
        Box::pin(self.0.create(topic, partitions))
    }

    fn limit<'a>(&'a self, topic: &'a str, bytes: usize) -> Work<'a, Result<(), Trouble>> {
        Box::pin(self.0.limit(topic, bytes))
    }

    fn read<'a>(&'a self, topic: &'a str) -> Work<'a, Result<Vec<Delivered>, Trouble>> {
        Box::pin(self.0.read(topic))
    }
}

struct Shell<P>(P);

impl<P: Publisher> AnyPublisher for Shell<P> {
    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn connect(&self, role: Role) -> Work<'_, Result<Box<dyn AnySession>, PublishFault>> {
        Box::pin(async move { Ok(Box::new(Hands(self.0.connect(role).await?)) as Box<dyn AnySession>) })
    }

    fn take_over<'a>(&'a self, outbox: &'a OutboxId) -> Work<'a, Result<TakenOver, PublishFault>> {
        Box::pin(async move {
            let (session, last) = self.0.take_over(outbox).await?;
            Ok((Box::new(Hands(session)) as Box<dyn AnySession>, last))
        })
    }

    fn learn<'a>(&'a self, topic: &'a str) -> Work<'a, Result<(), PublishFault>> {
        Box::pin(self.0.learn(topic))
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        self.0.route(envelope)
    }
}

struct Hands<S>(S);

impl<S: Session> AnySession for Hands<S> {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        self.0.send(token, domain, envelope)
    }

    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken {
        self.0.begin(token, stamp)
    }

    fn commit(&mut self, token: Token) {
        self.0.commit(token);
    }

    fn abort(&mut self, token: Token) {
        self.0.abort(token);
    }

    fn reports<'a>(&'a mut self, into: &'a mut Vec<Report>) -> Work<'a, ()> {
        Box::pin(self.0.reports(into))
    }

    fn abandon(self: Box<Self>, within: Duration) -> Work<'static, Vec<Report>> {
        Box::pin(self.0.abandon(within))
    }
}
