//! Random draws as pure functions of a key and of what is drawn: no draw depends on the order of the work, so that the
//! host and a graphics card, which computes the same functions, draw the same numbers.

use crate::rng::stream;
use rand::Rng;

/// The key of a family of draws.
pub type Key = [u32; 2];

/// Returns the key of a purpose, for example `negatives`, and an index, for example an epoch.
pub fn key(seed: u64, purpose: &str, index: u64) -> Key {
    words(stream(seed, purpose, index).next_u64())
}

fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): four uniform words for each
/// counter.
pub fn philox(key: Key, counter: [u32; 4]) -> [u32; 4] {
    let ([mut k0, mut k1], [mut c0, mut c1, mut c2, mut c3]) = (key, counter);
    for _ in 0..PHILOX_ROUNDS {
        let [low0, high0] = words(u64::from(PHILOX_M0) * u64::from(c0));
        let [low1, high1] = words(u64::from(PHILOX_M1) * u64::from(c2));
        (c0, c1, c2, c3) = (high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0);
        k0 = k0.wrapping_add(PHILOX_W0);
        k1 = k1.wrapping_add(PHILOX_W1);
    }
    [c0, c1, c2, c3]
}

/// The number of rounds of [`philox`].
pub const PHILOX_ROUNDS: u32 = 10;
/// The multiplier of the first half of a counter.
pub const PHILOX_M0: u32 = 0xd251_1f53;
/// The multiplier of the second half of a counter.
pub const PHILOX_M1: u32 = 0xcd9e_8d57;
/// What a round adds to the first half of the key.
pub const PHILOX_W0: u32 = 0x9e37_79b9;
/// What a round adds to the second half of the key.
pub const PHILOX_W1: u32 = 0xbb67_ae85;

/// Maps a uniform word to `0..n` (Lemire 2019, without the rejection: the probabilities differ by at most `n / 2^32` of
/// themselves).
#[inline]
pub fn scaled(word: u32, n: u32) -> u32 {
    ((u64::from(word) * u64::from(n)) >> 32) as u32
}

/// Returns a well-mixed hash of a number (Wellons 2018, "Prospecting for Hash Functions").
#[inline]
pub fn mixed(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// A permutation of `0..len` that is computed and not stored: a Feistel network (Luby and Rackoff 1988) over the least
/// power of two that holds `len`, repeated until its value is below `len` (Black and Rogaway 2002, "cycle walking").
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    /// How many numbers are permuted.
    pub len: u32,
    /// The bits of the two halves of a number.
    pub bits: [u32; 2],
    /// The key of each round.
    pub keys: [u32; Self::ROUNDS],
}

impl Permutation {
    /// The rounds of the network; an even number, so that the halves end where they began. With six, permutations of few
    /// numbers show a bias in their pairs.
    pub const ROUNDS: usize = 8;

    /// The least number of bits: with fewer a half has no bit left to mix.
    const LEAST_BITS: u32 = 4;

    /// Draws a permutation of `0..len`.
    pub fn new(len: u32, key: Key) -> Self {
        let bits = (u32::BITS - len.saturating_sub(1).leading_zeros()).max(Self::LEAST_BITS);
        let ([a, b, c, d], [e, f, g, h]) = (philox(key, [0; 4]), philox(key, [1, 0, 0, 0]));
        Self { len, bits: [bits / 2, bits - bits / 2], keys: [a, b, c, d, e, f, g, h] }
    }

    /// Returns the number at a place.
    ///
    /// # Panics
    /// When the place is not below `len`.
    pub fn at(&self, place: u32) -> u32 {
        assert!(place < self.len, "a place of the permutation");
        let mut x = place;
        loop {
            let [mut left_bits, mut right_bits] = self.bits;
            for key in self.keys {
                let (left, right) = (x >> right_bits, x & ((1 << right_bits) - 1));
                x = right << left_bits | ((left ^ mixed(right ^ key)) & ((1 << left_bits) - 1));
                (left_bits, right_bits) = (right_bits, left_bits);
            }
            if x < self.len {
                return x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_has_the_values_of_its_authors() {
        // From `kat_vectors` of Random123.
        let ones = u32::MAX;
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([ones; 2], [ones; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let expected = [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1];
        assert_eq!(philox([0xa409_3822, 0x299f_31d0], pi), expected);
    }

    #[test]
    fn keys_differ_by_seed_purpose_and_index() {
        let first = key(1, "negatives", 2);
        assert_eq!(first, key(1, "negatives", 2));
        assert!(![key(2, "negatives", 2), key(1, "order", 2), key(1, "negatives", 3)].contains(&first));
    }

    #[test]
    fn a_permutation_has_every_number_once() {
        for len in [1, 2, 3, 15, 16, 17, 100, 1000, 65_537] {
            let mut numbers: Vec<u32> = {
                let permutation = Permutation::new(len, key(3, "order", u64::from(len)));
                (0..len).map(|place| permutation.at(place)).collect()
            };
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..len), "{len}");
        }
    }

    /// Pearson's statistic of counts that are all expected to be the same.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected = counts.iter().sum::<u32>() as f64 / counts.len() as f64;
        counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn every_number_is_as_likely_at_every_place_and_neighbours_are_independent() {
        const LEN: u32 = 20;
        let mut at = vec![0u32; (LEN * LEN) as usize];
        let mut pairs = vec![0u32; (LEN * LEN) as usize];
        for epoch in 0..20_000 {
            let permutation = Permutation::new(LEN, key(1, "order", epoch));
            let numbers: Vec<u32> = (0..LEN).map(|place| permutation.at(place)).collect();
            for (place, &number) in numbers.iter().enumerate() {
                at[place * LEN as usize + number as usize] += 1;
            }
            pairs[(numbers[0] * LEN + numbers[1]) as usize] += 1;
        }
        // Each row is a multinomial of 19 degrees of freedom, and rows and columns sum to the same: 361 together.
        let statistic = chi_square(&at);
        assert!(statistic < 448.0, "places: chi-square {statistic}, below 448 with probability .999");
        let pairs: Vec<u32> =
            (0..LEN * LEN).filter(|k| k / LEN != k % LEN).map(|k| pairs[k as usize]).collect();
        let statistic = chi_square(&pairs);
        // 379 degrees of freedom.
        assert!(statistic < 468.0, "pairs: chi-square {statistic}, below 468 with probability .999");
    }

    #[test]
    fn words_are_scaled_to_the_whole_range() {
        assert_eq!([0, u32::MAX / 2, u32::MAX].map(|word| scaled(word, 10)), [0, 4, 9]);
        assert_eq!(scaled(u32::MAX, 1), 0);
    }
}
