//! That there are new events: a session that listens, and holds the lock for which writers ring.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventferry_core::store::Doorbell;
use eventferry_core::{StoreFault, StoreFaultKind};
use tokio::sync::mpsc;
use tokio::time::Instant;
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
/// | lies | its own, exclusive, until it gets up | ends the waiting |
/// | lies beside another | the other's | ends the waiting; who gives the lock up tells those beside it |
/// | cannot lie: somebody who would not ring is writing | shared by writers | tried again after a pause |
#[derive(Debug)]
pub struct PostgresDoorbell {
    config: PostgresConfig,
    outlook: Outlook,
    ear: Option<Ear>,
    bed: Option<Bed>,
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
    client: Client,
    heard: Arc<Heard>,
    /// Wakes for whatever was heard; ends with the session.
    wakes: mpsc::Receiver<()>,
}

/// What a session has heard of others.
#[derive(Debug, Default)]
struct Heard {
    rings: AtomicU32,
    /// Somebody gave the lock up.
    somebody_got_up: AtomicBool,
}

impl Ear {
    /// Forgets what was heard.
    fn clear(&mut self) {
        while self.wakes.try_recv().is_ok() {}
        self.heard.rings.store(0, Ordering::Relaxed);
        self.heard.somebody_got_up.store(false, Ordering::Relaxed);
    }
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

/// What a relay says that gives the lock up: migration 0010.
const GOT_UP: &str = "got up";

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
        Self { config, outlook, ear: None, bed: None, failures: 0, told: false }
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
        let (wake, wakes) = mpsc::channel(1);
        let (probe, mut probed) = mpsc::channel(1);
        let word = Uuid::new_v4().to_string();
        let (own, heard) = (Arc::new(AtomicI32::new(0)), Arc::new(Heard::default()));
        let hearing =
            Hearing { wake, heard: Arc::clone(&heard), probe, word: word.clone(), own: Arc::clone(&own) };
        tokio::spawn(attend(connection, hearing));
        let said = answered(WHAT, client.simple_query(include_str!("../sql/listen.sql"))).await?;
        let pid = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        own.store(pid.unwrap_or(0), Ordering::Relaxed);
        let prober = connection::connect(&self.config).await?;
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&word, Type::TEXT)];
        answered(WHAT, prober.query_typed(include_str!("../sql/probe.sql"), &params)).await?;
        if !matches!(tokio::time::timeout(PROBE_MAX, probed.recv()).await, Ok(Some(()))) {
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
        Ok(Ear { client, heard, wakes })
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
    async fn wait(&mut self) -> u32 {
        let mut pause = AWAKE_MIN;
        loop {
            if let Some(bed) = &mut self.bed {
                match bed.sleep(&self.outlook).await {
                    Woken::Rung(rings) => return rings,
                    Woken::Alone => self.ear = self.bed.take().map(|bed| bed.ear),
                    Woken::Lost => self.bed = None,
                }
            }
            // Dropped amid the asking the session ends, and its lock with it: nobody knows whether it was given.
            let mut ear = self.ear().await;
            // What rang before the look is seen by it.
            ear.clear();
            match self.lie_down(&ear).await {
                Ok(Lie::Stirred) => {
                    self.ear = Some(ear);
                    return 0;
                }
                Ok(Lie::Awake) => {
                    self.ear = Some(ear);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AWAKE_MAX);
                }
                Ok(Lie::Down { lock }) => self.bed = Some(Bed::new(ear, lock)),
                Err(fault) => {
                    let pause = self.bear(&fault);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn get_up(&mut self) {
        let Some(Bed { ear, lock, .. }) = self.bed.take() else { return };
        if lock {
            let asked = ear.client.query_typed(include_str!("../sql/get_up.sql"), &[]);
            if let Err(fault) = answered("get up from the doorbell", asked).await {
                tracing::debug!(%fault, "the lock ends with its session");
                return;
            }
        }
        self.ear = Some(ear);
    }
}

/// Where a relay lies, until it gets up.
#[derive(Debug)]
struct Bed {
    ear: Ear,
    /// Whether the lock is its own.
    lock: bool,
    /// When to see to it, whatever rings.
    look_at: Instant,
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// So often.
    Rung(u32),
    /// It may be that nobody lies there any longer beside whom it lay.
    Alone,
    /// The session ended.
    Lost,
}

impl Bed {
    fn new(ear: Ear, lock: bool) -> Self {
        Self { ear, lock, look_at: Instant::now() + if lock { LOOK } else { LOOK_BESIDE } }
    }

    /// Sleeps until it rings. A sleep that is dropped and begun again misses nothing.
    async fn sleep(&mut self, outlook: &Outlook) -> Woken {
        loop {
            if !self.lock && self.ear.heard.somebody_got_up.swap(false, Ordering::AcqRel) {
                return Woken::Alone;
            }
            let rings = self.ear.heard.rings.swap(0, Ordering::AcqRel);
            if rings > 0 {
                return Woken::Rung(rings);
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.look_at) => {
                    if !self.lock {
                        return Woken::Alone;
                    }
                    match look(&self.ear.client, outlook).await {
                        Ok(stirred) => {
                            self.look_at = Instant::now() + LOOK;
                            if stirred {
                                return Woken::Rung(1);
                            }
                        }
                        Err(fault) => {
                            tracing::debug!(%fault, "the session that listens is given up");
                            return Woken::Lost;
                        }
                    }
                }
                wake = self.ear.wakes.recv() => {
                    if wake.is_none() {
                        return Woken::Lost;
                    }
                }
            }
        }
    }
}

/// Looks whether a ring was missed, and that the session lives. Without an outlook somebody is looking anyway, and the
/// session only says that it lives.
async fn look(client: &Client, outlook: &Outlook) -> Result<bool, StoreFault> {
    const WHAT: &str = "look from the doorbell";
    let Some(snapshot) = outlook.get() else {
        answered(WHAT, client.simple_query("")).await?;
        return Ok(false);
    };
    let params: [(&(dyn ToSql + Sync), Type); 1] = [(&snapshot, Type::TEXT)];
    let asked = client.query_typed_one(include_str!("../sql/glance.sql"), &params);
    Ok(answered(WHAT, asked).await?.get(0))
}

/// What a session's messages are told to.
struct Hearing {
    wake: mpsc::Sender<()>,
    heard: Arc<Heard>,
    probe: mpsc::Sender<()>,
    word: String,
    /// The session's own number: what it says itself is no ring.
    own: Arc<AtomicI32>,
}

/// Tends a connection until it ends, and tells of what is heard on it.
async fn attend(mut connection: Untended, hearing: Hearing) {
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(note)) if note.channel() == "eventferry" => {
                if note.process_id() == hearing.own.load(Ordering::Relaxed) {
                    continue;
                }
                if note.payload() == GOT_UP {
                    hearing.heard.somebody_got_up.store(true, Ordering::Release);
                } else {
                    hearing.heard.rings.fetch_add(1, Ordering::Release);
                }
                let _ = hearing.wake.try_send(());
            }
            Ok(AsyncMessage::Notification(note)) if note.payload() == hearing.word => {
                let _ = hearing.probe.try_send(());
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
