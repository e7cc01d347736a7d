//! Notices become lines, happenings and figures.

use eventferry_core::machine::Notice;
use eventferry_core::publisher::Publisher;
use eventferry_core::store::Store;

use super::Engine;

impl<S: Store, P: Publisher> Engine<S, P> {
    pub(super) fn say(&mut self, notice: &Notice) {
        let owned = || self.core.lanes().count();
        match notice {
            Notice::Gained(lanes) => self.news.lanes_gained(lanes, owned()),
            Notice::Released(lanes) => self.news.lanes_released(lanes, owned()),
            Notice::Lost(lanes) => self.news.lanes_lost(lanes, owned()),
            Notice::LaneFull(lane) => self.news.lane_full(*lane),
            Notice::Parked(token, next) => {
                self.news.parked(self.rows.name(*token), &self.refusals.of(*token), *next);
            }
            Notice::RefusedAgain { token, attempts, next } => {
                let event = self.rows.name(*token);
                self.news.refused_again(event, &self.refusals.of(*token), *attempts, *next);
            }
            Notice::Unparked(token) => {
                if let Some(departed) = self.rows.departed(*token) {
                    self.news.released(&departed);
                }
            }
            Notice::Dead(token, held) => {
                if let Some(departed) = self.rows.departed(*token) {
                    self.news.dead(&departed, *held);
                }
            }
            Notice::Decided(key, decision, done) => self.news.decided(*key, *decision, *done),
            Notice::TopicHeld(topic, kind) => {
                let refusal = self.refusals.of_topic(*topic);
                self.news.topic_held(self.topics.name(*topic), *kind, &refusal.message);
            }
            Notice::TopicShut(topic) => {
                let refusal = self.refusals.of_topic(*topic);
                self.news.topic_shut(self.topics.name(*topic), &refusal);
            }
            Notice::TopicReleased(topic) => self.news.topic_released(self.topics.name(*topic)),
            Notice::StoreAway(_) | Notice::HistoryLost => {
                let fault = self.store_fault.as_ref().map(ToString::to_string);
                self.news.notice(notice, &fault.unwrap_or_default());
            }
            notice => {
                let fault = self.publish_fault.as_ref().map(ToString::to_string);
                self.news.notice(notice, &fault.unwrap_or_default());
            }
        }
    }
}
