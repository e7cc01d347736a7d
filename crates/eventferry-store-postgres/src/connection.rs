//! One role's connection: made when first needed, made anew when lost, never waited for without end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eventferry_core::{StoreFault, StoreFaultKind};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Socket};

use crate::config::PostgresConfig;
use crate::fault::{fault, refused, shut_out, unanswered};
use crate::tls;

/// A connection that comes back by itself.
pub(crate) struct Connection {
    config: PostgresConfig,
    client: Option<Arc<Client>>,
    /// How often it was made.
    generation: u64,
    /// Whether this configuration was let in once: from then on a refusal is an outage.
    let_in: bool,
    company: Company,
    /// The last one was given up because nothing came.
    fell_silent: bool,
}

/// What the connections of one relay tell each other: how often one that had fallen silent was made anew.
///
/// A network that forgets connections lets them wait for ever, each by itself. Leases are asked for often and waited
/// for briefly, so theirs is the first to find out; when it is answered on a new connection, the others have little
/// reason to go on waiting on old ones, and what they wait for is of lanes whose leases are over.
#[derive(Clone, Debug)]
pub(crate) struct Company(Arc<watch::Sender<u64>>);

/// How long an answer may still take when another connection had to be made anew, and could be.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Default for Company {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Company {
    /// Waits until another was made anew, and for last words.
    async fn moved_on(&self) {
        let mut anew = self.0.subscribe();
        if anew.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST_WORDS).await;
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        let company = Company::default();
        Self { config, client: None, generation: 0, let_in: false, company, fell_silent: false }
    }

    /// For a role of a relay: its store was prepared over the same configuration.
    pub(crate) fn of_role(config: PostgresConfig, company: &Company) -> Self {
        Self { let_in: true, company: company.clone(), ..Self::new(config) }
    }

    /// Changes whenever the connection was lost: what was known of the server's history must be compared anew.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The client, connected. What is asked of it goes through [`Connection::answer`].
    pub(crate) async fn client(&mut self) -> Result<Arc<Client>, StoreFault> {
        if let Some(client) = self.client.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.connect().await?);
        self.client = Some(Arc::clone(&client));
        Ok(client)
    }

    /// The client, connected within `limit`: where the server takes connections and says nothing, that is soon enough.
    pub(crate) async fn client_within(&mut self, limit: Duration) -> Result<Arc<Client>, StoreFault> {
        let place = self.config.place();
        let connected = tokio::time::timeout(limit, self.client()).await;
        connected.unwrap_or_else(|_| Err(unanswered(&place, limit)))
    }

    /// Gives the connection up: what it was still to say is not wanted.
    pub(crate) fn give_up(&mut self) {
        self.client = None;
    }

    /// Waits for an answer, within the time a call may take. A connection that fails is given up.
    pub(crate) async fn answer<T>(
        &mut self,
        what: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreFault> {
        let limit = self.config.call_timeout;
        self.answer_within(what, limit, answer).await
    }

    /// Waits for an answer, within `limit`.
    pub(crate) async fn answer_within<T>(
        &mut self,
        what: &str,
        limit: Duration,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreFault> {
        let answered = tokio::select! {
            biased;
            answered = answer => Ok(answered),
            () = tokio::time::sleep(limit) => Err(timed_out(what, limit)),
            () = self.company.moved_on() => Err(left_behind(what)),
        };
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                // The server's word leaves the connection usable; anything else does not.
                if error.as_db_error().is_none() || error.is_closed() {
                    self.client = None;
                }
                let taken = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
                let fault = fault(what, error);
                // What it had it may be given back, as a login is.
                Err(if self.let_in && taken { shut_out(fault) } else { fault })
            }
            Err(silent) => {
                self.client = None;
                self.fell_silent = true;
                Err(silent)
            }
        }
    }

    async fn connect(&mut self) -> Result<Client, StoreFault> {
        self.client = None;
        let judged = |fault| if self.let_in { shut_out(fault) } else { fault };
        let client = connect(&self.config).await.map_err(judged)?;
        self.generation += 1;
        if std::mem::take(&mut self.fell_silent) {
            self.company.0.send_modify(|times| *times += 1);
        }
        Ok(client)
    }
}

/// Connects, within a time: the driver's own limit ends when a socket is open, and what accepts it may never answer.
pub(crate) async fn connect(config: &PostgresConfig) -> Result<Client, StoreFault> {
    let (client, connection) = open(config).await?;
    tokio::spawn(async move {
        // Its end is seen by the next call.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to PostgreSQL ended");
        }
    });
    Ok(client)
}

/// A connection whose messages nobody takes yet.
pub(crate) type Untended = tokio_postgres::Connection<Socket, tls::Stream>;

/// As [`connect`], for whoever tends the connection.
pub(crate) async fn open(config: &PostgresConfig) -> Result<(Client, Untended), StoreFault> {
    let driver = &config.way.driver;
    let hosts = driver.get_hosts().len().max(driver.get_hostaddrs().len()).max(1);
    let socket = driver.get_connect_timeout().copied().unwrap_or(config.call_timeout);
    // A host's name may have several addresses, the first of them dead.
    let limit = socket.saturating_mul(3).saturating_mul(u32::try_from(hosts).unwrap_or(1));
    let limit = limit.min(config.call_timeout);
    let connected = tokio::time::timeout(limit, Box::pin(attempt(config))).await;
    connected.map_err(|_| unanswered(&config.place(), limit))?
}

/// Connects with or without TLS, and if the server's rules want the other, or TLS is only preferred and fails, once
/// more.
async fn attempt(config: &PostgresConfig) -> Result<(Client, Untended), StoreFault> {
    let tls = &config.way.tls;
    let (mode, other) = tls.attempts();
    let mut driver = config.driver().await?;
    let mut connected = driver.ssl_mode(mode).connect(tls.connector()?).await;
    if let (Err(error), Some(other)) = (&connected, other)
        && (error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) || tls::is_handshake(error))
    {
        connected = driver.ssl_mode(other).connect(tls.connector()?).await;
    }
    connected.map_err(|error| refused(&config.place(), error))
}

fn left_behind(what: &str) -> StoreFault {
    let message = format!("{what}: no answer, and another connection had to be made anew");
    StoreFault::new(StoreFaultKind::Unavailable, message)
}

fn timed_out(what: &str, limit: Duration) -> StoreFault {
    StoreFault::new(StoreFaultKind::Unavailable, format!("{what}: no answer within {limit:?}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// The port of a server that lets nobody in.
    fn strict_server() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let fields = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0";
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // What is not read when it closes would make the end a reset, and the word might be lost.
                assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                let length = fields.len() as u32 + 4;
                stream.write_all(&[b"E", &length.to_be_bytes()[..], fields].concat()).unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn a_refused_password_ends_a_start_and_is_an_outage_to_a_role() {
        let url = format!("postgres://u:sesame@127.0.0.1:{}/d?sslmode=disable", strict_server());
        let config = PostgresConfig::from_url(&url).unwrap();
        let start = Connection::new(config.clone()).client().await.err().unwrap();
        assert_eq!(*start.kind(), StoreFaultKind::Misconfigured, "{start}");
        let later = Connection::of_role(config, &Company::default()).client().await.err().unwrap();
        assert_eq!(*later.kind(), StoreFaultKind::Unavailable, "{later}");
        assert!(later.message().contains("check user and password"), "{later}");
    }
}
