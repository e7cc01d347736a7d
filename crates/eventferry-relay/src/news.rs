//! What happens is told to three audiences: people (a line), the program (a happening), monitors (a figure).

use std::collections::BTreeSet;
use std::time::Duration;

use eventferry_core::machine::Notice;
use eventferry_core::parked::{Decision, Next, ParkedKey};
use eventferry_core::publisher::Role;
use eventferry_core::{Lane, PublishFaultKind, StoreFault};

use crate::figures::Figures;
use crate::happening::{EventName, Happening, Whom, Why};
use crate::listener::{Counts, Ears, Listener};
use crate::refusals::{Refusal, kind_name};
use crate::rows::Departed;
use crate::voice::{Outage, Voice};

/// How long counts are gathered before listeners hear of them, unless something else happens.
const TELL_PAUSE: Duration = Duration::from_millis(100);

/// Tells the three audiences.
pub(crate) struct News {
    voice: Voice,
    pub(crate) figures: Figures,
    listeners: Vec<Listener>,
    /// Counted, and no listener knows.
    counts: Counts,
    /// Counted since the last round.
    round: Counts,
    told_at: Duration,
    /// What was said of dead letters that were refused.
    letters_refused: Outage,
    /// Who is away, so that each outage begins and ends once.
    away: BTreeSet<Whom>,
}

impl News {
    pub(crate) fn new(ears: Ears) -> Self {
        Self {
            voice: Voice::new(),
            figures: Figures::new(),
            listeners: ears.0.into_iter().map(Listener::start).collect(),
            counts: Counts::default(),
            round: Counts::default(),
            told_at: Duration::ZERO,
            letters_refused: Outage::default(),
            away: BTreeSet::new(),
        }
    }

    pub(crate) fn read(&mut self, records: usize) {
        self.counts.read += records as u64;
    }

    pub(crate) fn shipped(&mut self) {
        self.counts.shipped += 1;
    }

    pub(crate) fn parked_along(&mut self, records: u64) {
        self.counts.parked_along += records;
    }

    /// Ends a round of the engine, which holds so much. Says when the next one is due for the listeners' sake.
    pub(crate) fn round(&mut self, now: Duration, records: usize, bytes: u64) -> Option<Duration> {
        self.pass_counts();
        let counts = std::mem::take(&mut self.round);
        self.figures.count(counts);
        self.figures.round(now, counts.shipped > 0, records, bytes);
        self.voice.turn(now);
        if !self.listeners.iter().any(Listener::is_behind) {
            return None;
        }
        if now.saturating_sub(self.told_at) >= TELL_PAUSE {
            self.told_at = now;
            self.listeners.iter_mut().for_each(Listener::flush);
        }
        self.listeners.iter().any(Listener::is_behind).then_some(self.told_at + TELL_PAUSE)
    }

    /// Lets the listeners count too: what happens next comes after it.
    fn pass_counts(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        if !counts.is_empty() {
            self.round.add(counts);
            self.listeners.iter_mut().for_each(|listener| listener.count(counts));
        }
    }

    /// `happening` is only made where somebody listens.
    fn tell(&mut self, happening: impl Fn() -> Happening) {
        self.pass_counts();
        for listener in &mut self.listeners {
            if listener.tell(happening()) {
                self.figures.missed();
                self.voice.missed();
            }
        }
    }

    pub(crate) fn parked(&mut self, event: Option<EventName>, refusal: &Refusal, next: Next) {
        self.figures.parked();
        self.decided_next(refusal, next);
        self.voice.parked(event.as_ref(), refusal, next);
        if let Some(event) = event {
            self.tell(|| Happening::Parked { event: event.clone(), why: why(refusal), next });
        }
    }

