//! How to reach the database.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::{StoreFault, StoreFaultKind};
use tokio_postgres::config::{Host, SslMode};

use crate::connection;
use crate::password::{Passwords, Teller};
use crate::tls::Tls;

/// How to reach the database.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(crate) way: Box<Way>,
    pub(crate) call_timeout: Duration,
    pub(crate) slot: Option<Duration>,
    /// Where the doorbell is listened for, if not where everything else is asked.
    pub(crate) listen: Option<Box<PostgresConfig>>,
    /// Whether the doorbell is to hang.
    pub(crate) doorbell: Option<bool>,
    pub(crate) feed: FeedChoice,
    /// Where replication is had, if not at the same place.
    replication: Option<Box<PostgresConfig>>,
    pub(crate) tail_wait: Duration,
    pub(crate) accepts_loss: bool,
    pub(crate) closes_messages: bool,
}

/// What a URL says: what the driver knows of it, and what not.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) driver: tokio_postgres::Config,
    pub(crate) tls: Tls,
    passwords: Passwords,
}

/// How a relay reads the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeedChoice {
    /// By windows of the table: any number of relays share the lanes. The default.
    #[default]
    Table,
    /// By the write-ahead log, through a replication slot: one relay reads, the others stand by. A slot that is lost
    /// loses nothing, for the table is still there: the relay goes on through windows of it.
    TailTable,
    /// The same, for events that are emitted into the log and are in no table: while the slot lives nothing is lost; a
    /// lost slot stops the relay until a person accepts it.
    TailMessages,
}

impl FeedChoice {
    /// Whether it reads the write-ahead log.
    pub fn is_tail(self) -> bool {
        self != Self::Table
    }
}

/// How long a reading of the log's tail waits for the next event before it says that all is quiet.
const TAIL_WAIT_DEFAULT: Duration = Duration::from_secs(1);

/// How long a call may take before its connection is given up.
const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

