//! That there are new events: a session that listens, and holds the lock for which writers ring.

use std::future::poll_fn;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventferry_core::store::Doorbell;
use eventferry_core::{StoreFault, StoreFaultKind};
use tokio::sync::mpsc;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};
use uuid::Uuid;

use crate::config::PostgresConfig;
use crate::connection::{self, Untended};
use crate::fault::{fault, shut_out};

/// The doorbell: rung by a trigger on the outbox while a relay lies here, and by nobody while none does.
///
/// | the relay | the lock | a ring |
/// |---|---|---|
/// | is up | free, or shared by writers | |
/// | lies | its own, exclusive | ends the waiting; the lock is given up, and who lies beside is told |
/// | lies beside another | the other's | ends the waiting |
/// | cannot lie: somebody who would not ring is writing | shared by writers | tried again after a pause |
#[derive(Debug)]
pub struct PostgresDoorbell {
    config: PostgresConfig,
    outlook: Outlook,
    ear: Option<Ear>,
    /// How often in a row it could not be listened.
    failures: u32,
    /// That it cannot be listened was said.
    told: bool,
}

/// What the feed saw last, from where the bell looks once more; nothing: there may be something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook(Arc<Mutex<Option<String>>>);

impl Outlook {
    /// Sets the snapshot up to which everything was read.
    pub(crate) fn set(&self, snapshot: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A session that listens.
struct Ear {
    client: Arc<Client>,
    /// Rings of others; ends with the session.
    rings: mpsc::Receiver<()>,
}

impl std::fmt::Debug for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ear").finish_non_exhaustive()
    }
}

/// How long an answer on the session may take: it is asked for little, and given up soon.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a ring may take from session to session before the one is taken for deaf.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// The pauses between attempts to listen: after failures that pass, and where the way leads through a pooler.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
const RETRY_DEAF: Duration = Duration::from_secs(60);

/// The pauses between attempts to lie down while somebody writes who would not ring.
const AWAKE_MIN: Duration = Duration::from_millis(20);
const AWAKE_MAX: Duration = Duration::from_secs(2);

/// How often a sleeper looks whether its session lives: the server ends one that says nothing for 90 s.
const LOOK: Duration = Duration::from_secs(30);

/// How often one that lies beside another looks whether that one still lies there: a killed one says nothing.
const LOOK_BESIDE: Duration = Duration::from_secs(5);

/// What became of lying down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Everybody rings: under a lock of its own, or another's.
    Down { lock: bool },
    /// Somebody writes who would not ring.
    Awake,
    /// There is something already.
    Stirred,
}

impl PostgresDoorbell {
    pub(crate) fn new(config: PostgresConfig, outlook: Outlook) -> Self {
        Self { config, outlook, ear: None, failures: 0, told: false }
    }

    /// The session that listens, made when there is none; whatever fails is tried again after a pause, without end.
    async fn ear(&mut self) -> Ear {
        if let Some(ear) = self.ear.take().filter(|ear| !ear.client.is_closed()) {
            return ear;
        }
        loop {
            let pause = match self.listen().await {
                Ok(ear) => {
                    if std::mem::take(&mut self.told) {
                        tracing::info!("the doorbell is heard");
                    }
                    self.failures = 0;
                    return ear;
                }
                Err(fault) => self.bear(&fault),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Says once that it cannot be listened, and how long to wait before the next attempt.
    fn bear(&mut self, fault: &StoreFault) -> Duration {
        if std::mem::replace(&mut self.told, true) {
            tracing::debug!(%fault, "the doorbell is not heard");
        } else {
            tracing::warn!(%fault, "the doorbell is not heard; polling meanwhile");
        }
        if *fault.kind() == StoreFaultKind::Misconfigured {
            return RETRY_DEAF;
        }
        self.failures = self.failures.saturating_add(1);
        RETRY_MIN.saturating_mul(1 << (self.failures - 1).min(16)).min(RETRY_MAX)
    }

    /// Opens a session and hears whether it hears: through a pooler in transaction mode it would not, and a lock taken
    /// there would stay behind on somebody else's session.
    async fn listen(&self) -> Result<Ear, StoreFault> {
        const WHAT: &str = "listen for the doorbell";
        let listen = self.config.listen.as_deref().unwrap_or(&self.config);
        let (client, connection) = connection::open(listen).await?;
        let (ring, rings) = mpsc::channel(1);
        let (heard, mut hears) = mpsc::channel(1);
        let word = Uuid::new_v4().to_string();
        let own = Arc::new(AtomicI32::new(0));
        tokio::spawn(attend(connection, Hearing { ring, heard, word: word.clone(), own: Arc::clone(&own) }));
        let said = answered(WHAT, client.simple_query(include_str!("../sql/listen.sql"))).await?;
        let pid = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        own.store(pid.unwrap_or(0), Ordering::Relaxed);
        let prober = connection::connect(&self.config).await?;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&word, Type::TEXT)];
        answered(WHAT, prober.query_typed(include_str!("../sql/probe.sql"), &params)).await?;
        if !matches!(tokio::time::timeout(PROBE_MAX, hears.recv()).await, Ok(Some(()))) {
            // Whoever gets this session from a pooler next has no use for it.
            let _ = answered(WHAT, client.batch_execute(include_str!("../sql/stop_listening.sql"))).await;
            return Err(StoreFault::new(
                StoreFaultKind::Misconfigured,
                format!(
                    "{WHAT} at {}: no ring comes through; a pooler in transaction mode is in the way, or another \
                     database is there: give a URL that leads to the store's database directly (--listen-url)",
                    listen.place()
                ),
            ));
        }
        answered(WHAT, client.batch_execute(include_str!("../sql/stop_probing.sql"))).await?;
        Ok(Ear { client: Arc::new(client), rings })
    }

    /// Tries to lie down, and looks once more.
    async fn lie_down(&self, ear: &Ear) -> Result<Lie, StoreFault> {
        const WHAT: &str = "lie down at the doorbell";
        let Some(snapshot) = self.outlook.get() else { return Ok(Lie::Stirred) };
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&snapshot, Type::TEXT)];
        let asked = ear.client.query_typed_one(include_str!("../sql/lie_down.sql"), &params);
        let row = answered(WHAT, asked).await?;
        Ok(match row.get(0) {
            "lying" => Lie::Down { lock: true },
            "beside" => Lie::Down { lock: false },
            "awake" => Lie::Awake,
            _ => Lie::Stirred,
        })
    }
}