    pub(crate) fn refused_again(
        &mut self,
        event: Option<EventName>,
        refusal: &Refusal,
        attempts: u32,
        next: Next,
    ) {
        self.decided_next(refusal, next);
        self.voice.refused_again(event.as_ref(), refusal, attempts, next);
        if let Some(event) = event {
            self.tell(|| Happening::Retried { event: event.clone(), why: why(refusal), attempts, next });
        }
    }

    fn decided_next(&self, refusal: &Refusal, next: Next) {
        match next {
            Next::Retry(_) => self.figures.retried(refusal.class),
            Next::Wait | Next::Die => self.figures.exhausted(refusal.class),
        }
    }

    pub(crate) fn released(&mut self, departed: &Departed) {
        self.figures.released();
        self.voice.released(&departed.event);
        self.tell(|| Happening::Released { event: departed.event.clone() });
    }

    pub(crate) fn dead(&mut self, departed: &Departed, held: bool) {
        let Departed { event, attempts, death: Some(death), .. } = departed else { return };
        self.figures.dead(&death.class);
        self.voice.dead(event, &death.class, *attempts, held);
        let why = || Why { class: death.class.clone(), message: death.message.clone() };
        self.tell(|| Happening::Dead { event: event.clone(), why: why(), attempts: *attempts, held });
    }

    /// A dead letter was refused: its event stays parked.
    pub(crate) fn letter_refused(&mut self, now: Duration, event: &EventName, refusal: &Refusal) {
        self.figures.letter_refused(refusal.class);
        // It is tried again for ever: people hear once of each cause.
        if self.letters_refused.is_news(refusal.class, now) {
            self.voice.letter_refused(event, refusal);
        }
        self.tell(|| Happening::DeadLetterRefused { event: event.clone(), why: why(refusal) });
    }

    pub(crate) fn decided(&mut self, key: ParkedKey, decision: Decision, done: bool) {
        let name = match decision {
            Decision::Retry => "retry",
            Decision::Discard => "discard",
            Decision::Release => "release",
        };
        self.figures.decided(name, done);
        self.voice.decided(key, decision, done);
        self.tell(|| Happening::Decided { key, decision, done });
    }

    pub(crate) fn lanes_gained(&mut self, lanes: &[Lane], owned: usize) {
        self.figures.lanes_gained(lanes.len(), owned);
        self.voice.lanes_gained(lanes.len(), owned);
        self.tell(|| Happening::LanesGained(lanes.to_vec()));
    }

    pub(crate) fn lanes_released(&mut self, lanes: &[Lane], owned: usize) {
        self.figures.lanes_released(lanes.len(), owned);
        self.voice.lanes_released(lanes.len());
        self.tell(|| Happening::LanesReleased(lanes.to_vec()));
    }

    pub(crate) fn lanes_lost(&mut self, lanes: &[Lane], owned: usize) {
        self.figures.lanes_lost(lanes.len(), owned);
        self.voice.lanes_lost(lanes.len(), owned);
        self.tell(|| Happening::LanesLost(lanes.to_vec()));
    }

    pub(crate) fn lane_full(&mut self, lane: Lane) {
        self.figures.lane_full();
        self.voice.lane_full(lane);
    }

    pub(crate) fn topic_held(&mut self, topic: &str, kind: PublishFaultKind, fault: &str) {
        self.voice.topic_held(topic, kind, fault);
        self.begin(Whom::Topic(topic.into()), fault);
    }

    pub(crate) fn topic_shut(&mut self, topic: &str, refusal: &Refusal) {
        self.voice.topic_shut(topic, refusal);
    }

    pub(crate) fn topic_released(&mut self, topic: &str) {
        self.voice.topic_released(topic);
        self.end_of(Whom::Topic(topic.into()));
    }

    /// The store does not answer before there is anything to carry; `outage` knows what was said of it.
    pub(crate) fn store_unprepared(&mut self, fault: &StoreFault, now: Duration, outage: &mut Outage) {
        if outage.is_news(&fault.to_string(), now) {
            tracing::warn!(%fault, "the store does not answer: waiting");
        } else {
            tracing::debug!(%fault, "the store still does not answer");
        }
        self.begin(Whom::Store, fault.message());
    }

