//! Envelopes go to sessions, and their reports to the core.

use std::time::Duration;

use eventferry_core::Stamp;
use eventferry_core::machine::{BEGIN, Outcome as CoreOutcome};
use eventferry_core::publisher::{Domain, Outcome, Publisher, Report, Role, Session, Taken, Token};
use eventferry_core::store::Store;

use super::Engine;

impl<S: Store, P: Publisher> Engine<S, P> {
    pub(super) fn session(&mut self, role: Role) -> &mut Option<P::Session> {
        match role {
            Role::Main => &mut self.main,
            Role::Alone => &mut self.alone,
        }
    }

    pub(super) fn send(&mut self, role: Role, token: Token, domain: Domain) {
        let session = match role {
            // In transactions one session has them all.
            Role::Alone if !self.exactly_once => &mut self.alone,
            _ => &mut self.main,
        };
        let taken = match (session, self.rows.envelope(token, &self.topics)) {
            (Some(session), Some(envelope)) => session.send(token, domain, &envelope),
            _ => Taken::Ended,
        };
        match taken {
            Taken::Yes => {}
            Taken::Full => self.core.handle_full(self.started.elapsed(), token),
            Taken::Ended => self.core.handle_ended(self.started.elapsed(), token),
        }
    }

    pub(super) fn begin(&mut self, stamp: Stamp) {
        let taken = self.main.as_mut().map_or(Taken::Ended, |session| session.begin(BEGIN, stamp));
        if taken != Taken::Yes {
            self.core.handle_ended(self.started.elapsed(), BEGIN);
        }
    }

    /// The transaction of these records is committed.
    pub(super) fn shipped(&mut self, tokens: Vec<Token>) {
        tokens.into_iter().for_each(|token| self.shipped_one(token));
    }

    fn shipped_one(&mut self, token: Token) {
        if self.rows.acknowledged(token) {
            self.finished.shipped += 1;
            self.news.shipped();
        }
        self.refusals.forget(token);
    }

    pub(super) fn abandon(&mut self, role: Role, within: Duration) {
        match self.session(role).take() {
            Some(session) => self.calls.abandon(role, session, within),
            None => self.core.handle_abandoned(self.started.elapsed(), role, &[]),
        }
    }

    pub(super) fn reported(&mut self, role: Role, reports: &mut Vec<Report>) {
        let now = self.started.elapsed();
        if reports.is_empty() {
            self.core.handle_session_ended(now, role);
        }
        for report in reports.drain(..) {
            let (token, outcome) = self.outcome(report);
            self.core.handle_report(now, token, outcome);
        }
    }

    pub(super) fn outcome(&mut self, report: Report) -> (Token, CoreOutcome) {
        let outcome = match report.outcome {
            // In a transaction it may have to go again.
            Outcome::Acknowledged if self.exactly_once => CoreOutcome::Acknowledged,
            Outcome::Acknowledged => {
                self.shipped_one(report.token);
                CoreOutcome::Acknowledged
            }
            Outcome::Uncertain => CoreOutcome::Uncertain,
            Outcome::Refused(fault) => {
                self.note_refusal(report.token, &fault);
                CoreOutcome::Refused(self.publish_failed(*fault))
            }
        };
        (report.token, outcome)
    }
}
