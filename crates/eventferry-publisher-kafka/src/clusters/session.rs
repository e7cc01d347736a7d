//! One session with each cluster, which begin and end together.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use eventferry_core::publisher::{Domain, Report, Session, Taken, Token};
use eventferry_core::{Envelope, Stamp};
use tokio::sync::Notify;

use super::{cluster_in, own_domain};
use crate::credentials::Edition;
use crate::session::{Streaming, rung};

/// A session with several Kafka clusters; see [`KafkaClusters`](super::KafkaClusters).
///
/// Dropping it without [`Session::abandon`] gives up what is in flight, unreported.
pub struct KafkaClustersSession {
    /// In the order of the clusters.
    sessions: Vec<Streaming>,
    /// Rung by each of them.
    bell: Arc<Notify>,
}

impl KafkaClustersSession {
    pub(super) fn new(sessions: Vec<Streaming>) -> Self {
        let bell = Arc::<Notify>::default();
        sessions.iter().for_each(|session| session.ring_also(Arc::clone(&bell)));
        Self { sessions, bell }
    }

    /// Waits for reports, whatever certificates there are.
    async fn reported(&mut self, into: &mut Vec<Report>) {
        let before = into.len();
        loop {
            // All of them each time: none waits for another, however much that one has to say.
            let again_at = self.sessions.iter_mut().filter_map(|session| session.take_reports(into)).min();
            if into.len() > before {
                return;
            }
            rung(&self.bell, again_at).await;
        }
    }
}

impl Session for KafkaClustersSession {
    fn send(&mut self, token: Token, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        // One that has ended ends all: after an outcome that is no acknowledgement, a session takes nothing more.
        if self.sessions.iter().any(Streaming::has_ended) {
            return Taken::Ended;
        }
        match self.sessions.get_mut(cluster_in(domain)) {
            Some(session) => session.send(token, own_domain(domain), envelope),
            None => Taken::Ended,
        }
    }

    /// A transaction is of one cluster.
    fn begin(&mut self, _: Token, _: Stamp) -> Taken {
        Taken::Ended
    }

    fn commit(&mut self, _: Token) {}

    fn abort(&mut self, _: Token) {}

    async fn reports(&mut self, into: &mut Vec<Report>) {
        let editions = self.sessions.iter().map(Streaming::edition).filter(|edition| edition.may_change());
        let editions: Vec<Edition> = editions.cloned().collect();
        let outdated = any(editions.into_iter().map(Edition::outdated));
        tokio::select! {
            biased;
            () = self.reported(into) => {}
            // Without a report: it is over.
            () = outdated => self.sessions.iter().for_each(Streaming::end),
        }
    }

    async fn abandon(self, within: Duration) -> Vec<Report> {
        let ends = self.sessions.into_iter().map(|session| session.abandon(within));
        all(ends).await.into_iter().flatten().collect()
    }
}

/// Waits for all of these at once. Their answers are in their order.
pub(super) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waited: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, answer) in waited.iter_mut().filter(|(_, answer)| answer.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                *answer = Some(ready);
            }
        }
        if waited.iter().all(|(_, answer)| answer.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waited.into_iter().filter_map(|(_, answer)| answer).collect()
}

/// Waits for one of these; for ever, if there is none.
fn any(futures: impl IntoIterator<Item = impl Future<Output = ()>>) -> impl Future<Output = ()> {
    let mut waited: Vec<_> = futures.into_iter().map(Box::pin).collect();
    poll_fn(move |context| {
        let is_ready = waited.iter_mut().any(|future| future.as_mut().poll(context).is_ready());
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
}
