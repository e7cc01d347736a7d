//! Where a clause for publishers works: topics of its own, publishers, and lines that send.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eventferry_core::publisher::{Domain, Outcome, Pipeline, Report, Role, Route, Taken, Token};
use eventferry_core::{
    Envelope, Event, MessageId, OutboxId, PublishFault, PublishFaultKind, Stamp, StoredEvent, Timestamp,
};

use super::clause::Declared;
use super::erased::{AnyPublisher, AnySession, AnySubject, Shore};
use super::subject::{Delivered, Subject};
use crate::broken::{Broken, ensure, with_causes};
use crate::pause::{Pause, within};

/// A publisher under test, with its broker.
pub struct Bench {
    shore: Box<dyn AnySubject>,
    publisher: Box<dyn AnyPublisher>,
    declared: Declared,
}

impl Bench {
    /// Makes a publisher.
    pub(crate) async fn make<S: Subject>(subject: &Arc<S>) -> Result<Self, Broken> {
        let shore: Box<dyn AnySubject> = Box::new(Shore(Arc::clone(subject)));
        let publisher =
            shore.publisher().await.map_err(|trouble| Broken::trouble("make a publisher", &trouble))?;
        let declared = Declared { abilities: publisher.abilities(), reach: shore.reach() };
        Ok(Self { shore, publisher, declared })
    }

    pub(crate) fn declared(&self) -> &Declared {
        &self.declared
    }

    /// How long to wait for what must come.
    pub(crate) fn patience(&self) -> Duration {
        self.shore.patience()
    }

    /// The publisher that the clause asks, unless it makes another.
    pub(crate) fn publisher(&self) -> &dyn AnyPublisher {
        &*self.publisher
    }

    /// Another publisher of the same broker.
    pub(crate) async fn another(&self) -> Result<Box<dyn AnyPublisher>, Broken> {
        self.shore.publisher().await.map_err(|trouble| Broken::trouble("make a publisher", &trouble))
    }

    /// A name that no topic has.
    pub(crate) fn fresh_name(&self) -> String {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let last = LAST.fetch_add(1, Ordering::Relaxed);
        format!("clause-{}-{}-{last}", std::process::id(), now().0)
    }

    pub(crate) async fn create(&self, topic: &str, partitions: u16) -> Result<(), Broken> {
        let created = self.shore.create(topic, partitions).await;
        created.map_err(|trouble| Broken::trouble("make a topic", &trouble))
    }

    /// A topic of this clause's own, which the publisher has learned.
    pub(crate) async fn topic(&self, partitions: u16) -> Result<String, Broken> {
        let topic = self.fresh_name();
        self.create(&topic, partitions).await?;
        self.learn(self.publisher(), &topic).await?;
        Ok(topic)
    }

    /// Learns a topic that exists.
    pub(crate) async fn learn(&self, publisher: &dyn AnyPublisher, topic: &str) -> Result<(), Broken> {
        retried(self.patience(), "learn", async || publisher.learn(topic).await).await
    }

    pub(crate) async fn limit(&self, topic: &str, bytes: usize) -> Result<(), Broken> {
        let limited = self.shore.limit(topic, bytes).await;
        limited.map_err(|trouble| Broken::trouble("limit a topic", &trouble))
    }

    /// All messages of a topic.
    pub(crate) async fn read(&self, topic: &str) -> Result<Vec<Delivered>, Broken> {
        self.shore.read(topic).await.map_err(|trouble| Broken::trouble("read a topic", &trouble))
    }

    /// The texts of all messages in a topic, in their order.
    pub(crate) async fn texts(&self, topic: &str) -> Result<Vec<String>, Broken> {
        Ok(self.read(topic).await?.iter().map(text_of).collect())
    }

