//! A split block Bloom filter of the hashes in a block: it says which blocks a search may leave out.
//!
//! Each hash sets a bit in each of the eight words of one group of 32 bytes, so that it costs one cache line; see Putze, Sanders and
//! Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007), and the format Parquet, whose constants these are.

use super::ids::IdHash;

/// The bits for each hash: of the blocks that do not have it, about one in 50 is looked into.
const BITS: usize = 9;

/// The bytes of a group.
const GROUP: usize = 32;

const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// The filter of a block.
pub struct Filter(Vec<[u32; 8]>);

/// Returns the group of a hash, of `n`, and what picks its bits.
fn place(hash: IdHash, n: usize) -> (usize, u32) {
    // The upper 32 of the 48 bits, and the lower 32.
    ((((hash >> 16) * n as u64) >> 32) as usize, hash as u32)
}

impl Filter {
    /// Makes a filter with room for so many hashes.
    pub fn new(hashes: usize) -> Self {
        Self(vec![[0; 8]; (hashes * BITS).div_ceil(8 * GROUP).max(1)])
    }

    /// Adds a hash.
    pub fn add(&mut self, hash: IdHash) {
        let (group, pick) = place(hash, self.0.len());
        for (word, salt) in self.0[group].iter_mut().zip(SALTS) {
            *word |= 1 << (pick.wrapping_mul(salt) >> 27);
        }
    }

    /// Returns its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// Returns whether the block of a filter may have a hash; a filter of no such length may have all.
pub fn may_have(filter: &[u8], hash: IdHash) -> bool {
    let n = filter.len() / GROUP;
    if n == 0 || !filter.len().is_multiple_of(GROUP) {
        return true;
    }
    let (group, pick) = place(hash, n);
    let words = filter[group * GROUP..][..GROUP].chunks_exact(4);
    words.zip(SALTS).all(|(word, salt)| {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        word >> (pick.wrapping_mul(salt) >> 27) & 1 == 1
    })
}

#[cfg(test)]
mod tests {
    use burnrec_data::Id;

    use super::super::ids::IdHasher;
    use super::*;

    #[test]
    fn what_was_added_is_found_and_little_else() {
        let ids = IdHasher::new(&[7; 16]);
        let n = 100_000;
        let mut filter = Filter::new(n);
        (0..n).for_each(|id| filter.add(ids.user(Id::Int(id as i64))));
        let bytes = filter.to_bytes();
        assert!(bytes.len() <= n * BITS / 8 + GROUP);
        let found = |from: usize| {
            (from..from + n).filter(|id| may_have(&bytes, ids.user(Id::Int(*id as i64)))).count()
        };
        assert_eq!(found(0), n);
        assert!(found(n) < n / 30, "{} of {n} that are not there", found(n));
        assert!(!may_have(&Filter::new(0).to_bytes(), 7) && may_have(&[0; 31], 7));
    }
}
