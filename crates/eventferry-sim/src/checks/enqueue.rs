//! Promise 10: an enqueue waits for no relay.

use crate::agenda::Time;

/// An application's insert begins, and would have to wait until then.
pub(crate) fn inserts(now: Time, locked_until: Time) -> Option<String> {
    (locked_until > now).then(|| format!("an insert waits {} us for a relay's lock", locked_until - now))
}
