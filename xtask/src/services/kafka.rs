//! Apache Kafka: one node in KRaft mode, broker and controller in one process.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cache::Cache;
use super::java;
use super::maven::{self, Artifact};
use super::port;
use super::server::{Launch, Server, Site};
use super::tools;
use crate::trouble::{Attempt, Trouble};

/// The one release of Kafka tests run against.
pub(crate) struct Kafka;

const FOLDER: &str = "kafka-4.1.1";
const ARTIFACTS: [Artifact<'static>; 3] = [
    Artifact("org.apache.kafka:kafka_2.13:4.1.1"),
    Artifact("org.apache.kafka:kafka-tools:4.1.1"),
    // The binding that fits Kafka's slf4j and needs no configuration file: warnings go to standard error.
    Artifact("org.slf4j:slf4j-simple:1.7.36"),
];
/// Any sixteen bytes in URL-safe base64 name a cluster; these say whose it is.
const CLUSTER_ID: &str = "ZXZlbnRmZXJyeS10ZXN0cw";

impl Kafka {
    fn java(&self, site: &Site<'_>) -> Command {
        let mut command = Command::new(java::program());
        command.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
        command.arg("-Dorg.slf4j.simpleLogger.showDateTime=true");
        command.arg("-cp").arg(format!("{}/*", site.programs.display()));
        command.current_dir(site.home);
        command
    }

    fn format_storage(&self, site: &Site<'_>, properties: &Path) -> Result<(), Trouble> {
        let output = self
            .java(site)
            .args(["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c"])
            .arg(properties)
            .output()
            .attempt(|| "cannot run java".to_owned())?;
        if output.status.success() {
            return Ok(());
        }
        Err(Trouble::new(format!("kafka's storage tool failed: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

impl Server for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn address_variable(&self) -> &'static str {
        "EVENTFERRY_TEST_KAFKA_BROKERS"
    }

    fn programs_variable(&self) -> &'static str {
        "EVENTFERRY_TEST_KAFKA_LIB"
    }

    fn installed(&self, cache: &Cache) -> Option<PathBuf> {
        cache.installed(FOLDER).map(|folder| folder.join("lib"))
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf, Trouble> {
        let needed = [("mvn", "maven"), ("java", "default-jre-headless")];
        tools::need(&needed, "installing Kafka", self.address_variable())?;
        let folder = cache.install(FOLDER, |folder| maven::copy_jars(&ARTIFACTS, &folder.join("lib")))?;
        Ok(folder.join("lib"))
    }

    fn prepare(&self, site: &Site<'_>) -> Result<Launch, Trouble> {
        java::check("Kafka", self.address_variable())?;
        let controller_port = port::free(site.port + 1)?;
        let properties = site.home.join("server.properties");
        let data = site.home.join("data");
        fs::write(&properties, configuration(site.port, controller_port, &data))
            .attempt(|| format!("cannot write {}", properties.display()))?;
        if !data.join("meta.properties").exists() {
            self.format_storage(site, &properties)?;
        }
        let mut command = self.java(site);
        command.arg("kafka.Kafka").arg(&properties);
        Ok(Launch { command, address: format!("127.0.0.1:{}", site.port) })
    }

    fn answers(&self, port: u16) -> bool {
        tells_its_api_versions(port).unwrap_or(false)
    }

    fn stop_signal(&self) -> &'static str {
        "TERM"
    }
}

/// Replication factors of one, since there is one node. Topics come into being by the admin interface only: a test
/// that needs a missing topic finds it missing.
fn configuration(port: u16, controller_port: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs={data}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=8\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=8\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        data = data.display()
    )
}

/// Sends an ApiVersions request, which a broker answers only once it processes requests.
fn tells_its_api_versions(port: u16) -> std::io::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(2);
    /// Length, then key 18, version 0, correlation id, and no client id.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, b'e', b'v', b'f', b'y', 0xff, 0xff];
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&REQUEST)?;
    // Length, correlation id, error code.
    let mut head = [0_u8; 10];
    stream.read_exact(&mut head)?;
    Ok(head[4..8] == REQUEST[8..12] && head[8..10] == [0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_topic_stays_missing() {
        let text = configuration(20_000, 20_001, Path::new("/data"));
        assert!(text.contains("auto.create.topics.enable=false\n"));
        assert!(text.contains("log.dirs=/data\n"));
    }
}