    pub(crate) fn store_prepared(&mut self, mut outage: Outage) {
        if outage.is_over() {
            tracing::info!("the store answers");
        }
        self.end_of(Whom::Store);
    }

    /// What concerns no event and no topic.
    pub(crate) fn notice(&mut self, notice: &Notice, fault: &str) {
        self.voice.notice(notice, fault);
        match notice {
            Notice::StoreAway(_) => self.begin(Whom::Store, fault),
            Notice::StoreBack => self.end_of(Whom::Store),
            Notice::BrokerAway(_) => self.begin(Whom::Broker, fault),
            Notice::BrokerBack => self.end_of(Whom::Broker),
            Notice::SessionEnded(role, kind) => {
                let role = match role {
                    Role::Main => "main",
                    Role::Alone => "alone",
                };
                self.figures.session_ended(role, kind.map_or("Uncertain", kind_name));
            }
            _ => {}
        }
    }

    fn begin(&mut self, whom: Whom, fault: &str) {
        if self.away.insert(whom.clone()) {
            self.figures.away(&whom, true);
            self.tell(|| Happening::OutageBegan { of: whom.clone(), message: fault.into() });
        }
    }

    fn end_of(&mut self, whom: Whom) {
        if self.away.remove(&whom) {
            self.figures.away(&whom, false);
            self.tell(|| Happening::OutageEnded { of: whom.clone() });
        }
    }

    /// The relay has ended: listeners hear what they have not heard, for a moment.
    pub(crate) async fn end(mut self) {
        self.pass_counts();
        self.figures.count(self.round);
        self.figures.end();
        let ends = self.listeners.into_iter().map(|listener| tokio::spawn(listener.end()));
        for end in ends.collect::<Vec<_>>() {
            // A panic of ours there would be said by the runtime; nothing depends on it.
            let _ = end.await;
        }
    }
}

fn why(refusal: &Refusal) -> Why {
    Why { class: refusal.class.into(), message: refusal.message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_are_gathered_for_a_moment_and_then_told_whether_or_not_more_happens() {
        let (said, heard) = std::sync::mpsc::channel();
        let ear = move |happening| said.send(happening).unwrap();
        let mut news = News::new(Ears(vec![Box::new(ear)]));
        let at = Duration::from_millis;
        assert_eq!(news.round(at(1_000), 0, 0), None);
        news.read(2);
        assert_eq!(news.round(at(1_001), 0, 0), None, "after a silence they are told at once");
        news.read(3);
        assert_eq!(news.round(at(1_002), 0, 0), Some(at(1_101)));
        news.read(4);
        assert_eq!(news.round(at(1_100), 0, 0), Some(at(1_101)));
        assert_eq!(news.round(at(1_101), 0, 0), None);
        news.end().await;
        let expected = [2, 7].map(|records| Happening::Read { records });
        assert_eq!(heard.iter().collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn what_was_counted_before_something_happens_is_told_before_it_and_an_outage_begins_once() {
        let (said, heard) = std::sync::mpsc::channel();
        let ear = move |happening| said.send(happening).unwrap();
        let mut news = News::new(Ears(vec![Box::new(ear)]));
        news.read(2);
        news.topic_held("orders", PublishFaultKind::Unavailable, "no leader");
        news.shipped();
        news.topic_held("orders", PublishFaultKind::TopicRefused, "no such topic");
        news.topic_released("orders");
        news.topic_released("orders");
        news.end().await;
        let of = || Whom::Topic("orders".into());
        let expected = [
            Happening::Read { records: 2 },
            Happening::OutageBegan { of: of(), message: "no leader".into() },
            Happening::Shipped { records: 1 },
            Happening::OutageEnded { of: of() },
        ];
        assert_eq!(heard.iter().collect::<Vec<_>>(), expected);
    }
}
