//! What the clauses' relay does with parked events: it lists them, asks which are due, and sits at the desk.

use eventferry_core::StoredEvent;
use eventferry_core::parked::{
    Act, Decision, Decisions, DueAsk, DueEvent, DuePage, ParkReason, ParkedAsk, ParkedEvent, ParkedFilter,
    ParkedKey, ParkedPage, ShowAsk, ShownEvent, ShownPage,
};
use eventferry_core::parked::{Cause, Next};
use eventferry_core::{Lane, MessageId};
use std::time::Duration;

use crate::broken::{Broken, ensure};
use crate::relay::Relay;

/// What an event waits for that waits behind another.
pub(crate) const BEHIND: ParkReason<'static> = ParkReason::Behind;

/// A pause that no clause outlives.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A cause of the class that most clauses use.
pub(crate) fn cause(message: &'static str) -> Cause<'static> {
    Cause { class: "MessageSizeTooLarge", message }
}

/// A first refusal after which the event waits for a person.
pub(crate) fn refused(message: &'static str) -> ParkReason<'static> {
    refused_and(message, Next::Wait)
}

/// A first refusal, and what is to become of the event.
pub(crate) fn refused_and(message: &'static str, next: Next) -> ParkReason<'static> {
    ParkReason::Refused { cause: cause(message), next }
}

/// Which due events to ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) except_topics: &'static [&'static str],
    pub(crate) after: Option<ParkedKey>,
    pub(crate) records_max: u32,
    pub(crate) bytes_max: u64,
}

impl Default for Due {
    fn default() -> Self {
        Self { except_topics: &[], after: None, records_max: 500, bytes_max: 1 << 20 }
    }
}

/// Who decides in the clauses.
pub(crate) fn act(why: &str) -> Act {
    Act { who: "ann".into(), why: why.into() }
}

impl Relay<'_> {
    /// Lists what is parked in all lanes it holds.
    pub(crate) async fn parked(&mut self) -> Result<Vec<ParkedEvent>, Broken> {
        let lanes = self.lanes();
        self.parked_in(&lanes).await
    }

    pub(crate) async fn parked_in(&mut self, lanes: &[Lane]) -> Result<Vec<ParkedEvent>, Broken> {
        let mut events: Vec<ParkedEvent> = Vec::new();
        loop {
            let after = events.last().map(|event| event.key);
            let page = self.parked_page(ParkedAsk { lanes, after, limit: 100 }).await?;
            ensure!(
                !page.more || !page.events.is_empty(),
                "a page of parked events was empty and said that there are more"
            );
            events.extend(page.events);
            if !page.more {
                return Ok(events);
            }
            ensure!(events.len() < 100_000, "the list of parked events does not end");
        }
    }

    pub(crate) async fn parked_page(&mut self, ask: ParkedAsk<'_>) -> Result<ParkedPage, Broken> {
        let mut patience = self.patience();
        loop {
            match self.roles.parked(ask).await {
                Ok(page) => return Ok(page),
                Err(fault) => patience.bear("parked", fault).await?,
            }
        }
    }

    /// One page of what is due in all lanes it holds.
    pub(crate) async fn due_page(&mut self, due: Due) -> Result<DuePage<StoredEvent>, Broken> {
        let lanes = self.lanes();
        self.due_page_of(&lanes, due).await
    }

    /// One page of what is due in these lanes.
    pub(crate) async fn due_page_of(
        &mut self,
        lanes: &[Lane],
        due: Due,
    ) -> Result<DuePage<StoredEvent>, Broken> {
        let Due { except_topics, after, records_max, bytes_max } = due;
        let ask = DueAsk { lanes, except_topics, after, records_max, bytes_max };
        let mut patience = self.patience();
        let page = loop {
            match self.roles.due(ask).await {
                Ok(page) => break page,
                Err(fault) => patience.bear("due", fault).await?,
            }
        };
        let ascends = page.events.windows(2).all(|pair| pair[0].key < pair[1].key);
        ensure!(ascends, "the keys of due events do not ascend");
        let ascends = page.decisions.windows(2).all(|pair| pair[0].key < pair[1].key);
        ensure!(ascends, "the keys of decisions do not ascend");
        Ok(page)
    }

    /// All that is due in all lanes it holds, which must fit into a page.
    pub(crate) async fn due(&mut self) -> Result<Vec<DueEvent<StoredEvent>>, Broken> {
        let page = self.due_page(Due::default()).await?;
        ensure!(!page.more, "a page with {} due events says that there are more", page.events.len());
        Ok(page.events)
    }

    /// Waits until something is due.
    pub(crate) async fn await_due(&mut self) -> Result<Vec<DueEvent<StoredEvent>>, Broken> {
        let mut patience = self.patience();
        loop {
            let due = self.due().await?;
            if !due.is_empty() {
                return Ok(due);
            }
            patience.tick("a parked event to be due").await?;
        }
    }

    /// What people see of all unsettled parked events that match.
    pub(crate) async fn shown_by(
        &mut self,
        filter: &ParkedFilter,
    ) -> Result<Vec<ShownEvent<StoredEvent>>, Broken> {
        let ask = ShowAsk { filter, after: None, records_max: 1000, bytes_max: 1 << 24 };
        let page = self.show_page(ask).await?;
        ensure!(!page.more, "a page with all {} shown events says that there are more", page.events.len());
        Ok(page.events)
    }

    /// What people see of all unsettled parked events.
    pub(crate) async fn shown(&mut self) -> Result<Vec<ShownEvent<StoredEvent>>, Broken> {
        self.shown_by(&ParkedFilter::default()).await
    }

    /// What people see of the unsettled parked event of this message.
    pub(crate) async fn shown_one(&mut self, id: MessageId) -> Result<ShownEvent<StoredEvent>, Broken> {
        let shown = self.shown().await?.into_iter().find(|one| one.row.message_id == id);
        shown.ok_or_else(|| Broken::new("a parked event that is not settled is not shown"))
    }

    pub(crate) async fn show_page(&mut self, ask: ShowAsk<'_>) -> Result<ShownPage<StoredEvent>, Broken> {
        let mut patience = self.patience();
        loop {
            match self.roles.show(ask).await {
                Ok(page) => return Ok(page),
                Err(fault) => patience.bear("show", fault).await?,
            }
        }
    }

    /// Decides on what matches, once: a decision that may have been taken counts differently when it is made again.
    pub(crate) async fn decide_as(
        &mut self,
        filter: &ParkedFilter,
        decision: Decision,
        act: &Act,
    ) -> Result<Decisions, Broken> {
        let mut patience = self.patience();
        loop {
            match self.roles.decide(filter, decision, act).await {
                Ok(decisions) => return Ok(decisions),
                Err(fault) => patience.bear("decide", fault).await?,
            }
        }
    }

    pub(crate) async fn decide(
        &mut self,
        filter: &ParkedFilter,
        decision: Decision,
    ) -> Result<Decisions, Broken> {
        self.decide_as(filter, decision, &act("as a clause has it")).await
    }

    /// Decides on the parked event of this message alone.
    pub(crate) async fn decide_on(&mut self, id: MessageId, decision: Decision) -> Result<Decisions, Broken> {
        self.decide(&ParkedFilter { message_ids: vec![id], ..ParkedFilter::default() }, decision).await
    }
}
