//! Ringing for what was committed since the model's feed last read.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use eventferry_core::store::Doorbell;

use super::Shared;
use super::flaw::Flaw;

/// The model's doorbell.
#[derive(Debug)]
pub struct ModelDoorbell {
    world: Shared,
    seen: Seen,
    /// How often it was waited for. Only a flawed model looks at it.
    waits: u64,
}

/// Up to which place a relay's feed has looked, for its doorbell to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<AtomicU64>);

impl Seen {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, next_place: u64) {
        self.0.store(next_place, Ordering::Relaxed);
    }
}

impl ModelDoorbell {
    pub(super) fn new(world: Shared, seen: Seen) -> Self {
        Self { world, seen, waits: 0 }
    }
}

impl Doorbell for ModelDoorbell {
    async fn wait(&mut self) -> u32 {
        self.waits += 1;
        let is_spent = self.waits > 1 && self.world.lock().has(Flaw::BellIsForTheFirstWait);
        let (waits, mut began_at) = (self.waits, None);
        poll_fn(|context| {
            let mut world = self.world.lock();
            let began_at = *began_at.get_or_insert(world.next_place);
            let forgets = world.has(Flaw::BellForgetsWhatCameBefore)
                || waits > 1 && world.has(Flaw::BellForgetsBetweenWaits);
            let looked_to = if forgets { began_at } else { self.seen.get() };
            let rings = world.next_place > looked_to && !world.has(Flaw::BellStaysSilent) && !is_spent;
            if world.declared.capabilities.doorbell && rings {
                return Poll::Ready(());
            }
            world.sleepers.push(context.waker().clone());
            Poll::Pending
        })
        .await;
        1
    }
}
