//! The ground a scene plays on: servers, and what lies between them and the relays.

mod disk;
mod kafka;
mod pooler;
mod postgres;
mod process;
mod proxy;

use std::path::PathBuf;

use tokio::process::Command;

use super::feed::Feed;
use super::relays::Program;
use super::scene::{BrokerNeed, DatabaseNeed, Scene, Side, Tool, Way};
use crate::database::{Database, connect, random_name, with_database};
use crate::failure::{Attempt as _, Failure, failure};
use crate::servers::Servers;
use disk::Disk;
use kafka::{Kafka, RelaysDoor, Setup};
use pooler::Pooler;
use postgres::{Log, NEWEST, OLDEST, Postgres, Standby};
use process::{free_port, run};
use proxy::{Framing, Proxy};

pub(super) use process::send;
pub(super) use proxy::Weather;

/// Servers of a scene. What was started for it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Ground {
    /// Where writers, the reader and the judge go at first.
    pub(super) servers: Servers,
    way: Way,
    feed: Feed,
    broker_address: String,
    broker_options: String,
    pub(super) postgres: Option<Postgres>,
    pub(super) standby: Option<Postgres>,
    pub(super) replication: Option<Proxy>,
    pub(super) kafka: Option<Kafka>,
    pub(super) database_proxy: Option<Proxy>,
    pub(super) broker_proxy: Option<Proxy>,
    pub(super) pooler: Option<Pooler>,
    pub(super) disk: Option<Disk>,
    folder: Folder,
}

/// A folder for servers of our own; removed when this is dropped, which is last.
#[derive(Debug)]
struct Folder(PathBuf);

/// The role that relays log in as where they have one of their own.
const ROLE: &str = "storm_ferry";
const ROLE_PASSWORD: &str = "sesame";

/// The size of a small disk. A broker's own books take half of it.
const DISK_MEBIBYTES: u32 = 192;

impl Ground {
    /// Starts what a scene needs.
    pub(super) async fn raise(scene: &Scene, given: &Servers, feed: Feed) -> Result<Self, Failure> {
        let mut ground = Self {
            servers: given.clone(),
            way: scene.way,
            feed,
            broker_address: given.brokers.clone(),
            broker_options: String::new(),
            postgres: None,
            standby: None,
            replication: None,
            kafka: None,
            database_proxy: None,
            broker_proxy: None,
            pooler: None,
            disk: None,
            folder: Folder::create()?,
        };
        ground.raise_database(scene.database).await?;
        ground.raise_broker(scene.broker).await?;
        if let (Way::Proxies, Some(postgres)) = (scene.way, &ground.postgres) {
            ground.database_proxy = Some(Proxy::to(postgres.port(), Framing::Postgres).await?);
        }
        if let (Way::Pooler, Some(postgres)) = (scene.way, &ground.postgres) {
            ground.pooler = Some(Pooler::before(postgres, &ground.folder.0).await?);
        }
        Ok(ground)
    }

    async fn raise_database(&mut self, need: DatabaseNeed) -> Result<(), Failure> {
        let folder = &self.folder.0;
        let password = random_name("p");
        let programs = match need {
            DatabaseNeed::Given => return Ok(()),
            DatabaseNeed::Dumped => OLDEST,
            _ => NEWEST,
        };
        let log = if self.feed.is_tail() { Log::Logical } else { Log::Physical };
        let postgres = Postgres::create(folder, "postgres", programs, &password, log).await?;
        if matches!(need, DatabaseNeed::SynchronousStandby | DatabaseNeed::AsynchronousStandby) {
            let replication = Proxy::to(postgres.port(), Framing::Postgres).await?;
            let keeps_slots = self.feed.is_tail() && need == DatabaseNeed::SynchronousStandby;
            let kind = if keeps_slots { Standby::WithSlots } else { Standby::Plain };
            self.standby = Some(postgres.standby(folder, "standby", replication.port(), kind).await?);
            self.replication = Some(replication);
        }
        if need == DatabaseNeed::SynchronousStandby {
            // Only now: the standby has copied the settings, and has no standby of its own.
            let client = connect(&postgres.url()).await?;
            // What replication gives away, the standby has.
            let slots = "ALTER SYSTEM SET synchronized_standby_slots = 'standby'";
            let slots = self.feed.is_tail().then_some(slots);
            let names = ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"];
            for statement in slots.into_iter().chain(names) {
                client.batch_execute(statement).await.attempt("ask for a synchronous standby")?;
            }
        }
        self.servers.postgres = postgres.url();
        self.postgres = Some(postgres);
        Ok(())
    }

