//! Which partition of the requests a key belongs to, as the clients that write them have it.

use serde::{Deserialize, Serialize};

/// The partitioner of those who write the requests. All must have the same, since a user's history is where the user's
/// events come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partitioner {
    /// Murmur2 of the key: Kafka's own clients, Connect, Streams, Spark; librdkafka's with `partitioner=murmur2_random`.
    #[default]
    Murmur2,
    /// CRC-32 of the key: what librdkafka does by itself, and so kcat, confluent-kafka, Go and .NET.
    Crc32,
    /// Another, or another key than the user's id; it is not checked then.
    Any,
}

impl Partitioner {
    /// Returns the partition of a key among `n`, if this says.
    pub fn partition(self, key: &[u8], n: i32) -> Option<i32> {
        let n = u32::try_from(n).ok().filter(|n| *n > 0)?;
        let hash = match self {
            Self::Murmur2 => murmur2(key) & 0x7fff_ffff,
            Self::Crc32 => crc32fast::hash(key),
            Self::Any => return None,
        };
        Some((hash % n) as i32)
    }

    /// Returns librdkafka's name for it.
    pub fn of_librdkafka(self) -> &'static str {
        match self {
            Self::Murmur2 | Self::Any => "murmur2_random",
            Self::Crc32 => "consistent_random",
        }
    }
}

/// MurmurHash2 (A. Appleby) of 32 bits, with the seed of Kafka's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        let last = rest.iter().enumerate().fold(0, |all, (at, byte)| all | u32::from(*byte) << (8 * at));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_kafkas_own_clients_do() {
        // The values of Kafka's own test, `UtilsTest.testMurmur2`.
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
    }

    #[test]
    fn a_key_belongs_to_one_partition() {
        // The check value of CRC-32 is that of "123456789".
        assert_eq!(
            Partitioner::Crc32.partition(b"123456789", i32::MAX),
            Some((0xcbf4_3926_u32 % 0x7fff_ffff) as i32)
        );
        assert_eq!(Partitioner::Murmur2.partition(b"21", 100), Some((-973_932_308_i32 & 0x7fff_ffff) % 100));
        assert_eq!(Partitioner::Any.partition(b"21", 100), None);
        assert_eq!(Partitioner::Murmur2.partition(b"21", 0), None);
    }
}
