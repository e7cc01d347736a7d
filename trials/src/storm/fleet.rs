//! Three relays, which are killed, frozen and asked to go.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::clock::BrokerClock;
use super::dice::Dice;
use super::findings::{Breach, Findings};
use super::relays::{Left, Program, Relay};
use super::repeats::{Cut, Standing, lanes_of};
use crate::failure::{Failure, failure};

const RELAYS: usize = 3;

/// How long a relay may take to end after its grace time: the process itself must go.
const END_MAX: Duration = Duration::from_secs(5);

/// What a relay may take: what is promised of the program whatever the backlog.
const PEAK_BYTES_MAX: u64 = 128 << 20;

/// How much more memory a relay may take between two measurements that say it takes no more.
const GROWTH_BYTES_MAX: u64 = 8 << 20;

/// How long a killed relay's lanes may be nobody's beyond the lease, and those of one that was asked to go at all.
const TAKE_OVER_BEYOND: Duration = Duration::from_secs(1);
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

/// Where one relay has all lanes, another than that one is troubled only once in so many times.
const STANDBY_ONCE_IN: u64 = 5;

/// How long the database may take to answer. It may stand still, and who would let it go on is waiting for this.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The pause between two looks at the owners.
const LOOK: Duration = Duration::from_millis(10);

pub(super) struct Fleet {
    program: Program,
    relays: Vec<Relay>,
    /// Stopped where it stood, with its place in `cuts`.
    frozen: Option<(Relay, usize)>,
    dice: Dice,
    clock: BrokerClock,
    lanes_total: u16,
    started: usize,
    /// When all relays were last looked after, by the broker's clock.
    looked_ms: i64,
    pub(super) cuts: Vec<Cut>,
    pub(super) kills: usize,
    /// How often leases of living relays ran out.
    pub(super) lapses: usize,
    /// The most memory that any relay took.
    pub(super) peak_bytes: u64,
    /// The peaks at the last measurement.
    measured: Vec<(String, u64)>,
    /// How long lanes were nobody's, with what was done.
    pub(super) changes: Vec<(&'static str, Duration)>,
}

impl Fleet {
    pub(super) async fn start(
        program: Program,
        dice: Dice,
        clock: BrokerClock,
        lanes_total: u16,
    ) -> Result<Self, Failure> {
        let mut fleet = Self::idle(program, dice, clock, lanes_total);
        fleet.looked_ms = fleet.clock.ask().await?;
        for _ in 0..RELAYS {
            fleet.add()?;
        }
        Ok(fleet)
    }

