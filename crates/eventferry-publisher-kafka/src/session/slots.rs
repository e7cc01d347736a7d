//! The records that a session has taken and not reported.

use std::mem;

use eventferry_core::publisher::Token;

// A ticket is a slot's number and a count of its uses, in one opaque value.
const _: () = assert!(usize::BITS >= u64::BITS, "a 64-bit platform");

/// The records taken and not yet reported.
#[derive(Default)]
pub(super) struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
    pub(super) taken: usize,
    pub(super) bytes: usize,
}

pub(super) struct Slot {
    token: Token,
    pub(super) bytes: usize,
    /// Even: free. Odd: taken. Grows with every use, so that an old ticket opens nothing.
    uses: u32,
}

impl Slots {
    /// Keeps a token and gives the ticket that opens its slot.
    pub(super) fn take(&mut self, token: Token, bytes: usize) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot { token, bytes, uses: 0 });
            (self.all.len() - 1) as u32 // Bounded by `records_max`, which fits.
        });
        let slot = &mut self.all[number as usize];
        (slot.token, slot.bytes, slot.uses) = (token, bytes, slot.uses.wrapping_add(1));
        self.taken += 1;
        self.bytes += bytes;
        (slot.uses as usize) << 32 | number as usize
    }

    /// Gives back the token of a ticket, once.
    pub(super) fn free(&mut self, ticket: usize) -> Option<Token> {
        let number = ticket as u32;
        let slot = self.all.get_mut(number as usize).filter(|slot| slot.uses as usize == ticket >> 32)?;
        slot.uses = slot.uses.wrapping_add(1);
        self.taken -= 1;
        self.bytes -= slot.bytes;
        self.free.push(number);
        Some(slot.token)
    }

    /// The tokens of all slots still taken, which are free from now on.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Token> + '_ {
        (self.taken, self.bytes) = (0, 0);
        let (all, free) = (&mut self.all, &mut self.free);
        all.iter_mut().zip(0..).filter(|(slot, _)| slot.uses % 2 == 1).map(|(slot, number)| {
            slot.uses = slot.uses.wrapping_add(1);
            free.push(number);
            slot.token
        })
    }

    /// The tokens of all slots still taken.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Token> {
        self.taken = 0;
        mem::take(&mut self.all).into_iter().filter(|slot| slot.uses % 2 == 1).map(|slot| slot.token)
    }
}
