//! A publisher with a serializer before it.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventferry_core::publisher::{
    Abilities, Domain, Outcome, Publisher, Report, Role, Route, Session, Taken, Token,
};
use eventferry_core::{Envelope, NotSerialized, OutboxId, PublishFault, PublishFaultKind, Serializer, Stamp};

/// A publisher whose events a [`Serializer`] turns into what is sent.
///
/// What cannot be serialized is refused before it is produced. What the serializer must learn holds its own topic, and
/// no other: it is asked to when an event was unknown to it, and never for the topic of dead letters.
pub struct Serializing<P, S> {
    publisher: P,
    /// None if it would change nothing.
    serializer: Option<Arc<S>>,
    /// Topics that the serializer is to learn. Topics of dead letters are never among them.
    unknown: Mutex<BTreeSet<String>>,
}

impl<P, S: Serializer> Serializing<P, S> {
    /// `publisher`, with `serializer` before it.
    pub fn new(publisher: P, serializer: S) -> Self {
        let serializer = (!serializer.is_idle()).then(|| Arc::new(serializer));
        Self { publisher, serializer, unknown: Mutex::default() }
    }

    fn session<T>(&self, session: T) -> SerializingSession<T, S> {
        SerializingSession { session, serializer: self.serializer.clone(), refused: Vec::new(), ended: false }
    }
}

impl<P: fmt::Debug, S> fmt::Debug for Serializing<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serializing").field("publisher", &self.publisher).finish_non_exhaustive()
    }
}

impl<P: Publisher, S: Serializer> Publisher for Serializing<P, S> {
    type Session = SerializingSession<P::Session, S>;

    fn abilities(&self) -> Abilities {
        self.publisher.abilities()
    }

    async fn connect(&self, role: Role) -> Result<Self::Session, PublishFault> {
        Ok(self.session(self.publisher.connect(role).await?))
    }

    async fn take_over(&self, outbox: &OutboxId) -> Result<(Self::Session, Option<Stamp>), PublishFault> {
        let (session, stamp) = self.publisher.take_over(outbox).await?;
        Ok((self.session(session), stamp))
    }

    async fn learn(&self, topic: &str) -> Result<(), PublishFault> {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).contains(topic);
        if let Some(serializer) = self.serializer.as_ref().filter(|_| unknown) {
            serializer.learn(topic).await?;
            self.unknown.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
        }
        self.publisher.learn(topic).await
    }

    fn route(&self, envelope: &Envelope<'_>) -> Route {
        let (Some(serializer), Some(row)) = (&self.serializer, envelope.event()) else {
            return self.publisher.route(envelope);
        };
        match serializer.serialize(row) {
            Ok(serialized) => self.publisher.route(&Envelope::of(&serialized.view(row))),
            Err(NotSerialized::Refused(fault)) => Route::Refused(fault),
            Err(NotSerialized::Unknown) => {
                let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
                unknown.insert(row.topic().to_owned());
                Route::Unknown
            }
        }
    }
}

/// A session of [`Serializing`].
pub struct SerializingSession<T, S> {
    session: T,
    serializer: Option<Arc<S>>,
    /// What could be serialized when it was routed and could not when it was sent. Nothing is taken after it.
    refused: Vec<Report>,
    ended: bool,
}

impl<T: fmt::Debug, S> fmt::Debug for SerializingSession<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerializingSession").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<T: Session, S: Serializer> Session for SerializingSession<T, S> {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        if self.ended {
            // Until it is reported nobody can know.
            return if self.refused.is_empty() { Taken::Ended } else { Taken::Full };
        }
        let (Some(serializer), Some(row)) = (&self.serializer, envelope.event()) else {
            return self.session.send(token, domain, envelope);
        };
        let fault = match serializer.serialize(row) {
            Ok(serialized) => {
                return self.session.send(token, domain, &Envelope::of(&serialized.view(row)));
            }
            Err(NotSerialized::Refused(fault)) => fault,
            Err(NotSerialized::Unknown) => {
                let message = format!("what topic {} is serialized by was forgotten meanwhile", row.topic());
                Box::new(PublishFault::new(PublishFaultKind::Unavailable, message))
            }
        };
        self.ended = true;
        self.refused.push(Report { token, outcome: Outcome::Refused(fault) });
        Taken::Yes
    }

    fn begin(&mut self, token: Token, stamp: Stamp) -> Taken {
        self.session.begin(token, stamp)
    }

    fn commit(&mut self, token: Token) {
        self.session.commit(token);
    }

    fn abort(&mut self, token: Token) {
        self.ended = false;
        self.session.abort(token);
    }

    async fn reports(&mut self, into: &mut Vec<Report>) {
        if self.refused.is_empty() {
            self.session.reports(into).await;
        } else {
            into.append(&mut self.refused);
        }
    }

    fn abandon(self, within: Duration) -> impl Future<Output = Vec<Report>> + Send {
        let Self { session, mut refused, .. } = self;
        async move {
            refused.append(&mut session.abandon(within).await);
            refused
        }
    }
}
