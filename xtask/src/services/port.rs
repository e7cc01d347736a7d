//! Free loopback ports.

use std::net::TcpListener;

use crate::trouble::Trouble;

/// Below the range from which the kernel gives ports to outgoing connections (32768 and up), so that no client's
/// connection can sit on a server's port while it restarts.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;
/// Servers of one checkout begin to look this far apart, so that they do not race for the same port.
const STRIDE: u16 = 16;

/// Where the `index`th server of a checkout begins to look.
pub(crate) fn wish(fingerprint: u64, index: u16) -> u16 {
    let slots = u64::from((LAST - FIRST) / STRIDE);
    let slot = fingerprint.wrapping_add(u64::from(index)) % slots;
    FIRST + u16::try_from(slot).unwrap_or_default() * STRIDE
}

/// The first free port at or after `wish`, going round at the end of the range.
pub(crate) fn free(wish: u16) -> Result<u16, Trouble> {
    let wish = wish.clamp(FIRST, LAST);
    (wish..=LAST)
        .chain(FIRST..wish)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| Trouble::new(format!("no free port on 127.0.0.1 between {FIRST} and {LAST}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_passed_over() {
        // Others look for ports at the same time, so a port that was free is not one that can be bound.
        let (_taken, first) = (FIRST..=LAST)
            .find_map(|port| Some((TcpListener::bind(("127.0.0.1", port)).ok()?, port)))
            .unwrap();
        assert_ne!(free(first).unwrap(), first);
    }

    #[test]
    fn every_wish_lies_in_the_range() {
        for fingerprint in [0, 1, 748, 749, u64::MAX - 3] {
            assert!((FIRST..=LAST).contains(&wish(fingerprint, 3)));
        }
    }
}
