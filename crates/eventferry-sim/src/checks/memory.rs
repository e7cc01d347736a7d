//! Promise 9: a relay holds no more than its settings say, save an event's overshoot for each of its two sources.

use eventferry_core::machine::Settings;

/// A relay's records and payload bytes in memory.
pub(crate) fn load((records, bytes): (usize, u64), settings: &Settings, largest: u64) -> Option<String> {
    let records_max = settings.memory_records_max;
    // One larger event still comes, alone, from the log and from among the parked ones.
    let bytes_max = settings.memory_bytes_max + 2 * largest;
    (records > records_max || bytes > bytes_max).then(|| {
        format!(
            "{records} records and {bytes} bytes are in memory, with room for {records_max} and {bytes_max}"
        )
    })
}

/// The unsettled parked events of a lane after a settlement: past its bound it is not read, so what was in memory comes
/// on top, once for each owner that it had.
pub(crate) fn parked(lane: u16, parked: usize, settings: &Settings, owners: u64) -> Option<String> {
    let at_hand = settings.lane_records_max + settings.page_records_max as usize;
    let most = settings.lane_parked_max.saturating_add(at_hand * (owners as usize + 1));
    (parked > most).then(|| format!("{parked} events are parked in lane {lane}, with room for {most}"))
}