impl Doorbell for PostgresDoorbell {
    async fn wait(&mut self) {
        let mut pause = AWAKE_MIN;
        loop {
            // Dropped amid the asking the session ends, and its lock with it: nobody knows whether it was given.
            let mut ear = self.ear().await;
            // What rang before the look is seen by it.
            while ear.rings.try_recv().is_ok() {}
            match self.lie_down(&ear).await {
                Ok(Lie::Stirred) => {
                    self.ear = Some(ear);
                    return;
                }
                Ok(Lie::Awake) => {
                    self.ear = Some(ear);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AWAKE_MAX);
                }
                Ok(Lie::Down { lock }) => {
                    let mut bed = Bed { place: &mut self.ear, ear: Some(ear), lock };
                    if bed.sleep(&self.outlook).await {
                        return;
                    }
                }
                Err(fault) => {
                    let pause = self.bear(&fault);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// Where a relay lies; dropped when it gets up, for whatever reason.
struct Bed<'a> {
    /// Where the session goes afterwards.
    place: &'a mut Option<Ear>,
    ear: Option<Ear>,
    /// Whether the lock is its own.
    lock: bool,
}

impl Bed<'_> {
    /// Sleeps until it is time to get up; `false`: it is to lie down anew.
    async fn sleep(&mut self, outlook: &Outlook) -> bool {
        let pause = if self.lock { LOOK } else { LOOK_BESIDE };
        while let Some(ear) = &mut self.ear {
            tokio::select! {
                rung = ear.rings.recv() => {
                    if rung.is_none() {
                        self.ear = None;
                    }
                    return rung.is_some();
                }
                () = tokio::time::sleep(pause) => {
                    if !self.lock {
                        return false;
                    }
                    match look(&ear.client, outlook).await {
                        Ok(false) => {}
                        Ok(true) => return true,
                        Err(fault) => {
                            tracing::debug!(%fault, "the session that listens is given up");
                            self.ear = None;
                        }
                    }
                }
            }
        }
        false
    }
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        let Some(ear) = self.ear.take() else { return };
        if let (true, Ok(runtime)) = (self.lock, tokio::runtime::Handle::try_current()) {
            let client = Arc::clone(&ear.client);
            runtime.spawn(async move {
                let asked = client.query_typed(include_str!("../sql/get_up.sql"), &[]);
                if let Err(fault) = answered("get up from the doorbell", asked).await {
                    tracing::debug!(%fault, "the lock ends with its session");
                }
            });
            *self.place = Some(ear);
        } else if !self.lock {
            *self.place = Some(ear);
        }
    }
}

/// Looks whether a ring was missed, and that the session lives.
async fn look(client: &Client, outlook: &Outlook) -> Result<bool, StoreFault> {
    let Some(snapshot) = outlook.get() else { return Ok(true) };
    let params: [(&(dyn ToSql + Sync), Type); 1] = [(&snapshot, Type::TEXT)];
    let asked = client.query_typed_one(include_str!("../sql/glance.sql"), &params);
    Ok(answered("look from the doorbell", asked).await?.get(0))
}

/// What a session's messages are told to.
struct Hearing {
    ring: mpsc::Sender<()>,
    heard: mpsc::Sender<()>,
    word: String,
    /// The session's own number: what it says itself is no ring.
    own: Arc<AtomicI32>,
}

/// Tends a connection until it ends, and tells of its rings: any number that is not taken is one.
async fn attend(mut connection: Untended, hearing: Hearing) {
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(note)) if note.channel() == "eventferry" => {
                if note.process_id() != hearing.own.load(Ordering::Relaxed) {
                    let _ = hearing.ring.try_send(());
                }
            }
            Ok(AsyncMessage::Notification(note)) if note.payload() == hearing.word => {
                let _ = hearing.heard.try_send(());
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the connection that listens ended");
                return;
            }
        }
    }
}

/// Waits for an answer on a session, within its time.
async fn answered<T>(
    what: &str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreFault> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(answer) => answer.map_err(|error| shut_out(fault(what, error))),
        Err(_) => {
            let message = format!("{what}: no answer within {ANSWER_MAX:?}");
            Err(StoreFault::new(StoreFaultKind::Unavailable, message))
        }
    }
}
