//! Random generators, one per seed, purpose and index, so that a draw does not depend on the order of the work or the
//! number of threads.

use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Returns the generator of a purpose, for example `split.candidates`, and an index, for example a user's row index.
pub fn stream(seed: u64, purpose: &str, index: u64) -> Pcg64 {
    // FNV-1a tells purposes apart; the finaliser of SplitMix64 (Steele 2014) spreads neighbouring seeds.
    let purpose = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Pcg64::seed_from_u64(mix(mix(mix(seed) ^ purpose) ^ index))
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn seeds_purposes_and_places_have_streams_of_their_own() {
        let mut first: Vec<u64> = [(1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1), (1, "a", 2)]
            .map(|(seed, purpose, index)| stream(seed, purpose, index).next_u64())
            .to_vec();
        assert_eq!(first[0], stream(1, "a", 0).next_u64());
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 5);
    }
}
