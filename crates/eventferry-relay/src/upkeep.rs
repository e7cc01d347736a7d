//! Sweeping, beside everything else.

use std::time::Duration;

use eventferry_core::StoreFaultKind;
use eventferry_core::store::{LogGauge, Upkeep};

use crate::figures;

/// How often old rows are looked for, and the log that is kept for relays is looked at.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);

/// Sweeps again and again, until it is aborted. A failure costs nothing but disk: it is said once and tried again.
pub(crate) async fn sweep<U: Upkeep>(mut upkeep: U, retention: Duration, log_kept_max: u64) {
    let mut told = false;
    let mut watch = LogWatch { kept_max: log_kept_max, told: Told::Nothing };
    loop {
        match upkeep.log().await {
            Ok(log) => watch.look(log),
            Err(fault) => tracing::debug!(%fault, "could not look at the database's log"),
        }
        match upkeep.sweep(retention).await {
            Ok(swept) => {
                told = false;
                if swept.events > 0 {
                    tracing::info!(events = swept.events, "removed settled events past their retention");
                }
                if swept.more {
                    continue;
                }
            }
            Err(fault) => {
                let level_up = *fault.kind() == StoreFaultKind::Misconfigured;
                if !std::mem::replace(&mut told, true) && level_up {
                    tracing::warn!(%fault, "settled events are not removed");
                } else {
                    tracing::debug!(%fault, "could not sweep; trying again");
                }
            }
        }
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
}

/// Says once, until it is well again, that the database keeps too much of its log.
struct LogWatch {
    kept_max: u64,
    told: Told,
}

/// What was said of the log last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Much,
    Lost,
}

impl LogWatch {
    fn look(&mut self, log: Option<LogGauge>) {
        let Some(log) = log else { return };
        figures::log_kept(&log);
        let LogGauge { kept_bytes, spare_bytes, lost } = log;
        let is_short = spare_bytes.is_some_and(|spare| spare < kept_bytes);
        if lost {
            if std::mem::replace(&mut self.told, Told::Lost) != Told::Lost {
                tracing::warn!(
                    "the database has let go of the log that it kept for relays: what it held is lost to them"
                );
            }
        } else if self.told != Told::Much && (kept_bytes > self.kept_max || is_short) {
            self.told = Told::Much;
            tracing::warn!(
                kept_bytes,
                spare_bytes,
                "the database keeps much of its log for relays: none carries, or not as fast as is written; it fills \
                 the database's disk, or is let go of"
            );
        } else if self.told != Told::Nothing && !is_short && kept_bytes <= self.kept_max / 4 * 3 {
            tracing::info!(kept_bytes, "the database keeps little of its log again");
            self.told = Told::Nothing;
        }
    }
}
