//! Three relays, one of which is killed now and then.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::clock::BrokerClock;
use super::dice::Dice;
use super::findings::{Breach, Findings};
use super::relays::{Program, Relay};
use super::repeats::{Cut, lanes_of};
use crate::failure::Failure;

const RELAYS: usize = 3;

/// How long a relay may take to end after its grace time: the process itself must go.
const END_MAX: Duration = Duration::from_secs(5);

pub(super) struct Fleet {
    program: Program,
    relays: Vec<Relay>,
    dice: Dice,
    clock: BrokerClock,
    /// To ask who owns which lane.
    client: Client,
    lanes_total: u16,
    started: usize,
    /// When all relays were last looked after, by the broker's clock.
    looked_ms: i64,
    pub(super) cuts: Vec<Cut>,
    pub(super) kills: usize,
    /// How often leases of living relays ran out.
    pub(super) lapses: usize,
}

impl Fleet {
    pub(super) async fn start(
        program: Program,
        dice: Dice,
        clock: BrokerClock,
        client: Client,
        lanes_total: u16,
    ) -> Result<Self, Failure> {
        let looked_ms = clock.ask().await?;
        let mut fleet = Self {
            program,
            relays: Vec::new(),
            dice,
            clock,
            client,
            lanes_total,
            started: 0,
            looked_ms,
            cuts: Vec::new(),
            kills: 0,
            lapses: 0,
        };
        for _ in 0..RELAYS {
            fleet.add()?;
        }
        Ok(fleet)
    }

    /// Kills one and starts another, under a name that was never used.
    pub(super) async fn kill_one(&mut self) -> Result<(), Failure> {
        self.look().await?;
        let mut relay = self.relays.swap_remove(self.dice.below(self.relays.len()));
        let id = relay.id.clone();
        let from_ms = self.clock.ask().await?;
        let mut lanes = lanes_of(&self.client, &id).await?;
        relay.kill().await?;
        // Asked again, for what it settled meanwhile; asked before, lest another has taken a lane already. Where this
        // is not the very moment, the rule for repeats is a little milder than the truth, never sterner.
        lanes.extend(lanes_of(&self.client, &id).await?);
        let to_ms = self.clock.ask().await?;
        self.cuts.push(Cut { relay: id, lanes, from_ms, to_ms, ..Cut::default() });
        self.kills += 1;
        self.note_lapses(&mut relay, to_ms);
        self.add()
    }

    /// Looks after all of them: fails if one ended by itself, and notes whose leases ran out.
    pub(super) async fn look(&mut self) -> Result<(), Failure> {
        let now_ms = self.clock.ask().await?;
        let mut relays = std::mem::take(&mut self.relays);
        for relay in &mut relays {
            relay.check()?;
            self.note_lapses(relay, now_ms);
        }
        (self.relays, self.looked_ms) = (relays, now_ms);
        Ok(())
    }

    fn note_lapses(&mut self, relay: &mut Relay, now_ms: i64) {
        for _ in 0..relay.new_lapses() {
            self.lapses += 1;
            self.cuts.push(Cut::lapse(&relay.id, self.lanes_total, self.looked_ms, now_ms));
        }
    }

    /// How many events are not shipped, by the program's own word.
    pub(super) async fn lag(&self) -> Result<u64, Failure> {
        self.program.lag().await
    }

    /// Ends all of them at once; each must drain within its grace.
    pub(super) async fn end(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        let within = self.program.grace + END_MAX;
        let end = |mut relay: Relay| async move { (relay.end(within).await, relay) };
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

    fn add(&mut self) -> Result<(), Failure> {
        self.started += 1;
        self.relays.push(self.program.start(format!("storm-{}", self.started))?);
        Ok(())
    }
}