    /// A session of the clause's publisher.
    pub(crate) async fn line(&self, role: Role) -> Result<Line<'_>, Broken> {
        self.line_of(self.publisher(), role).await
    }

    /// A session of this publisher.
    pub(crate) async fn line_of<'b>(
        &'b self,
        publisher: &'b dyn AnyPublisher,
        role: Role,
    ) -> Result<Line<'b>, Broken> {
        let session = retried(self.patience(), "connect", async || publisher.connect(role).await).await?;
        Ok(Line::of(self, publisher, session))
    }

    /// The name of an outbox that nobody else has.
    pub(crate) fn outbox(&self) -> OutboxId {
        OutboxId(self.fresh_name())
    }

    /// A session of transactions, and the stamp committed last before it.
    pub(crate) async fn take_over<'b>(
        &'b self,
        publisher: &'b dyn AnyPublisher,
        outbox: &OutboxId,
    ) -> Result<(Line<'b>, Option<Stamp>), Broken> {
        let take_over = async || publisher.take_over(outbox).await;
        let (session, last) = retried(self.patience(), "take over", take_over).await?;
        Ok((Line::of(self, publisher, session), last))
    }

    /// Waits until a topic has exactly these texts: the end of a transaction is answered before it shows everywhere.
    pub(crate) async fn comes_to_hold(
        &self,
        topic: &str,
        sent: &[StoredEvent],
        when: &str,
    ) -> Result<(), Broken> {
        let mut rounds = self.patience().as_millis() / PAUSE.as_millis();
        loop {
            match holds(self, topic, sent, when).await {
                Err(_) if rounds > 0 => Pause::of(PAUSE).await,
                held => return held,
            }
            rounds -= 1;
        }
    }
}

/// Calls until it is answered, waiting out what passes.
async fn retried<T>(
    patience: Duration,
    name: &str,
    call: impl AsyncFn() -> Result<T, PublishFault>,
) -> Result<T, Broken> {
    let mut rounds = patience.as_millis() / PAUSE.as_millis();
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(fault) if *fault.kind() == PublishFaultKind::Unavailable && rounds > 0 => {
                Pause::of(PAUSE).await
            }
            Err(fault) => {
                let words = with_causes(&fault);
                return Err(Broken::new(format!("{name} failed with {:?}: {words}", fault.kind())));
            }
        }
        rounds -= 1;
    }
}

/// Between two tries of what passes.
const PAUSE: Duration = Duration::from_millis(100);

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// An event as a store would hand it over, about this order, with a text to tell it by.
pub(crate) fn row(topic: &str, order: &str, text: &str) -> StoredEvent {
    stored(Event::new(topic, ("order", order)).payload(text, "text/plain"))
}

/// An event as a store would hand it over, enqueued just now.
pub(crate) fn stored(event: Event) -> StoredEvent {
    static LAST: AtomicU64 = AtomicU64::new(1);
    let number = u128::from(LAST.fetch_add(1, Ordering::Relaxed));
    StoredEvent { message_id: MessageId(number.to_be_bytes()), event, enqueued_at: now() }
}

pub(crate) fn text_of(message: &Delivered) -> String {
    message.payload.as_ref().map_or_else(|| "a tombstone".into(), |text| String::from_utf8_lossy(text).into())
}

/// A session, and what it took and answered.
pub(crate) struct Line<'b> {
    bench: &'b Bench,
    publisher: &'b dyn AnyPublisher,
    session: Box<dyn AnySession>,
    next: u64,
    pub(crate) answers: Answers,
    /// Domains in which a message of this session was acknowledged.
    open: BTreeSet<Domain>,
}

/// What was taken and what was answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) taken: Vec<Token>,
    pub(crate) reports: Vec<Report>,
}

impl Answers {
    /// What became of a message; breaks the clause unless it was answered exactly once.
    pub(crate) fn of(&self, token: Token) -> Result<&Outcome, Broken> {
        let mut answers = self.reports.iter().filter(|report| report.token == token);
        match (answers.next(), answers.next()) {
            (Some(report), None) => Ok(&report.outcome),
            (None, _) => Err(Broken::new(format!("message {} was taken and never reported", token.0))),
            (Some(_), Some(_)) => Err(Broken::new(format!("message {} was reported twice", token.0))),
        }
    }

