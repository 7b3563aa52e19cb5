//! Tells quickly that a user has not seen an item, with one or two cache lines per user.

use rayon::prelude::*;

use crate::Csr;

/// Bits per training row: with one bit set by each, a fifth of the unseen items are false positives.
const BITS_PER_ROW: usize = 4;

/// A Bloom filter (Bloom 1970) for each user over the user's items, with one hash function.
pub struct SeenFilter {
    words: Vec<u64>,
    /// The first word of each user, and the shift that turns a hash into a bit of the user's words.
    users: Vec<(usize, u32)>,
}

impl SeenFilter {
    /// Builds the filter of the items that each user has a row with.
    pub fn new(train: &Csr) -> Self {
        let mut total = 0;
        let place = |user: usize| {
            let bits = (BITS_PER_ROW * train.row(user).0.len()).next_power_of_two().max(64);
            let first = total;
            total += bits / 64;
            (first, 64 - bits.trailing_zeros())
        };
        let users: Vec<(usize, u32)> = (0..train.n_rows()).map(place).collect();
        let mut words = vec![0; total];
        let mut left = &mut words[..];
        let mut own = Vec::with_capacity(users.len());
        for user in 0..users.len() {
            let end = users.get(user + 1).map_or(total, |next| next.0);
            let (head, tail) = std::mem::take(&mut left).split_at_mut(end - users[user].0);
            own.push(head);
            left = tail;
        }
        own.into_par_iter().enumerate().for_each(|(user, words)| {
            for &item in train.row(user).0 {
                let bit = hash(item) >> users[user].1;
                words[bit as usize / 64] |= 1 << (bit % 64);
            }
        });
        Self { words, users }
    }

    /// Returns false only where the user has no row with the item.
    #[inline]
    pub fn may_have(&self, user: usize, item: u32) -> bool {
        let (first, shift) = self.users[user];
        let bit = hash(item) >> shift;
        self.words[first + bit as usize / 64] >> (bit % 64) & 1 == 1
    }
}

/// Hashes by multiplication (Knuth 1973, section 6.4), which mixes the upper bits best.
#[inline]
fn hash(item: u32) -> u64 {
    (u64::from(item) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_item_of_a_user_is_missed_and_most_others_are_told_apart() {
        let n_items = 5000;
        let rows: Vec<Vec<u32>> = vec![
            (0..n_items).filter(|item| item % 7 == 0).collect(),
            Vec::new(),
            (0..n_items).collect(),
            vec![4999],
        ];
        let mut offsets = vec![0];
        rows.iter().for_each(|row| offsets.push(offsets[offsets.len() - 1] + row.len()));
        let cols = rows.concat();
        let train = Csr::new(n_items as usize, offsets, cols.clone(), vec![1.0; cols.len()]);
        let filter = SeenFilter::new(&train);
        for (user, row) in rows.iter().enumerate() {
            assert!(row.iter().all(|&item| filter.may_have(user, item)));
            let others = (0..n_items).filter(|item| row.binary_search(item).is_err());
            let doubts = others.clone().filter(|&item| filter.may_have(user, item)).count();
            assert!(doubts * 10 <= others.count() * 3, "user {user}: {doubts}");
        }
    }
}
