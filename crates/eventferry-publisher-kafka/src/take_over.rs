//! Taking a cluster over for an outbox: its transactional ids first, then what was committed under them.

use std::time::Instant;

use eventferry_core::publisher::Role;
use eventferry_core::{OutboxId, PublishFault, PublishFaultKind, Stamp};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use tokio::task::spawn_blocking;

use crate::credentials::Equipped;
use crate::fault::fault_of;
use crate::publisher::{ANSWER_MAX, KafkaPublisher, open, shutting_down};
use crate::session::{IDS, KafkaSession, Streaming, is_passing, until_taken};
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
            clients.push(self.equip(config.transactional(&id, limits.batch_bytes)).await?);
        }
        let mut reads = config.consumer("eventferry");
        // That there is no more is told by an empty answer, for which the broker would wait.
        reads.set("fetch.wait.max.ms", "5");
        // A follower nearby may not have heard of the last commit.
        reads.set("client.rack", "");
        let reads = self.equip(reads).await?;
        let keeper = surroundings.keeper.clone();
        let admin = self.admin_client().await?;
        let made = stamp::ensure(&admin, &stamps);
        let opened = spawn_blocking(move || {
            let open = |client: Equipped| {
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
            Ok::<_, PublishFault>(halves)
        });
        let (made, opened, are_removed) = tokio::join!(made, opened, stamp::are_removed(&admin, &stamps));
        let halves = opened.unwrap_or_else(|_| Err(shutting_down()))?;
        // All ids are this relay's now: nothing can be committed any more but by it.
        let taken = spawn_blocking(move || {
            // With the one that is used last: right after a commit the coordinator takes no new transaction of that id.
            let last =
                stamp::last(&reads.settings, keeper, &stamps, |text| mark(&halves[IDS - 1], &stamps, text))?;
            if are_removed {
                tracing::warn!(
                    topic = stamps,
                    "the topic of stamps removes them with time: set its cleanup.policy=compact"
                );
            }
            Ok((KafkaSession::transacting(halves, stamps), last))
        });
        match (taken.await.unwrap_or_else(|_| Err(shutting_down())), made) {
            (Err(fault), Err(why)) if *fault.kind() == PublishFaultKind::TopicRefused => Err(why),
            (taken, _) => taken,
        }
    }
}

/// Takes a transactional id: whoever had it is fenced, and what it had open is aborted. Blocks.
fn initialize(half: &Streaming) -> Result<(), PublishFault> {
    let Some(producer) = half.producer() else { return Err(shutting_down()) };
    let initialized = until_answered(|| producer.init_transactions(ANSWER_MAX));
    initialized.map_err(|error| fault_of("taking over the transactions of this outbox", error))
}

/// Writes a mark into the topic of stamps, in a transaction of its own. Blocks.
fn mark(half: &Streaming, stamps: &str, text: &str) -> Result<(), PublishFault> {
    let Some(producer) = half.producer() else { return Err(shutting_down()) };
    // Nobody waits for its report: such a ticket opens no slot.
    let record = stamp::record(stamps, stamp::MARK, text, usize::MAX);
    let commit = || {
        until_taken(producer);
        until_answered(|| producer.commit_transaction(ANSWER_MAX))
    };
    let marked = producer.begin_transaction().and_then(|()| producer.send(record)).and_then(|()| commit());
    marked.map_err(|error| {
        let fault = fault_of(&format!("writing to topic `{stamps}`"), error);
        match fault.kind() {
            // The topic is there, so making it would not help.
            PublishFaultKind::TopicRefused => {
                PublishFault::new(PublishFaultKind::Misconfigured, fault.message().to_owned())
            }
            _ => fault,
        }
    })
}

/// Makes a call of the coordinator's until it is answered for good.
fn until_answered(call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let since = Instant::now();
    loop {
        match call() {
            Err(error) if is_passing(&error) && since.elapsed() < ANSWER_MAX => {}
            answered => return answered,
        }
    }
}