    /// Breaks the clause unless every message that was taken was answered once, and no other.
    pub(crate) fn once(&self) -> Result<(), Broken> {
        for token in &self.taken {
            self.of(*token)?;
        }
        let strange = self.reports.iter().find(|report| !self.taken.contains(&report.token));
        ensure!(strange.is_none(), "reported {strange:?}, which was not taken");
        Ok(())
    }

    /// Breaks the clause unless every message that was taken was acknowledged.
    pub(crate) fn all_acknowledged(&self) -> Result<(), Broken> {
        self.once()?;
        let other = self.reports.iter().find(|report| !matches!(report.outcome, Outcome::Acknowledged));
        ensure!(other.is_none(), "nothing was wrong, and a message was reported {other:?}");
        Ok(())
    }
}

impl<'b> Line<'b> {
    fn of(bench: &'b Bench, publisher: &'b dyn AnyPublisher, session: Box<dyn AnySession>) -> Self {
        let (answers, open) = (Answers::default(), BTreeSet::new());
        Self { bench, publisher, session, next: 0, answers, open }
    }

    /// Begins a transaction, and waits until that is acknowledged.
    pub(crate) async fn begin(&mut self, stamp: Stamp) -> Result<(), Broken> {
        loop {
            match self.try_begin(stamp) {
                Taken::Yes => break,
                Taken::Full => self.report().await?,
                Taken::Ended => {
                    return Err(Broken::new("nothing was wrong, and no transaction can be begun"));
                }
            }
        }
        let outcome = self.outcome_of_last().await?;
        ensure!(
            matches!(outcome, Outcome::Acknowledged),
            "nothing was wrong, and a transaction's beginning was reported {outcome:?}"
        );
        Ok(())
    }

    /// Begins a transaction, if the session takes it.
    pub(crate) fn try_begin(&mut self, stamp: Stamp) -> Taken {
        let token = self.next_token();
        let taken = self.session.begin(token, stamp);
        if taken == Taken::Yes {
            self.answers.taken.push(token);
        }
        taken
    }

    /// Commits the earliest transaction; breaks the clause unless that is acknowledged.
    pub(crate) async fn commit(&mut self) -> Result<(), Broken> {
        let outcome = self.try_commit().await?;
        ensure!(
            matches!(outcome, Outcome::Acknowledged),
            "nothing was wrong, and a commit was reported {outcome:?}"
        );
        Ok(())
    }

    /// Commits the earliest transaction.
    pub(crate) async fn try_commit(&mut self) -> Result<&Outcome, Broken> {
        let token = self.next_token();
        self.answers.taken.push(token);
        self.session.commit(token);
        self.outcome_of_last().await
    }

    /// Throws the transaction begun last away; breaks the clause unless that is acknowledged.
    pub(crate) async fn abort(&mut self) -> Result<(), Broken> {
        let token = self.next_token();
        self.answers.taken.push(token);
        self.session.abort(token);
        let outcome = self.outcome_of_last().await?;
        ensure!(
            matches!(outcome, Outcome::Acknowledged),
            "a transaction was to be thrown away, and that was reported {outcome:?}"
        );
        Ok(())
    }

    fn next_token(&mut self) -> Token {
        self.next += 1;
        Token(self.next - 1)
    }

    /// Waits for the answer to the last thing asked.
    async fn outcome_of_last(&mut self) -> Result<&Outcome, Broken> {
        let token = Token(self.next - 1);
        while self.answers.reports.iter().all(|report| report.token != token) {
            self.report().await?;
        }
        self.answers.of(token)
    }

    /// Where the publisher routes an envelope; breaks the clause if nowhere.
    pub(crate) fn domain(&self, envelope: &Envelope<'_>) -> Result<Domain, Broken> {
        match self.publisher.route(envelope) {
            Route::To(domain) => Ok(domain),
            other => Err(Broken::new(format!("a message for a learned topic was routed {other:?}"))),
        }
    }

    /// Offers a message once.
    pub(crate) fn offer(&mut self, envelope: &Envelope<'_>) -> Result<Taken, Broken> {
        let domain = self.domain(envelope)?;
        Ok(self.offer_to(domain, envelope))
    }