    async fn raise_broker(&mut self, need: BrokerNeed) -> Result<(), Failure> {
        let mut setup = Setup::default();
        match need {
            BrokerNeed::Given => return Ok(()),
            BrokerNeed::Own => {}
            BrokerNeed::Guarded => {
                setup.relays = RelaysDoor::Guarded;
                self.broker_options = format!(
                    "?security.protocol=sasl_plaintext&sasl.mechanism=PLAIN&sasl.username={}&sasl.password={}",
                    kafka::USER,
                    kafka::PASSWORD
                );
            }
            BrokerNeed::Encrypted => setup.relays = RelaysDoor::Encrypted,
            BrokerNeed::OnSmallDisk => {
                let disk = Disk::mount(&self.folder.0, DISK_MEBIBYTES).await?;
                setup.data = Some(disk.path().join("data"));
                self.disk = Some(disk);
            }
        }
        let port = free_port()?;
        self.broker_address = format!("127.0.0.1:{port}");
        if self.way == Way::Proxies {
            let framing = if need == BrokerNeed::Encrypted { Framing::Tls } else { Framing::Kafka };
            let proxy = Proxy::to(port, framing).await?;
            setup.advertised = Some(proxy.port());
            self.broker_address = format!("127.0.0.1:{}", proxy.port());
            self.broker_proxy = Some(proxy);
        }
        let kafka = Kafka::create(&self.folder.0, port, &setup).await?;
        self.servers.brokers = kafka.for_judges();
        if need == BrokerNeed::Encrypted {
            let certificate = kafka.certificate();
            self.broker_options = format!("?security.protocol=ssl&ssl.ca.location={}", certificate.display());
        }
        self.kafka = Some(kafka);
        Ok(())
    }

    /// The store as the relays are told.
    pub(super) fn store(&self, database: &Database) -> Result<String, Failure> {
        let (own, name) = (self.servers.postgres.clone(), database.name());
        let server = match (self.way, &self.postgres, &self.standby) {
            (_, Some(one), Some(other)) => format!(
                "postgres://postgres:{}@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
                one.password(),
                one.port(),
                other.port()
            ),
            (Way::Proxies, Some(postgres), _) => {
                let proxy = self.database_proxy()?;
                format!("postgres://postgres:{}@127.0.0.1:{}/postgres", postgres.password(), proxy.port())
            }
            (Way::Pooler, ..) => self.pooler.as_ref().map_or(own, Pooler::url),
            (Way::Role, Some(postgres), _) => {
                format!("postgres://{ROLE}:{ROLE_PASSWORD}@127.0.0.1:{}/postgres", postgres.port())
            }
            _ => own,
        };
        with_database(&server, name)
    }

    /// Where replication is had, if not at the store: what lies between carries none.
    pub(super) fn replication_url(&self, database: &Database) -> Result<Option<String>, Failure> {
        let direct = self.feed.is_tail() && self.way == Way::Pooler;
        direct.then(|| with_database(&self.servers.postgres, database.name())).transpose()
    }

    /// The publisher as the relays are told.
    pub(super) fn publisher(&self) -> String {
        format!("kafka://{}{}", self.broker_address, self.broker_options)
    }

    /// Makes the role that relays log in as, where they have one.
    pub(super) async fn make_role(&self, client: &tokio_postgres::Client) -> Result<(), Failure> {
        if self.way != Way::Role {
            return Ok(());
        }
        let replication = if self.feed.is_tail() { "REPLICATION" } else { "" };
        let statement = format!(
            "CREATE ROLE {ROLE} LOGIN {replication} PASSWORD '{ROLE_PASSWORD}';
             SELECT eventferry.grant_relay('{ROLE}')"
        );
        client.batch_execute(&statement).await.attempt("make the relays' role")
    }

    /// Lets the relays' role log in, or ends its connections and lets it no more.
    pub(super) async fn allow_login(&self, allowed: bool) -> Result<(), Failure> {
        let client = connect(&self.servers.postgres).await?;
        let statement = match allowed {
            true => format!("ALTER ROLE {ROLE} LOGIN"),
            false => format!(
                "ALTER ROLE {ROLE} NOLOGIN;
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
            ),
        };
        client.batch_execute(&statement).await.attempt("change who may log in")
    }

    /// Crashes the primary and promotes the standby; everybody who asks is led to it.
    pub(super) async fn fail_over(&mut self, database: &Database) -> Result<(), Failure> {
        if let (Some(primary), Some(standby)) = (&self.postgres, &self.standby) {
            standby.wait_for_slots(primary).await?;
        }
        self.postgres()?.crash().await?;
        let standby = self.standby.take().ok_or_else(|| failure("there is no standby"))?;
        standby.promote().await?;
        self.servers.postgres = standby.url();
        database.move_to(&standby.url());
        // The old one is kept where it was: relays are told of both.
        self.standby = self.postgres.replace(standby);
        Ok(())
    }

