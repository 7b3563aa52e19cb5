//! FNV-1a, a hash of 64 bits (Fowler, Noll, Vo) that is the same in every instance and every build.

/// What a hash begins with.
pub const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// Returns the hash of bytes.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    fnv1a_on(OFFSET, bytes)
}

/// Goes on with a hash.
pub fn fnv1a_on(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