    fn idle(program: Program, dice: Dice, clock: BrokerClock, lanes_total: u16) -> Self {
        Self {
            program,
            relays: Vec::new(),
            frozen: None,
            dice,
            clock,
            lanes_total,
            started: 0,
            looked_ms: 0,
            cuts: Vec::new(),
            kills: 0,
            lapses: 0,
            peak_bytes: 0,
            measured: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// The broker's time, in milliseconds.
    pub(super) async fn now_ms(&self) -> Result<i64, Failure> {
        self.clock.ask().await
    }

    /// All relays are cut off from the broker, or forget what they had, from now until it is put right.
    pub(super) async fn cut_all(&mut self, what: &str) -> Result<usize, Failure> {
        let now_ms = self.now_ms().await?;
        let relays = self.relays.len() + usize::from(self.frozen.is_some());
        self.cuts.push(Cut::of_all(what, relays, self.lanes_total, now_ms, i64::MAX / 2));
        Ok(self.cuts.len() - 1)
    }

    /// It is put right.
    pub(super) async fn mend(&mut self, cut: usize) -> Result<(), Failure> {
        self.mend_after(cut, Duration::ZERO).await
    }

    /// It is put right for those who have looked, which all have after this time.
    pub(super) async fn mend_after(&mut self, cut: usize, time: Duration) -> Result<(), Failure> {
        let time_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.cuts[cut].to_ms = self.now_ms().await? + time_ms;
        Ok(())
    }

    /// Kills one and starts another, under a name that was never used.
    pub(super) async fn kill_one(&mut self) -> Result<(), Failure> {
        self.kill_and_leave().await?;
        self.add()
    }

    /// Kills one; says which, and when.
    async fn kill_and_leave(&mut self) -> Result<(String, Instant), Failure> {
        self.look().await?;
        let mut relay = self.one().await?;
        let from_ms = self.clock.ask().await?;
        let mut lanes = self.lanes_of(&relay.id).await;
        relay.kill().await?;
        let killed = Instant::now();
        // Asked again, for what it settled meanwhile; asked before, lest another has taken a lane already. Where this
        // is not the very moment, the rule for repeats is a little milder than the truth, never sterner.
        lanes.extend(self.lanes_of(&relay.id).await);
        let to_ms = self.clock.ask().await?;
        let id = relay.id.clone();
        self.cuts.push(Cut { relay: id.clone(), relays: 1, lanes, from_ms, to_ms, ..Cut::default() });
        self.kills += 1;
        self.note_lapses(&mut relay, to_ms);
        Ok((id, killed))
    }

    /// Kills one, and measures how long it takes until others have all its lanes.
    pub(super) async fn take_over(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        let (id, killed) = self.kill_and_leave().await?;
        let max = self.program.lease + TAKE_OVER_BEYOND;
        self.measure_change("take-over", &id, killed, max, findings).await?;
        self.add()
    }

    /// Asks one to go, and measures how long its lanes are nobody's; then starts another.
    pub(super) async fn hand_over(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        self.look().await?;
        let mut relay = self.one().await?;
        let asked = Instant::now();
        relay.ask_to_end().await?;
        let id = relay.id.clone();
        self.measure_change("hand-over", &id, asked, HAND_OVER_MAX, findings).await?;
        if let Err(failure) = relay.end(self.program.grace + END_MAX).await {
            findings.add(Breach::Relay, || failure.to_string());
        }
        let now_ms = self.clock.ask().await?;
        self.note_lapses(&mut relay, now_ms);
        self.add()
    }

    async fn measure_change(
        &mut self,
        what: &'static str,
        relay: &str,
        since: Instant,
        max: Duration,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        const THEIRS: &str = "SELECT count(*) FROM eventferry.lane WHERE owner IS NULL OR owner = $1";
        let client = self.program.books.connect().await?;
        while client.query_one(THEIRS, &[&relay]).await?.get::<_, i64>(0) > 0 {
            if since.elapsed() > max * 4 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let took = since.elapsed();
        self.changes.push((what, took));
        if took > max {
            findings.add(Breach::Slow, || {
                format!("the {what} of {relay}'s lanes took {took:?}, and {max:?} is promised")
            });
        }
        Ok(())
    }

    /// Stops one where it stands.
    pub(super) async fn freeze_one(&mut self) -> Result<(), Failure> {
        self.look().await?;
        let relay = self.one().await?;
        let from_ms = self.clock.ask().await?;
        let mut lanes = self.lanes_of(&relay.id).await;
        relay.freeze(true).await?;
        lanes.extend(self.lanes_of(&relay.id).await);
        // What it held may still be written when it goes on.
        let id = relay.id.clone();
        self.cuts.push(Cut { relay: id, relays: 1, lanes, from_ms, to_ms: i64::MAX / 2, ..Cut::default() });
        self.frozen = Some((relay, self.cuts.len() - 1));
        Ok(())
    }

    /// Lets the frozen one go on.
    pub(super) async fn thaw(&mut self) -> Result<(), Failure> {
        let Some((relay, cut)) = self.frozen.take() else { return Ok(()) };
        relay.freeze(false).await?;
        self.relays.push(relay);
        self.mend(cut).await
    }

    /// Looks after all of them: fails if one ended by itself, and notes whose leases ran out.
    pub(super) async fn look(&mut self) -> Result<(), Failure> {
        let now_ms = self.clock.ask().await?;
        let mut relays = std::mem::take(&mut self.relays);
        for relay in &mut relays {
            relay.check()?;
            self.peak_bytes = self.peak_bytes.max(relay.peak_bytes().unwrap_or(0));
            self.note_lapses(relay, now_ms);
        }
        (self.relays, self.looked_ms) = (relays, now_ms);
        Ok(())
    }

    /// Holds each relay's peak against the one at the last measurement, and against what is promised.
    pub(super) async fn measure_memory(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        self.look().await?;
        // One that has all lanes takes in as much, until its memory is full, as others that share them.
        let whole = if self.program.feed.is_whole() { RELAYS as u64 } else { 1 };
        let most = GROWTH_BYTES_MAX * whole;
        for relay in &self.relays {
            let (id, now) = (relay.id.clone(), relay.peak_bytes().unwrap_or(0));
            match self.measured.iter().find(|(measured, _)| *measured == id) {
                Some((_, before)) if now > before + most => findings.add(Breach::Memory, || {
                    format!("relay {id} grew from {before} to {now} bytes while nothing could be sent")
                }),
                _ => {}
            }
            self.measured.retain(|(measured, _)| *measured != id);
            self.measured.push((id, now));
        }
        Ok(())
    }

    fn note_lapses(&mut self, relay: &mut Relay, now_ms: i64) {
        for _ in 0..relay.new_lapses() {
            self.lapses += 1;
            self.cuts.push(Cut::lapse(&relay.id, self.lanes_total, self.looked_ms, now_ms));
        }
    }

    /// What is not shipped, by the program's own word.
    pub(super) async fn left(&self) -> Result<Left, Failure> {
        self.program.left().await
    }

    /// Ends all of them at once; each must drain within its grace.
    pub(super) async fn end(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        self.thaw().await?;
        self.look().await?;
        let peak = self.peak_bytes;
        if peak > PEAK_BYTES_MAX {
            findings.add(Breach::Memory, || {
                format!("a relay took {peak} bytes, and {PEAK_BYTES_MAX} are promised")
            });
        }
        let within = self.program.grace + END_MAX;
        let end = |mut relay: Relay| async move {
            let ended = match relay.ask_to_end().await {
                Ok(()) => relay.end(within).await,
                Err(failure) => Err(failure),
            };
            (ended, relay)
        };
        let mut ends: JoinSet<_> = self.relays.drain(..).map(end).collect();
        while let Some(ended) = ends.join_next().await {
            let (ended, mut relay) = ended?;
            if let Err(failure) = ended {
                findings.add(Breach::Relay, || failure.to_string());
            }
            let now_ms = self.clock.ask().await?;
            self.note_lapses(&mut relay, now_ms);
        }
        Ok(())
    }

    /// Where a relay's lanes stand; where nobody can be asked, it may have any, standing anywhere.
    async fn lanes_of(&self, relay: &str) -> Standing {
        let books = &self.program.books;
        let standing = answered(async { lanes_of(&books.connect().await?, relay).await }).await;
        standing.unwrap_or_else(|| (0..self.lanes_total).map(|lane| (lane, None)).collect())
    }

    async fn one(&mut self) -> Result<Relay, Failure> {
        let owner = match self.program.feed.is_whole() && !self.dice.once_in(STANDBY_ONCE_IN) {
            true => self.owner().await,
            false => None,
        };
        match (self.relays.len(), owner) {
            (0, _) => Err(failure("no relay is left to be troubled")),
            (_, Some(owner)) => Ok(self.relays.swap_remove(owner)),
            (many, None) => Ok(self.relays.swap_remove(self.dice.below(many))),
        }
    }

    /// Which relay has lanes, if somebody says.
    async fn owner(&self) -> Option<usize> {
        const OWNER: &str = "SELECT owner FROM eventferry.lane WHERE owner IS NOT NULL LIMIT 1";
        let books = &self.program.books;
        let asked = async { Ok(books.connect().await?.query_opt(OWNER, &[]).await?) };
        let owner: String = answered(asked).await??.get(0);
        self.relays.iter().position(|relay| relay.id == owner)
    }

    fn add(&mut self) -> Result<(), Failure> {
        self.started += 1;
        self.relays.push(self.program.start(format!("storm-{}", self.started))?);
        Ok(())
    }
}

/// What a database says, if it says it in time.
async fn answered<T>(asked: impl Future<Output = Result<T, Failure>>) -> Option<T> {
    tokio::time::timeout(ANSWER_MAX, asked).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::database::Database;
    use crate::storm::feed::Feed;

    #[tokio::test]
    async fn a_relay_is_killed_though_the_database_stands_still() {
        // The kernel takes connections that nobody will ever accept.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://nobody:nothing@{}/none", listener.local_addr().unwrap());
        let program = Program {
            path: "sleep".into(),
            store: String::new(),
            books: Database::on(&url),
            replication: None,
            feed: Feed::Tail,
            publisher: String::new(),
            dead_letter_topic: None,
            lease: Duration::ZERO,
            grace: Duration::ZERO,
        };
        let fleet = Fleet::idle(program, Dice::for_one(0, 0), BrokerClock::Here, 4);
        assert_eq!(fleet.owner().await, None);
        assert_eq!(fleet.lanes_of("anyone").await.len(), 4);
    }
}
