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
    started: usize,
    pub(super) cuts: Vec<Cut>,
    /// How often leases of living relays ran out.
    pub(super) lapses: usize,
}

impl Fleet {
    pub(super) fn start(
        program: Program,
        dice: Dice,
        clock: BrokerClock,
        client: Client,
    ) -> Result<Self, Failure> {
        let (relays, cuts) = (Vec::new(), Vec::new());
        let mut fleet = Self { program, relays, dice, clock, client, started: 0, cuts, lapses: 0 };
        for _ in 0..RELAYS {
            fleet.add()?;
        }
        Ok(fleet)
    }

    /// Kills one and starts another, under a name that was never used.
    pub(super) async fn kill_one(&mut self) -> Result<(), Failure> {
        self.check()?;
        let relay = self.relays.swap_remove(self.dice.below(self.relays.len()));
        let id = relay.id.clone();
        self.lapses += relay.lapses();
        let from_ms = self.clock.ask().await?;
        let mut lanes = lanes_of(&self.client, &id).await?;
        relay.kill().await?;
        // Asked again, for what it settled meanwhile; asked before, lest another has taken a lane already. Where this
        // is not the very moment, the rule for repeats is a little milder than the truth, never sterner.
        lanes.extend(lanes_of(&self.client, &id).await?);
        let to_ms = self.clock.ask().await?;
        self.cuts.push(Cut { relay: id, lanes, from_ms, to_ms, ..Cut::default() });
        self.add()
    }

    /// Fails if a relay ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.relays.iter_mut().try_for_each(Relay::check)
    }

    /// How many events are not shipped, by the program's own word.
    pub(super) async fn lag(&self) -> Result<u64, Failure> {
        self.program.lag().await
    }

    /// Ends all of them at once; each must drain within its grace.
    pub(super) async fn end(&mut self, findings: &mut Findings) {
        let within = self.program.grace + END_MAX;
        let relays = std::mem::take(&mut self.relays);
        self.lapses += relays.iter().map(Relay::lapses).sum::<usize>();
        let mut ends: JoinSet<_> = relays.into_iter().map(|relay| relay.end(within)).collect();
        while let Some(ended) = ends.join_next().await {
            if let Err(failure) = ended.unwrap_or_else(|panic| Err(panic.into())) {
                findings.add(Breach::Relay, || failure.to_string());
            }
        }
    }

    fn add(&mut self) -> Result<(), Failure> {
        self.started += 1;
        self.relays.push(self.program.start(format!("storm-{}", self.started))?);
        Ok(())
    }
}
