//! What the clauses' relay does with intents: it writes them down, and asks what was shipped.

use eventferry_core::Stamp;
use eventferry_core::store::Verdict;
use eventferry_core::transaction::{Agreement, Resolved};

use crate::broken::{Broken, ensure};
use crate::erased::{Carried, Intended};
use crate::relay::Relay;

/// The stamp of the transaction of this number. Nonces use all their bits.
pub(crate) fn stamp(number: u64) -> Stamp {
    Stamp { number, nonce: u64::MAX - number }
}

/// The same settlements, made with a transaction: all of its intent is settled with them.
pub(crate) fn carrying(number: u64, mut carried: Vec<Carried>) -> Vec<Carried> {
    carried.iter_mut().for_each(|one| one.carries = Some(number));
    carried
}

impl Relay<'_> {
    /// What transaction `number`, the next after `after`, settles, under all leases.
    pub(crate) fn intended(&self, number: u64, after: u64, carried: Vec<Carried>) -> Intended {
        Intended { stamp: stamp(number), after, settled: 0, carried, leases: self.leases.clone() }
    }

    /// Writes an intent down; a verdict is an answer too.
    pub(crate) async fn try_intend(&mut self, intended: &Intended) -> Result<Verdict, Broken> {
        let mut patience = self.patience();
        loop {
            match self.roles.intend(intended).await {
                Ok(verdict) => return Ok(verdict),
                Err(fault) => patience.bear("intend", fault).await?,
            }
        }
    }

    /// Writes down what transaction `number` settles; breaks the clause unless that is done.
    pub(crate) async fn intend(
        &mut self,
        number: u64,
        after: u64,
        carried: Vec<Carried>,
    ) -> Result<(), Broken> {
        let intended = self.intended(number, after, carried);
        let verdict = self.try_intend(&intended).await?;
        ensure!(
            verdict == Verdict::Done,
            "an intent for transaction {number}, under current leases, was answered {verdict:?}"
        );
        Ok(())
    }

    /// Asks for what was shipped, under all leases it holds.
    pub(crate) async fn resolve(&mut self, committed: Option<Stamp>) -> Result<Resolved, Broken> {
        let leases = self.leases.clone();
        let mut patience = self.patience();
        loop {
            match self.roles.resolve(&leases, committed).await {
                Ok(resolved) => return Ok(resolved),
                Err(fault) => patience.bear("resolve", fault).await?,
            }
        }
    }

    /// Asks for what was shipped; breaks the clause unless that is how things stand.
    pub(crate) async fn resolves(
        &mut self,
        committed: Option<Stamp>,
        expected: Agreement,
        when: &str,
    ) -> Result<(), Broken> {
        let Resolved { agreement, .. } = self.resolve(committed).await?;
        let committed = committed.map(|stamp| stamp.number);
        ensure!(
            agreement == expected,
            "{when}: with {committed:?} committed last, resolving was answered {agreement:?} instead of {expected:?}"
        );
        Ok(())
    }
}
