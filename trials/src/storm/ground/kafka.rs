//! A Kafka of a scene's own, to be killed, frozen and filled up.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::process::Command;

use super::process::{Process, free_port, run};
use crate::failure::{Attempt as _, Failure, failure};

/// One node in a folder of its own, with two doors: one for whoever judges, and one for the relays, which may lead
/// through a proxy and may ask for a password.
#[derive(Debug)]
pub(in crate::storm) struct Kafka {
    programs: PathBuf,
    home: PathBuf,
    judges: u16,
    relays: u16,
    process: Option<Process>,
}

/// How a broker is set up.
#[derive(Clone, Debug, Default)]
pub(in crate::storm) struct Setup {
    /// The port at which relays are told to find it, if that is a proxy's.
    pub(in crate::storm) advertised: Option<u16>,
    /// Where the data lie, if not in its folder.
    pub(in crate::storm) data: Option<PathBuf>,
    pub(in crate::storm) relays: RelaysDoor,
}

/// What relays find at their door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::storm) enum RelaysDoor {
    #[default]
    Open,
    /// They need a password, and permissions.
    Guarded,
    /// They must talk TLS.
    Encrypted,
}

const START_MAX: Duration = Duration::from_secs(90);
const ANSWER_MAX: Duration = Duration::from_millis(500);
const CLUSTER: &str = "ZXZlbnRmZXJyeS1zdG9ybQ";

const KEYSTORE: &str = "key.pem";

/// What relays call themselves where the broker asks.
pub(in crate::storm) const USER: &str = "ferry";
pub(in crate::storm) const PASSWORD: &str = "sesame";

impl Kafka {
    /// A new broker below a folder, started. `relays` is a free port, known before for a proxy's sake.
    pub(in crate::storm) async fn create(folder: &Path, relays: u16, setup: &Setup) -> Result<Self, Failure> {
        let programs = std::env::var_os("EVENTFERRY_TEST_KAFKA_LIB").filter(|value| !value.is_empty());
        let programs = programs.map(PathBuf::from).ok_or_else(|| {
            failure(
                "this scene starts a Kafka of its own: run it through `cargo xtask`, or set EVENTFERRY_TEST_KAFKA_LIB \
                 to the folder of its jars",
            )
        })?;
        let home = folder.join("kafka");
        std::fs::create_dir(&home).attempt("make a folder for Kafka")?;
        let mut this = Self { programs, home, judges: free_port()?, relays, process: None };
        let data = setup.data.clone().unwrap_or_else(|| this.home.join("data"));
        if setup.relays == RelaysDoor::Encrypted {
            this.certify()?;
        }
        let text = this.configuration(setup, free_port()?, &data);
        std::fs::write(this.properties(), text).attempt("configure Kafka")?;
        let mut format = this.java();
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).arg(this.properties());
        run("format Kafka's storage", format).await?;
        this.start().await?;
        Ok(this)
    }

    /// A key and a certificate for the address it is found at, signed by itself.
    fn certify(&self) -> Result<(), Failure> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let own = rcgen::generate_simple_self_signed(names).attempt("make a certificate")?;
        let (key, certificate) = (own.signing_key.serialize_pem(), own.cert.pem());
        std::fs::write(self.home.join(KEYSTORE), format!("{key}{certificate}")).attempt("keep a key")?;
        std::fs::write(self.certificate(), certificate).attempt("keep a certificate")
    }

    /// What relays check it by, where they talk TLS.
    pub(in crate::storm) fn certificate(&self) -> PathBuf {
        self.home.join("certificate.pem")
    }

    fn configuration(&self, setup: &Setup, controller: u16, data: &Path) -> String {
        let (judges, relays) = (self.judges, self.relays);
        let advertised = setup.advertised.unwrap_or(relays);
        let (protocol, guard) = match setup.relays {
            RelaysDoor::Open => ("PLAINTEXT", String::new()),
            RelaysDoor::Encrypted => (
                "SSL",
                format!(
                    "listener.name.relays.ssl.keystore.type=PEM\n\
                     listener.name.relays.ssl.keystore.location={}\n",
                    self.home.join(KEYSTORE).display()
                ),
            ),
            RelaysDoor::Guarded => (
                "SASL_PLAINTEXT",
                format!(
                    "listener.name.relays.sasl.enabled.mechanisms=PLAIN\n\
                     listener.name.relays.plain.sasl.jaas.config=\
                     org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
                     authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                     super.users=User:ANONYMOUS\n\
                     allow.everyone.if.no.acl.found=true\n"
                ),
            ),
        };
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=JUDGES://127.0.0.1:{judges},RELAYS://127.0.0.1:{relays},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=JUDGES://127.0.0.1:{judges},RELAYS://127.0.0.1:{advertised}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,JUDGES:PLAINTEXT,RELAYS:{protocol}\n\
             inter.broker.listener.name=JUDGES\n\
             {guard}\
             log.dirs={data}\n\
             auto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             broker.session.timeout.ms=6000\n\
             group.initial.rebalance.delay.ms=0\n",
            data = data.display()
        )
    }

    /// Starts it again where it was, and waits until it answers.
    pub(in crate::storm) async fn start(&mut self) -> Result<(), Failure> {
        let mut command = self.java();
        command.arg("kafka.Kafka").arg(self.properties());
        let mut process = Process::start("Kafka", command, &self.home.join("server.log"))?;
        let started = Instant::now();
        let asking: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.for_judges()).create().attempt("ask Kafka")?;
        loop {
            let answer = tokio::task::block_in_place(|| asking.fetch_metadata(None, ANSWER_MAX));
            if answer.is_ok_and(|metadata| !metadata.brokers().is_empty()) {
                break;
            }
            process.check()?;
            if started.elapsed() > START_MAX {
                return Err(failure(format!("Kafka does not start\n{}", process.tail())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.process = Some(process);
        Ok(())
    }

    /// Kills it, as a crash would.
    pub(in crate::storm) async fn kill(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Waits until it gives up by itself.
    pub(in crate::storm) async fn given_up(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(mut process) => process.ended().await.map(drop),
            None => Ok(()),
        }
    }

    /// Stops it where it stands, or lets it go on.
    pub(in crate::storm) async fn freeze(&self, frozen: bool) -> Result<(), Failure> {
        match &self.process {
            Some(process) => process.signal(if frozen { "STOP" } else { "CONT" }).await,
            None => Err(failure("there is no Kafka to freeze")),
        }
    }

    /// Takes the relays' permission to write to a topic away, or gives it back.
    pub(in crate::storm) async fn allow(&self, topic: &str, allowed: bool) -> Result<(), Failure> {
        let mut command = self.java();
        command.arg("org.apache.kafka.tools.AclCommand").args(["--bootstrap-server", &self.for_judges()]);
        command.args(if allowed { &["--remove", "--force"][..] } else { &["--add"] });
        command.args(["--deny-principal", &format!("User:{USER}"), "--operation", "Write", "--topic", topic]);
        run("change a permission", command).await.map(drop)
    }

    /// Its address for whoever judges.
    pub(in crate::storm) fn for_judges(&self) -> String {
        format!("127.0.0.1:{}", self.judges)
    }

    fn properties(&self) -> PathBuf {
        self.home.join("server.properties")
    }

    fn java(&self) -> Command {
        let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
        let java = home.map(|home| PathBuf::from(home).join("bin/java")).filter(|java| java.is_file());
        let mut command = Command::new(java.unwrap_or_else(|| PathBuf::from("java")));
        command.args(["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
        command.arg("-cp").arg(format!("{}/*", self.programs.display())).current_dir(&self.home);
        command
    }
}