    /// Offers a message once, for a domain that was named earlier: a refusal may make a publisher doubt a topic.
    pub(crate) fn offer_to(&mut self, domain: Domain, envelope: &Envelope<'_>) -> Taken {
        let token = Token(self.next);
        self.next += 1;
        let taken = self.session.send(token, domain, envelope);
        if taken == Taken::Yes {
            self.answers.taken.push(token);
        }
        taken
    }

    /// Hands a message over as a relay may: the first of a domain alone, and when the session has room.
    pub(crate) async fn send(&mut self, row: &StoredEvent) -> Result<Token, Broken> {
        self.send_envelope(&Envelope::of(row)).await
    }

    pub(crate) async fn send_envelope(&mut self, envelope: &Envelope<'_>) -> Result<Token, Broken> {
        let domain = self.domain(envelope)?;
        let abilities = &self.bench.declared.abilities;
        let alone = abilities.pipeline == Pipeline::OneAtATime
            || abilities.first_alone.is_some() && self.open.insert(domain);
        if alone {
            self.answered().await?;
        }
        loop {
            match self.offer(envelope)? {
                Taken::Yes => break,
                Taken::Full => self.report().await?,
                Taken::Ended => return Err(Broken::new("nothing was wrong, and the session has ended")),
            }
        }
        if alone {
            self.answered().await?;
        }
        Ok(Token(self.next - 1))
    }

    /// Hands messages over one after another.
    pub(crate) async fn send_all(&mut self, rows: &[StoredEvent]) -> Result<(), Broken> {
        for row in rows {
            self.send(row).await?;
        }
        Ok(())
    }

    /// Waits for some report.
    pub(crate) async fn report(&mut self) -> Result<(), Broken> {
        let before = self.answers.reports.len();
        let patience = self.bench.patience();
        let waited = within(patience, self.session.reports(&mut self.answers.reports)).await;
        ensure!(waited.is_some(), "waited {patience:?} for a report of what is in flight");
        ensure!(self.answers.reports.len() > before, "there was something to report, and nothing was");
        Ok(())
    }

    /// Begins to wait for a report and thinks better of it.
    pub(crate) async fn glance(&mut self) {
        crate::pause::poll_once(self.session.reports(&mut self.answers.reports)).await;
    }

    /// Waits until everything that was taken is answered.
    pub(crate) async fn answered(&mut self) -> Result<(), Broken> {
        while self.answers.reports.len() < self.answers.taken.len() {
            self.report().await?;
        }
        Ok(())
    }

    /// Ends the session; everything it ever answered.
    pub(crate) async fn abandon(self, time: Duration) -> Result<Answers, Broken> {
        let Self { bench, session, mut answers, .. } = self;
        let patience = bench.patience();
        let rest = within(patience + time, session.abandon(time)).await;
        let Some(rest) = rest else {
            return Err(Broken::new(format!(
                "a session was to end within {time:?} and did not in {patience:?} more"
            )));
        };
        answers.reports.extend(rest);
        Ok(answers)
    }
}

/// Breaks the clause unless a topic has exactly these texts, of each order in this order.
pub(crate) async fn holds(
    bench: &Bench,
    topic: &str,
    sent: &[StoredEvent],
    when: &str,
) -> Result<(), Broken> {
    let mut read: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for message in bench.read(topic).await? {
        let text = text_of(&message);
        read.entry(message.key.unwrap_or_default()).or_default().push(text);
    }
    let mut expected: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for row in sent {
        let text = String::from_utf8_lossy(row.event.payload.as_deref().unwrap_or_default()).into_owned();
        expected.entry(Envelope::of(row).key().to_vec()).or_default().push(text);
    }
    for (key, expected) in &expected {
        let read = read.remove(key).unwrap_or_default();
        let key = String::from_utf8_lossy(key);
        ensure!(read == *expected, "{when}: with key {key} a consumer reads {read:?}, not {expected:?}");
    }
    ensure!(read.is_empty(), "{when}: a consumer reads {read:?}, which was not to be there");
    Ok(())
}