impl PostgresConfig {
    /// Reads a URL such as `postgres://user:password@host:5432/database`.
    ///
    /// Connection parameters of libpq that the driver knows may follow as a query; the connection names itself
    /// `eventferry` unless `application_name` says otherwise. `sslmode`, `sslrootcert`, `sslcert`, `sslkey` and
    /// `sslpassword` mean what they mean to libpq, except that `verify-full` without `sslrootcert` asks the authorities
    /// of the system; files are read for each connection. TLS needs the feature `tls`. A password that the URL does not
    /// have is looked for in libpq's file: `passfile`, `PGPASSFILE` or `~/.pgpass`.
    ///
    /// # Errors
    /// `Misconfigured`: it is no such URL; the message says why and never repeats it, for it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, StoreFault> {
        let misconfigured = |text: String| StoreFault::new(StoreFaultKind::Misconfigured, text);
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(misconfigured(
                "the store's URL does not begin with postgres:// or postgresql://; \
                 give one like postgres://user:password@host:5432/database"
                    .into(),
            ));
        }
        let wrong_option = |why| misconfigured(format!("the store's URL: {why}"));
        let (url, tls) = Tls::take(url).map_err(wrong_option)?;
        let (url, passwords) = Passwords::take(&url).map_err(wrong_option)?;
        let mut driver = tokio_postgres::Config::from_str(&url).map_err(|error| {
            let below = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            // An option that is not known may be what follows a `&` in a password.
            let why = match below.strip_prefix("invalid value for option") {
                Some(option) => format!("it does not take the value of option{option}"),
                None if below.starts_with("unknown option") => {
                    "an option of it is not known; write %26 for a `&` in a value".into()
                }
                None => "it is cut short, or a `%` in it begins no byte".into(),
            };
            misconfigured(format!(
                "the store's URL cannot be read: {why}; give one like postgres://user:password@host:5432/database"
            ))
        })?;
        if driver.get_ssl_mode() != SslMode::Prefer {
            return Err(misconfigured(
                "the store's URL: write `sslmode` as it is, not percent-encoded".into(),
            ));
        }
        if names_no_host(&driver) {
            return Err(misconfigured(
                "the store's URL names no host; give one like postgres://user:password@host:5432/database, \
                 or for a socket postgres://user@/database?host=/var/run/postgresql"
                    .into(),
            ));
        }
        if driver.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err(misconfigured(
                "the store's URL has more than one @ before its host; write %40 for an @ in the user's name or \
                 password"
                    .into(),
            ));
        }
        if driver.get_hosts().is_empty() {
            // What a certificate may name.
            for address in driver.get_hostaddrs().to_vec() {
                driver.host(address.to_string());
            }
        }
        let is_remote = |host: &Host| matches!(host, Host::Tcp(_));
        let is_here = driver.get_hostaddrs().is_empty() && !driver.get_hosts().iter().any(is_remote);
        let tls = if is_here { tls.never() } else { tls };
        if driver.get_application_name().is_none() {
            driver.application_name("eventferry");
        }
        if driver.get_connect_timeout().is_none() {
            driver.connect_timeout(Duration::from_secs(5));
        }
        driver.keepalives_idle(Duration::from_secs(10));
        driver.tcp_user_timeout(Duration::from_secs(20));
        Ok(Self {
            way: Box::new(Way { driver, tls, passwords }),
            call_timeout: CALL_TIMEOUT_DEFAULT,
            slot: None,
            listen: None,
            doorbell: None,
            feed: FeedChoice::Table,
            replication: None,
            tail_wait: TAIL_WAIT_DEFAULT,
            accepts_loss: false,
            closes_messages: false,
        })
    }

    /// Sets another URL for the one connection on which the doorbell is heard: where this store's own leads through a
    /// pooler in transaction mode, on which nothing can be listened for. It is to lead to the same database, directly.
    ///
    /// # Errors
    /// As [`PostgresConfig::from_url`].
    pub fn listen_url(mut self, url: &str) -> Result<Self, StoreFault> {
        let listen = self.beside(url).map_err(|fault| {
            let message = fault.message().replace("the store's URL", "the URL to listen at");
            StoreFault::new(*fault.kind(), message)
        })?;
        self.listen = Some(listen);
        Ok(self)
    }

    /// Sets whether inserts ring for sleeping relays, by a trigger on the outbox; default as the schema has it, which
    /// rings at first unless the server lets transactions be prepared (`max_prepared_transactions`): one that has rung
    /// cannot be. Without it relays poll. Takes effect when the schema is applied.
    #[must_use]
    pub fn doorbell(mut self, hung: bool) -> Self {
        self.doorbell = Some(hung);
        self
    }

    /// Sets how long each of the outbox's 8 slots is written to before the next one is; whole seconds, at least 1;
    /// default what the schema has, which is 15 minutes at first. Events are removed slot by slot, so retention can be
    /// as long as 6 slots. Takes effect when the schema is applied.
    #[must_use]
    pub fn slot(mut self, slot: Duration) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Sets how the outbox is read; default [`FeedChoice::Table`]. All relays of an outbox should have the same: of a
    /// mixture, those of one kind stand by while the others hold lanes.
    #[must_use]
    pub fn feed(mut self, feed: FeedChoice) -> Self {
        self.feed = feed;
        self
    }

    /// Sets where the log's tail is read, when the store's URL is a pooler's: poolers carry no replication. A URL of
    /// the same database on the server itself; default the store's URL.
    ///
    /// # Errors
    /// As [`PostgresConfig::from_url`].
    pub fn replication_url(mut self, url: &str) -> Result<Self, StoreFault> {
        self.replication = Some(self.beside(url)?);
        Ok(self)
    }

    /// Another way to the same database: the same command prints its password.
    fn beside(&self, url: &str) -> Result<Box<Self>, StoreFault> {
        let mut beside = Self::from_url(url)?;
        beside.way.passwords.command.clone_from(&self.way.passwords.command);
        Ok(Box::new(beside))
    }

    /// Sets how long a reading of the log's tail waits for the next event before it says that all is quiet; default 1
    /// s, after which an idle relay asks the server one question.
    #[must_use]
    pub fn tail_wait(mut self, wait: Duration) -> Self {
        self.tail_wait = wait;
        self
    }

    /// Accepts, when the schema is applied, that what a lost replication slot held is gone: a new one is made, and
    /// lanes begin where it does. Only a person should say so.
    #[must_use]
    pub fn accept_loss(mut self) -> Self {
        self.accepts_loss = true;
        self
    }

    /// Takes, when the schema is applied, the right to write raw messages into the log (`pg_logical_emit_message`) from
    /// everybody but the schema's owner, so that nobody forges events. Needs a superuser.
    #[must_use]
    pub fn close_messages(mut self) -> Self {
        self.closes_messages = true;
        self
    }

    /// What the driver is to connect by, with the password of now.
    ///
    /// # Errors
    /// As of [`Passwords::complete`].
    pub(crate) async fn driver(&self) -> Result<tokio_postgres::Config, StoreFault> {
        self.way.passwords.complete(&self.way.driver).await
    }

    pub(crate) fn replication(&self) -> &Self {
        self.replication.as_deref().unwrap_or(self)
    }

    /// Sets a command that prints the password, for the shell: such as one that asks a cloud for a token. It is run for
    /// connections, and what it has printed is used for 30 s; it may take 20 s. It goes before a password in a URL, and
    /// counts for the URLs to listen and to replicate at, too.
    #[must_use]
    pub fn password_command(mut self, command: &str) -> Self {
        let teller = Some(Arc::new(Teller::new(command)));
        for config in [&mut self.listen, &mut self.replication].into_iter().flatten() {
            config.way.passwords.command.clone_from(&teller);
        }
        self.way.passwords.command = teller;
        self
    }

    /// Sets how long a call may take before its connection is given up; default 30 s.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Connects a client of the caller's own, as this store's connections are made.
    ///
    /// # Errors
    /// `Unavailable`: no server answers; waiting may mend it. `Misconfigured`: the server does not let us in. The
    /// message names the place and says what to do.
    pub async fn connect(&self) -> Result<tokio_postgres::Client, StoreFault> {
        connection::connect(self).await
    }

    /// Where the server is, without user and password: `host:port`, or several.
    pub(crate) fn place(&self) -> String {
        let named = self.way.driver.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(folder) => folder.display().to_string(),
        });
        let ports = self.way.driver.get_ports();
        let at = |(place, host): (usize, String)| {
            let port = ports.get(place).or_else(|| ports.first()).copied().unwrap_or(5432);
            if host.contains('/') { host } else { format!("{host}:{port}") }
        };
        named.enumerate().map(at).collect::<Vec<_>>().join(", ")
    }
}

