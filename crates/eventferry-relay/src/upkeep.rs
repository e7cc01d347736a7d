//! Sweeping, beside everything else.

use std::time::Duration;

use eventferry_core::StoreFaultKind;
use eventferry_core::store::Upkeep;

/// How often old rows are looked for.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);

/// Sweeps again and again, until it is aborted. A failure costs nothing but disk: it is said once and tried again.
pub(crate) async fn sweep<U: Upkeep>(mut upkeep: U, retention: Duration) {
    let mut told = false;
    loop {
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
