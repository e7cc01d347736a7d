//! Taking a cluster over for an outbox: its transactional ids first, then what was committed under them.

use std::time::Instant;

use eventferry_core::publisher::Role;
use eventferry_core::{OutboxId, PublishFault, PublishFaultKind, Stamp};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use tokio::task::spawn_blocking;

use crate::fault::fault_of;
use crate::publisher::{ANSWER_MAX, KafkaPublisher, open, shutting_down};
use crate::session::{IDS, KafkaSession, Streaming};
use crate::stamp;

impl KafkaPublisher {
    pub(crate) async fn take_over_from(
        &self,
        outbox: &OutboxId,
    ) -> Result<(KafkaSession, Option<Stamp>), PublishFault> {
        let config = self.config();
        let stamps = stamp::topic(&config.stamps_prefix, outbox);
        let (surroundings, limits) = (self.surroundings().clone(), self.limits());
        let mut clients = Vec::with_capacity(IDS);
        for number in 0..IDS {
            let id = format!("eventferry-{}-{}-{number}", outbox.0, stamp::PARTITION);
            let mut client = config.transactional(&id, limits.batch_bytes);
            self.set_secret(&mut client).await?;
            clients.push(client);
        }
        let mut reads = config.consumer("eventferry");
        // That there is no more is told by an empty answer, for which the broker would wait.
        reads.set("fetch.wait.max.ms", "5");
        // A follower nearby may not have heard of the last commit.
        reads.set("client.rack", "");
        self.set_secret(&mut reads).await?;
        let keeper = surroundings.keeper.clone();
        let admin = self.admin_client().await?;
        let made = stamp::ensure(&admin, &stamps);
        let opened = spawn_blocking({
            let stamps = stamps.clone();
            move || {
                let open = |client: rdkafka::ClientConfig| {
                    let half = open(Role::Main, &client, &surroundings, limits)?;
                    initialize(&half)?;
                    Ok(half)
                };
                // Side by side: each waits for the coordinator.
                let halves = std::thread::scope(|scope| {
                    let threads: Vec<_> =
                        clients.into_iter().map(|client| scope.spawn(|| open(client))).collect();
                    let joined = threads.into_iter().map(|thread| thread.join());
                    joined
                        .map(|half| half.unwrap_or_else(|_| Err(shutting_down())))
                        .collect::<Result<Vec<_>, _>>()
                })?;
                let halves: [Streaming; IDS] = halves.try_into().map_err(|_| shutting_down())?;
                Ok::<_, PublishFault>(KafkaSession::transacting(halves, stamps))
            }
        });
        let (made, opened) = tokio::join!(made, opened);
        let session = opened.unwrap_or_else(|_| Err(shutting_down()))?;
        // All ids are this relay's now: nothing can be committed any more but by it.
        let last = spawn_blocking(move || stamp::last(&reads, keeper, &stamps));
        match (last.await.unwrap_or_else(|_| Err(shutting_down())), made) {
            (Ok(last), _) => Ok((session, last)),
            (Err(fault), Err(why)) if *fault.kind() == PublishFaultKind::TopicRefused => Err(why),
            (Err(fault), _) => Err(fault),
        }
    }
}

/// Takes a transactional id: whoever had it is fenced, and what it had open is aborted. Blocks.
fn initialize(half: &Streaming) -> Result<(), PublishFault> {
    let since = Instant::now();
    let Some(producer) = half.producer() else { return Err(shutting_down()) };
    loop {
        let error = match producer.init_transactions(ANSWER_MAX) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let passing = matches!(&error, KafkaError::Transaction(why) if why.is_retriable());
        if !passing || since.elapsed() > ANSWER_MAX {
            return Err(fault_of("taking over the transactions of this outbox", error));
        }
    }
}
