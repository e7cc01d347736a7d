//! The topic: a relay makes none by itself, because how many partitions it has is somebody's decision.

use eventferry::kafka::{Change, Cluster, DeclaredTopic, KafkaPublisher};

use crate::Failure;

/// Enough for eight consumers side by side; adding some later sends keys to other partitions.
const PARTITIONS: i32 = 8;

/// Makes the topic unless it is there.
pub(crate) async fn ensure(publisher: &KafkaPublisher, topic: &str) -> Result<(), Failure> {
    let cluster = Cluster::open(publisher).await?;
    if cluster.names().await?.iter().any(|name| name == topic) {
        return Ok(());
    }
    let declared =
        DeclaredTopic { name: topic.to_owned(), partitions: Some(PARTITIONS), ..DeclaredTopic::default() };
    Ok(cluster.perform(&Change::Create(declared)).await?)
}
