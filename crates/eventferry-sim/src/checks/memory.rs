//! Promise 9: a relay holds no more than its settings say, save one page's overshoot.

use eventferry_core::machine::Settings;

/// A relay's records and payload bytes in memory.
pub(crate) fn load((records, bytes): (usize, u64), settings: &Settings, largest: u64) -> Option<String> {
    let records_max = settings.memory_records_max;
    // One larger event still comes, alone.
    let bytes_max = settings.memory_bytes_max + largest;
    (records > records_max || bytes > bytes_max).then(|| {
        format!(
            "{records} records and {bytes} bytes are in memory, with room for {records_max} and {bytes_max}"
        )
    })
}
