//! The header `traceparent`, as far as those need it who carry it or go on with a trace.

/// The name of the header that names a place in a trace (<https://www.w3.org/TR/trace-context/>).
pub const TRACEPARENT: &str = "traceparent";

/// The name of the header with what vendors add to it.
pub const TRACESTATE: &str = "tracestate";

/// The name of the header with what an application sends along (<https://www.w3.org/TR/baggage/>).
pub const BAGGAGE: &str = "baggage";

/// A place in a trace, as a `traceparent` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; not all zero.
    pub trace_id: [u8; 16],
    /// The span in it; not all zero.
    pub parent_id: [u8; 8],
    /// Whether the trace is recorded: the flag `sampled`.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads `version-trace-parent-flags` in lower-case hexadecimal; versions above 00 may have more behind. `None` is
    /// what the standard has ignored: a new trace begins.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b'-');
        let [version] = hex::<1>(parts.next()?)?;
        let trace_id: [u8; 16] = hex(parts.next()?)?;
        let parent_id: [u8; 8] = hex(parts.next()?)?;
        let [flags] = hex::<1>(parts.next()?)?;
        let is_known = version != 0xff && (version != 0 || parts.next().is_none());
        let is_one = trace_id != [0; 16] && parent_id != [0; 8];
        (is_known && is_one).then_some(Self { trace_id, parent_id, sampled: flags & 1 == 1 })
    }
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks(2)) {
        for digit in digits {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_no_traceparent_is_none() {
        let of = |parent: &[u8]| TraceParent::parse(parent).map(|parent| parent.sampled);
        assert_eq!(of(PARENT.as_bytes()), Some(true));
        assert_eq!(of(PARENT.replace("-01", "-02").as_bytes()), Some(false));
        assert_eq!(of(format!("{PARENT}-more").replacen("00", "01", 1).as_bytes()), Some(true));
        for bad in [
            String::new(),
            format!("{PARENT}-more"),
            PARENT.replacen("00", "ff", 1),
            PARENT.to_uppercase(),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            PARENT.replace("00f067aa0ba902b7", "00f067aa0ba902"),
            PARENT.replace("00f067aa0ba902b7", "00f067aa0ba902\u{e4}"),
        ] {
            assert_eq!(of(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(of(&[255]), None);
    }

    #[test]
    fn a_traceparent_names_trace_and_span() {
        let TraceParent { trace_id, parent_id, sampled } = TraceParent::parse(PARENT.as_bytes()).unwrap();
        assert_eq!((trace_id[0], trace_id[15], parent_id[0], parent_id[7]), (0x4b, 0x36, 0x00, 0xb7));
        assert!(sampled);
    }
}