    /// Restores a dump of the database into another cluster; everybody who asks is led to it.
    pub(super) async fn move_to_restored(&mut self, database: &Database) -> Result<(), Failure> {
        let old = self.postgres.take().ok_or_else(|| failure("there is nothing to dump"))?;
        let restored =
            Postgres::create(&self.folder.0, "restored", OLDEST, old.password(), old.log()).await?;
        let (name, dump) = (database.name(), self.folder.0.join("dump.sql"));
        let mut dumping = Command::new("pg_dump");
        dumping.arg("--dbname").arg(with_database(&old.url(), name)?).arg("--file").arg(&dump);
        run("dump the database", dumping).await?;
        connect(&restored.url()).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let mut restoring = Command::new("psql");
        restoring.args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file"]).arg(&dump);
        restoring.arg("--dbname").arg(with_database(&restored.url(), name)?);
        run("restore the dump", restoring).await?;
        let mut old = old;
        old.crash().await?;
        let proxy = self.database_proxy()?;
        proxy.set(Weather::Cut);
        proxy.lead_to(restored.port());
        database.move_to(&restored.url());
        proxy.set(Weather::Fair);
        self.servers.postgres = restored.url();
        self.postgres = Some(restored);
        Ok(())
    }

    /// Changes what lies between relays and a server.
    pub(super) fn weather(&self, side: Side, weather: Weather) -> Result<(), Failure> {
        let proxy = match side {
            Side::Database => self.database_proxy()?,
            Side::Broker => self.broker_proxy.as_ref().ok_or_else(|| failure("there is no proxy"))?,
        };
        proxy.set(weather);
        Ok(())
    }

    /// How many messages were spoilt on either side.
    pub(super) fn spoilt(&self) -> u64 {
        [&self.database_proxy, &self.broker_proxy].into_iter().flatten().map(Proxy::spoilt).sum()
    }

    pub(super) fn postgres(&mut self) -> Result<&mut Postgres, Failure> {
        self.postgres.as_mut().ok_or_else(|| failure("the scene has no PostgreSQL of its own"))
    }

    pub(super) fn kafka(&mut self) -> Result<&mut Kafka, Failure> {
        self.kafka.as_mut().ok_or_else(|| failure("the scene has no Kafka of its own"))
    }

    pub(super) fn pooler(&mut self) -> Result<&mut Pooler, Failure> {
        self.pooler.as_mut().ok_or_else(|| failure("the scene has no pooler"))
    }

    pub(super) fn disk(&self) -> Result<&Disk, Failure> {
        self.disk.as_ref().ok_or_else(|| failure("the scene has no disk of its own"))
    }

    fn database_proxy(&self) -> Result<&Proxy, Failure> {
        self.database_proxy.as_ref().ok_or_else(|| failure("there is no proxy"))
    }

    /// Ends what was started, in order.
    pub(super) async fn lower(mut self) -> Result<(), Failure> {
        if let Some(mut kafka) = self.kafka.take() {
            kafka.kill().await?;
        }
        for mut postgres in [self.standby.take(), self.postgres.take()].into_iter().flatten() {
            postgres.crash().await?;
        }
        Ok(())
    }
}

impl Folder {
    /// Below the run folder that `cargo xtask` names, or among the temporary files.
    fn create() -> Result<Self, Failure> {
        let run = std::env::var_os("EVENTFERRY_TEST_RUN").filter(|value| !value.is_empty());
        let base = run.map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = base.join(random_name("storm"));
        std::fs::create_dir(&folder).attempt("make a folder for servers")?;
        // Servers that do not run as root must get through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&folder, open).attempt("open a folder for servers")?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("EVENTFERRY_STORM_KEEP").is_none() {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }
}

/// What of a scene's needs this machine lacks, said for people.
pub(super) fn lacks(scene: &Scene) -> Option<&'static str> {
    let has = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    let root =
        || std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    scene.asks_for.iter().find_map(|tool| match tool {
        Tool::PgBouncer if pooler::program().is_none() => Some("PgBouncer"),
        Tool::PgDump if !(has("pg_dump") && has("psql")) => Some("pg_dump and psql"),
        Tool::DeadLetters if !Program::delivers_dead_letters() => {
            Some("a program that delivers dead letters, which this version does not yet")
        }
        Tool::Root if !root() => Some("root, to mount a small disk"),
        _ => None,
    })
}
