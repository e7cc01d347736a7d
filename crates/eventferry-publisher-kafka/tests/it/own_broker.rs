//! A Kafka of a test's own, with doors that want a certificate or a password.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eventferry_publisher_kafka::{KafkaConfig, KafkaPublisher};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;

const CLUSTER: &str = "ZXZlbnRmZXJyeS1sb2dpbg";
const PROPERTIES: &str = "server.properties";
pub(crate) const START_MAX: Duration = Duration::from_secs(90);

/// The settings of a door called PLAIN that lets the user `ferry` in with the password `sesame`.
pub(crate) const FERRY: &str = "plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
                                required user_ferry=\"sesame\";\nsasl.enabled.mechanisms=PLAIN\n";

/// A way in: its name in Kafka's configuration, its protocol, and its settings.
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) protocol: &'static str,
    /// Of `listener.name.NAME.`, lines of `key=value`.
    pub(crate) settings: String,
}

/// One node in a folder of its own, until this is dropped.
pub(crate) struct OwnBroker {
    folder: TempDir,
    process: Child,
    ports: Vec<(&'static str, u16)>,
    judge: u16,
}

impl OwnBroker {
    /// Starts it; `scram` are users of SCRAM, as Kafka's storage tool takes them.
    pub(crate) fn start(doors: &[Door], scram: &[&str]) -> Self {
        Self::start_with(doors, scram, "")
    }

    /// The same with more lines of Kafka's configuration.
    pub(crate) fn start_with(doors: &[Door], scram: &[&str], more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let mut free = free_ports(2 + doors.len()).into_iter();
        let (controller, judge) = (free.next().unwrap(), free.next().unwrap());
        let ports: Vec<(&str, u16)> = doors.iter().map(|door| door.name).zip(free).collect();
        let all = |each: &dyn Fn(&str, u16) -> String| -> String {
            ports.iter().map(|(name, port)| format!(",{}", each(name, *port))).collect()
        };
        let protocols: String =
            doors.iter().map(|door| format!(",{}:{}", door.name, door.protocol)).collect();
        let settings: String = doors
            .iter()
            .flat_map(|door| {
                let name = door.name.to_lowercase();
                door.settings.lines().map(move |line| format!("listener.name.{name}.{line}\n"))
            })
            .collect();
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=JUDGE://127.0.0.1:{judge},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             advertised.listeners=JUDGE://127.0.0.1:{judge}{advertised}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,JUDGE:PLAINTEXT{protocols}\n\
             inter.broker.listener.name=JUDGE\nlog.dirs={data}\nauto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n{more}{settings}",
            listeners = all(&|name, port| format!("{name}://127.0.0.1:{port}")),
            advertised = all(&|name, port| format!("{name}://localhost:{port}")),
            data = home.join("data").display()
        );
        let properties = home.join(PROPERTIES);
        std::fs::write(&properties, text).unwrap();
        let mut format = java(home);
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).arg(&properties);
        for user in scram {
            format.args(["--add-scram", user]);
        }
        let formatted = format.output().unwrap();
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        let process = serve(home);
        let this = Self { folder, process, ports, judge };
        this.await_start(judge);
        this
    }

    /// Kills it, as a machine that fails.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts one again that was killed, with all that it had.
    pub(crate) fn start_again(&mut self) {
        self.process = serve(self.folder.path());
        self.await_start(self.judge);
    }

    /// Kills it, and starts it again with what it has on its disk.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    fn await_start(&self, judge: u16) {
        let asking: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", format!("127.0.0.1:{judge}")).create().unwrap();
        let started = Instant::now();
        let answers = || asking.fetch_metadata(None, Duration::from_millis(500));
        while !answers().is_ok_and(|metadata| !metadata.brokers().is_empty()) {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < START_MAX, "{log}");
        }
    }

    /// The door without a lock, as `host:port`.
    pub(crate) fn judge(&self) -> String {
        format!("127.0.0.1:{}", self.judge)
    }

    /// One with these doors, where each may do only what is granted; [`OwnBroker::judge`] may do all.
    pub(crate) fn strict(doors: &[Door]) -> Self {
        let authorizer = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                          super.users=User:ANONYMOUS\n";
        Self::start_with(doors, &[], authorizer)
    }

    /// One that lets [`OwnBroker::ferry`] in, who may do only what is granted; [`OwnBroker::judge`] may do all.
    pub(crate) fn with_permissions() -> Self {
        Self::strict(&[Door { name: "PLAIN", protocol: "SASL_PLAINTEXT", settings: FERRY.into() }])
    }

    /// A publisher that logs in to one with permissions.
    pub(crate) fn ferry(&self) -> KafkaPublisher {
        let url = format!(
            "kafka://localhost:{}?security.protocol=sasl_plaintext&sasl.mechanisms=PLAIN&sasl.username=ferry\
             &sasl.password=sesame",
            self.port("PLAIN")
        );
        KafkaPublisher::new(KafkaConfig::from_url(&url).unwrap()).unwrap()
    }

    /// Lets the ferry do something with what Kafka's own tool calls so.
    pub(crate) fn grant(&self, operation: &str, resource: &[&str]) {
        self.grant_to("ferry", operation, resource);
    }

    /// The same for another user.
    pub(crate) fn grant_to(&self, user: &str, operation: &str, resource: &[&str]) {
        let mut command = java(self.folder.path());
        command
            .args(["org.apache.kafka.tools.AclCommand", "--bootstrap-server", &self.judge(), "--add"])
            .args(["--allow-principal", &format!("User:{user}"), "--operation", operation])
            .args(resource);
        let granted = command.output().unwrap();
        assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
    }

    /// Where a door is.
    pub(crate) fn port(&self, door: &str) -> u16 {
        self.ports.iter().find(|(name, _)| *name == door).unwrap().1
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the node of a folder.
fn serve(home: &Path) -> Child {
    let log = std::fs::File::create(home.join("log")).unwrap();
    let mut server = java(home);
    server.arg("kafka.Kafka").arg(home.join(PROPERTIES)).stdin(Stdio::null());
    server.stdout(log.try_clone().unwrap()).stderr(log);
    server.spawn().unwrap()
}

/// Ports that nobody listens at, below those that a system gives to connections: one of these is gone when the broker
/// wants it, if somebody connects anywhere meanwhile.
fn free_ports(count: usize) -> Vec<u16> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    let next = || {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        // Another process begins elsewhere.
        (FIRST + (std::process::id() * 97 + tried) % FIRST) as u16
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).filter(is_free).take(count).collect()
}

fn java(home: &Path) -> Command {
    let programs = std::env::var("EVENTFERRY_TEST_KAFKA_LIB").ok().filter(|value| !value.is_empty());
    let programs =
        programs.expect("EVENTFERRY_TEST_KAFKA_LIB: run `eval \"$(cargo xtask services env)\"` first");
    let java = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let java = java.map(|home| PathBuf::from(home).join("bin/java")).filter(|java| java.is_file());
    let mut command = Command::new(java.unwrap_or_else(|| "java".into()));
    command.args(["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", &format!("{programs}/*")]);
    command.current_dir(home);
    command
}
