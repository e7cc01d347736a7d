//! A topic of a trial's own, with a random name.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::database::random_name;
use crate::failure::{Attempt as _, Failure, failure};
use crate::servers::Servers;

/// How long Kafka may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A topic of a trial's own. It is deleted by [`Topic::remove`], not by going out of scope.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    brokers: String,
    pub(crate) name: String,
    pub(crate) partitions: i32,
    settings: Vec<(String, String)>,
}

impl Topic {
    /// Creates one with these many partitions.
    pub(crate) async fn create(servers: &Servers, purpose: &str, partitions: i32) -> Result<Self, Failure> {
        Self::create_with(servers, purpose, partitions, &[]).await
    }

    /// Creates one whose records have the time at which the broker appended them.
    pub(crate) async fn create_timed(
        servers: &Servers,
        purpose: &str,
        partitions: i32,
    ) -> Result<Self, Failure> {
        let settings = [("message.timestamp.type", "LogAppendTime")];
        Self::create_with(servers, purpose, partitions, &settings).await
    }

    /// Creates one with these settings of the broker's.
    pub(crate) async fn create_with(
        servers: &Servers,
        purpose: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let name = random_name(&format!("eventferry-trial-{purpose}")).replace('_', "-");
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let this = Self { brokers: servers.brokers.clone(), name, partitions, settings };
        this.create_again().await?;
        Ok(this)
    }

    /// Where it is.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// How many records it has, by its offsets.
    pub(crate) fn records(&self) -> Result<u64, Failure> {
        let ends = self.ends()?;
        Ok(ends.into_iter().map(|(low, high)| u64::try_from(high - low).unwrap_or(0)).sum())
    }

    /// The brokers that lead its partitions.
    pub(crate) fn leaders(&self) -> Result<Vec<i32>, Failure> {
        let admin = self.admin()?;
        let metadata =
            admin.inner().fetch_metadata(Some(&self.name), ANSWER_MAX).attempt("ask for leaders")?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions.map(|partition| partition.leader()).collect())
    }

    /// Drops all its records.
    pub(crate) async fn trim(&self) -> Result<(), Failure> {
        let mut offsets = TopicPartitionList::new();
        for partition in 0..self.partitions {
            offsets.add_partition_offset(&self.name, partition, Offset::End)?;
        }
        self.admin()?.delete_records(&offsets, &options()).await.attempt("trim a topic")?;
        Ok(())
    }

    /// Deletes it, and waits until it is gone.
    pub(crate) async fn delete(&self) -> Result<(), Failure> {
        let deleted =
            self.admin()?.delete_topics(&[&self.name], &options()).await.attempt("delete a topic")?;
        if let Some(Err((name, code))) = deleted.into_iter().next() {
            return Err(failure(format!("delete topic {name}: {code}")));
        }
        let started = Instant::now();
        while self.ends().is_ok() {
            if started.elapsed() > ANSWER_MAX {
                return Err(failure(format!("topic {} does not go", self.name)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Creates it again as it was.
    pub(crate) async fn create_again(&self) -> Result<(), Failure> {
        let topic = NewTopic::new(&self.name, self.partitions, TopicReplication::Fixed(1));
        let topic = self.settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let made = self.admin()?.create_topics(&[topic], &options()).await.attempt("create a topic")?;
        match made.into_iter().next() {
            Some(Ok(_)) => self.await_leaders().await,
            Some(Err((name, code))) => Err(failure(format!("create topic {name}: {code}"))),
            None => Err(failure("create a topic: no answer")),
        }
    }

    /// Deletes it. A failure is said and passed over.
    pub(crate) async fn remove(self) {
        let deleted =
            async { self.admin()?.delete_topics(&[&self.name], &options()).await.attempt("delete") };
        if let Err(failure) = deleted.await {
            eprintln!("trials: topic {} stays behind: {failure}", self.name);
        }
    }

    async fn await_leaders(&self) -> Result<(), Failure> {
        let started = Instant::now();
        while let Err(failure) = self.ends() {
            if started.elapsed() > ANSWER_MAX {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The first and the next offset of each partition.
    pub(crate) fn ends(&self) -> Result<Vec<(i64, i64)>, Failure> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()
            .attempt("ask for offsets")?;
        let ends = (0..self.partitions).map(|partition| {
            consumer.fetch_watermarks(&self.name, partition, ANSWER_MAX).attempt("ask for offsets")
        });
        ends.collect()
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Failure> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().attempt("connect to Kafka")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_MAX)).operation_timeout(Some(ANSWER_MAX))
}
