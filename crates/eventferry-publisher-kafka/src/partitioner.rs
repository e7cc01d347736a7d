//! Which partition a key belongs to.
//!
//! Events of an aggregate must stay in one partition, or their order ends at the broker: so every way here is a
//! function of the key and the number of partitions. Sticky and round-robin partitioners, which go by time or turn,
//! are refused.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use eventferry_core::{Envelope, PublishFault, PublishFaultKind};

/// A program's own choice: of the envelope and the number of partitions, the partition.
type Choice = dyn Fn(&Envelope<'_>, i32) -> i32 + Send + Sync;

/// How the partition of an event is chosen that asks for none.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Partitioner {
    /// As Java's client chooses it by the key (`murmur2`).
    #[default]
    Murmur2,
    /// As librdkafka's `consistent` does: CRC-32 of the key. For topics that programs on librdkafka (Python, Go, .NET,
    /// PHP, Ruby) write, too, which choose so unless told otherwise.
    Consistent,
    /// As librdkafka's and Sarama's `fnv1a` do.
    Fnv1a,
    /// As the program says, from 0 to below the number of partitions. It must give the same partition for all events of
    /// an aggregate, as long as their number is the same: else their order ends at the broker. It is called for every
    /// event, on the relay's own threads.
    Custom(Arc<Choice>),
}

impl Partitioner {
    /// The program's own choice: see [`Partitioner::Custom`].
    pub fn custom(choice: impl Fn(&Envelope<'_>, i32) -> i32 + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(choice))
    }

    /// The partition of an envelope in a topic with so many of them, at least one.
    pub(crate) fn partition(&self, envelope: &Envelope<'_>, partitions: i32) -> i32 {
        let count = partitions.unsigned_abs().max(1);
        let of = |hash: u32| (hash % count).cast_signed();
        match self {
            Self::Murmur2 => of(murmur2(envelope.key()) & 0x7fff_ffff),
            Self::Consistent => of(crc32(envelope.key())),
            // librdkafka takes the hash as a number with a sign, and of it the amount.
            Self::Fnv1a => of(fnv1a(envelope.key()).cast_signed().unsigned_abs()),
            Self::Custom(choice) => choice(envelope, partitions),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Murmur2 => "murmur2",
            Self::Consistent => "consistent",
            Self::Fnv1a => "fnv1a",
            Self::Custom(_) => "custom",
        }
    }
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Partitioner {
    type Err = PublishFault;

    fn from_str(name: &str) -> Result<Self, PublishFault> {
        let why = match name {
            "murmur2" => return Ok(Self::Murmur2),
            "consistent" => return Ok(Self::Consistent),
            "fnv1a" => return Ok(Self::Fnv1a),
            "sticky" | "uniform_sticky" | "random" | "round_robin" | "roundrobin" => {
                "that partitioner goes by time or turn: events of an aggregate would come to lie in several \
                 partitions, and their order would end at the broker"
            }
            "murmur2_random" | "consistent_random" | "fnv1a_random" => {
                "that partitioner is for messages without a key, and every event has one"
            }
            _ => "that partitioner is not known",
        };
        let message =
            format!("{why}: give murmur2, consistent or fnv1a, or in a program Partitioner::custom");
        Err(PublishFault::new(PublishFaultKind::Misconfigured, message))
    }
}

/// MurmurHash2 with Kafka's seed, as `org.apache.kafka.common.utils.Utils.murmur2` computes it.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let length = bytes.len() as u32; // A key over 2 GB is refused long before.
    let mut hash = SEED ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// The CRC of IEEE 802.3, as zlib computes it.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut value, mut bit) = (index as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// FNV-1a, 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;
    use std::ptr;

    use eventferry_core::{Event, MessageId, StoredEvent, Timestamp};
    use rdkafka::bindings as native;

    use super::*;

    fn partition(partitioner: &Partitioner, key: &[u8], partitions: i32) -> i32 {
        let event = Event::new("t", ("order", 1)).key(key);
        let row = StoredEvent { message_id: MessageId([7; 16]), event, enqueued_at: Timestamp(0) };
        partitioner.partition(&Envelope::of(&row), partitions)
    }

    #[test]
    fn murmur2_is_javas() {
        // The vectors of Kafka's UtilsTest.testMurmur2.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!(partition(&Partitioner::Murmur2, b"21", 10), (-973_932_308 & 0x7fff_ffff) % 10);
    }

    #[test]
    fn every_name_chooses_as_librdkafka_does() {
        type Theirs = unsafe extern "C" fn(
            *const native::rd_kafka_topic_t,
            *const c_void,
            usize,
            i32,
            *mut c_void,
            *mut c_void,
        ) -> i32;
        let all: [(&str, Theirs); 3] = [
            ("murmur2", native::rd_kafka_msg_partitioner_murmur2),
            ("consistent", native::rd_kafka_msg_partitioner_consistent),
            ("fnv1a", native::rd_kafka_msg_partitioner_fnv1a),
        ];
        for (name, theirs) in all {
            let ours: Partitioner = name.parse().unwrap();
            for number in 0..2_000_u32 {
                // Of every length up to 40, with bytes over 127.
                let key: Vec<u8> = (0..number % 41).map(|at| (number * 7 + at * 131) as u8).collect();
                let partitions = (number % 97 + 1).cast_signed();
                #[expect(unsafe_code, reason = "librdkafka's own are held against ours")]
                // They look at the key and the number alone.
                let expected = unsafe {
                    theirs(
                        ptr::null(),
                        key.as_ptr().cast(),
                        key.len(),
                        partitions,
                        ptr::null_mut(),
                        ptr::null_mut(),
                    )
                };
                assert_eq!(partition(&ours, &key, partitions), expected, "{name} {key:?} {partitions}");
            }
        }
    }

    #[test]
    fn a_partitioner_that_would_break_the_order_is_refused_with_the_reason() {
        for (name, says) in [
            ("sticky", "their order would end at the broker"),
            ("round_robin", "their order would end at the broker"),
            ("consistent_random", "every event has one"),
            ("magic", "is not known"),
        ] {
            let said = name.parse::<Partitioner>().unwrap_err().to_string();
            assert!(said.contains(says) && said.contains("give murmur2, consistent or fnv1a"), "{said}");
        }
    }
}