/// The driver would look an empty name up, and wait for it to resolve.
fn names_no_host(driver: &tokio_postgres::Config) -> bool {
    let hosts = driver.get_hosts();
    let empty = |host: &Host| matches!(host, Host::Tcp(name) if name.is_empty());
    hosts.iter().any(empty) || (hosts.is_empty() && driver.get_hostaddrs().is_empty())
}

/// Without the password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("hosts", &self.way.driver.get_hosts())
            .field("ports", &self.way.driver.get_ports())
            .field("user", &self.way.driver.get_user())
            .field("database", &self.way.driver.get_dbname())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_refused_without_being_repeated() {
        for url in [
            "mysql://u:sesame@h/d",
            "postgres://u:sesame@h:notaport/d",
            "postgres://u:sesame@h/d?sslmode=sesame",
            "postgres://u:sesame@h/d?sslcert=sesame",
            "postgres://u:sesame@h/d?ssl%6dode=require",
            "postgres://",
            "postgres:///sesame",
            "postgres://u:sesame@:5432/d",
            "postgres://u:sesame@h,/d",
            "postgres://u:pa@sesame@h/d",
            "postgres://u@h/d?password=a&sesame=1",
            "postgres://u@h/d?password=a&sesame",
            "postgres://u@h/d?password=a&connect_timeout=sesame",
        ] {
            let fault = PostgresConfig::from_url(url).unwrap_err();
            assert_eq!(*fault.kind(), StoreFaultKind::Misconfigured);
            assert!(!fault.to_string().contains("sesame"), "{fault}");
        }
    }

    #[test]
    fn a_place_has_hosts_and_ports_and_nothing_else() {
        for (url, place) in [
            ("postgres://u:sesame@h/d", "h:5432"),
            ("postgres://u:sesame@h:1,i:2/d", "h:1, i:2"),
            ("postgres://u:sesame@/d?host=/run/postgresql", "/run/postgresql"),
            ("postgres:///d?hostaddr=127.0.0.1", "127.0.0.1:5432"),
        ] {
            assert_eq!(PostgresConfig::from_url(url).unwrap().place(), place);
        }
    }

    #[test]
    fn a_socket_of_this_machine_needs_no_tls() {
        let first = |place: &str| {
            let config = PostgresConfig::from_url(&format!("postgres://u@{place}sslmode=prefer")).unwrap();
            config.way.tls.attempts().0
        };
        assert_eq!(first("/d?host=/run/postgresql&"), SslMode::Disable);
        let preferred = if cfg!(feature = "tls") { SslMode::Prefer } else { SslMode::Disable };
        assert_eq!(first("h/d?"), preferred);
    }

    #[test]
    fn debugging_shows_no_password() {
        let config = PostgresConfig::from_url("postgres://u:sesame@h:1/d").unwrap();
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
