//! How a relay deals with what the broker refuses, as it is set.

use std::time::Duration;

use eventferry::core::machine::{Backoff, OnDead, RetryPolicy};
use eventferry::relay::{PublisherPart, RelayBuilder, StorePart};

use crate::arguments::FailureArguments;
use crate::ending::Trouble;
use crate::settings::{Given, Settings, duration};

/// What becomes of refused events.
#[derive(Debug)]
pub(crate) struct Failures {
    policy: RetryPolicy,
    /// Topics with a policy of their own.
    by_topic: Vec<(String, RetryPolicy)>,
    /// The topic for dead letters, or how its name is made from the event's.
    dead_letter_topic: Option<String>,
    dead_letter_detail: bool,
}

impl Failures {
    /// Reads the settings. What a topic's table leaves out is as it is for all topics.
    ///
    /// # Errors
    /// A value cannot be; it is named with its place.
    pub(crate) fn of(settings: &Settings, arguments: &FailureArguments) -> Result<Self, Trouble> {
        let FailureArguments {
            dead_letter_topic,
            dead_letter_detail,
            on_dead,
            retry_attempts,
            retry_backoff,
        } = arguments;
        let flag = |key| match key {
            "on_dead" => on_dead.as_deref(),
            "retry_attempts" => retry_attempts.as_deref(),
            _ => retry_backoff.as_deref(),
        };
        let policy = policy(RetryPolicy::default(), |key| settings.find(key, flag(key)))?;
        let by_topic = settings.topics().map(|(topic, settings)| {
            Ok((topic.to_owned(), self::policy(policy.clone(), |key| settings.find(key))?))
        });
        let by_topic = by_topic.collect::<Result<_, Trouble>>()?;
        let detail = settings.find("dead_letter_detail", dead_letter_detail.as_deref());
        let topic = settings.find("dead_letter_topic", dead_letter_topic.as_deref());
        Ok(Self {
            policy,
            by_topic,
            dead_letter_topic: topic.map(|given| given.text().to_owned()),
            dead_letter_detail: detail.map(|given| given.parse(yes_or_no)).transpose()?.unwrap_or(false),
        })
    }

    /// Tells a relay in the making.
    pub(crate) fn tell<S: StorePart, P: PublisherPart>(
        self,
        mut relay: RelayBuilder<S, P>,
    ) -> RelayBuilder<S, P> {
        relay = relay.retry(self.policy).dead_letter_detail(self.dead_letter_detail);
        for (topic, policy) in self.by_topic {
            relay = relay.retry_for(topic, policy);
        }
        match self.dead_letter_topic {
            Some(topic) => relay.dead_letters(topic),
            None => relay,
        }
    }
}

/// A policy with what is set of it.
fn policy(
    mut policy: RetryPolicy,
    find: impl Fn(&'static str) -> Option<Given>,
) -> Result<RetryPolicy, Trouble> {
    if let Some(given) = find("on_dead") {
        policy.on_dead = given.parse(on_dead)?;
    }
    if let Some(given) = find("retry_attempts") {
        policy.attempts = given.parse(attempts)?;
    }
    if let Some(given) = find("retry_backoff") {
        policy.backoff = given.parse(backoff)?;
    }
    Ok(policy)
}

/// Reads true or false.
pub(crate) fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
}

fn on_dead(text: &str) -> Result<OnDead, String> {
    match text {
        "continue" => Ok(OnDead::Continue),
        "hold" => Ok(OnDead::Hold),
        _ => Err(format!("`{text}` is nothing that can follow a dead letter; give continue or hold")),
    }
}

fn attempts(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|attempts| *attempts > 0).ok_or_else(|| {
        format!("`{text}` is no number of attempts; give a whole number from 1, the first attempt included")
    })
}

/// Reads `exponential:200ms:30s`, `linear:1s:30s` or `fixed:1s`.
fn backoff(text: &str) -> Result<Backoff, String> {
    let wrong = |why: &str| {
        format!(
            "`{text}` {why}; give exponential:MIN:MAX, linear:STEP:MAX or fixed:PAUSE, as in exponential:200ms:30s"
        )
    };
    let mut parts = text.split(':');
    let form = parts.next().unwrap_or_default();
    let pauses = parts.map(|part| duration(part).map_err(|_| wrong(&format!("holds `{part}`, no duration"))));
    let pauses = pauses.collect::<Result<Vec<Duration>, String>>()?;
    if pauses.iter().any(Duration::is_zero) {
        return Err(wrong("holds a pause of no length, which would hammer the broker"));
    }
    match (form, &pauses[..]) {
        ("fixed", &[pause]) => Ok(Backoff::Fixed(pause)),
        ("exponential" | "linear", &[first, max]) if first > max => {
            Err(wrong("begins with a pause longer than its longest"))
        }
        ("exponential", &[min, max]) => Ok(Backoff::Exponential { min, max }),
        ("linear", &[step, max]) => Ok(Backoff::Linear { step, max }),
        _ => Err(wrong("is no way to back off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_is_read_as_it_is_written() {
        let (ms200, s1, s30) = (Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(30));
        for (text, expected) in [
            ("exponential:200ms:30s", Backoff::Exponential { min: ms200, max: s30 }),
            ("linear:1s:30s", Backoff::Linear { step: s1, max: s30 }),
            ("fixed:1s", Backoff::Fixed(s1)),
        ] {
            assert_eq!(backoff(text), Ok(expected));
        }
        for text in [
            "",
            "fixed",
            "fixed:0s",
            "fixed:1",
            "fixed:1s:2s",
            "linear:1s",
            "exponential:2s:1s",
            "quadratic:1s",
            "exponential:1s:2s:3s",
        ] {
            let refusal = backoff(text).unwrap_err();
            assert!(
                refusal.starts_with(&format!("`{text}` ")) && refusal.contains("fixed:PAUSE"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn the_default_backoff_is_the_one_that_the_help_names() {
        assert_eq!(backoff("exponential:200ms:30s"), Ok(RetryPolicy::default().backoff));
        assert_eq!((RetryPolicy::default().attempts, RetryPolicy::default().on_dead), (5, OnDead::Continue));
    }

    #[test]
    fn attempts_and_words_have_bounds() {
        assert_eq!(attempts("1"), Ok(1));
        for text in ["0", "-1", "many", ""] {
            assert!(attempts(text).unwrap_err().contains("whole number from 1"));
        }
        assert_eq!(on_dead("hold"), Ok(OnDead::Hold));
        assert!(on_dead("stop").unwrap_err().contains("continue or hold"));
        assert_eq!(yes_or_no("true"), Ok(true));
        assert!(yes_or_no("yes").is_err());
    }
}
