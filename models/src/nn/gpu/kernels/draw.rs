//! Draws a batch: the training rows at its places of the epoch, each with its negatives. The twin of
//! [`Batches`](crate::nn::batches::Batches), [`Permutation`](burnrec_data::draws::Permutation) and
//! [`NegativeSampler`](burnrec_data::negatives::NegativeSampler), which have the definitions.
//!
//! Launch: a unit for each four negatives of a row, at least one for a row; cubes of 128. Reads 16 bytes a row and a word
//! of the bitmap a draw, writes 12 bytes a row and 4 a sample.

use burnrec_data::draws::Permutation;
use burnrec_data::negatives::MAX_DRAWS;
use cubecl::prelude::*;

use super::shared::{bound, epoch, mixed, philox, state};

/// Writes the users `[rows]`, items `[rows, 1 + negatives]` and values `[rows]` of the next batch, counts how often each
/// table row is in it, and prepares the cells of the other kernels.
///
/// `rows` is `[n_rows, 2]`: user and item of each training row. The items that a user has seen are
/// `seen[offsets[user]..offsets[user + 1]]`, ascending; with `by_bitmap` they are also the bits of
/// `bitmap[user * words..]`. `counts` is `[2, n_users + n_items]`, one half in use.
#[cube(launch_unchecked)]
pub fn draw(
    rows: &[u32],
    values: &[f32],
    offsets: &[u32],
    seen: &[u32],
    bitmap: &[u32],
    epochs: &[u32],
    states: &mut [u32],
    users: &mut [u32],
    items: &mut [u32],
    ratings: &mut [f32],
    counts: &[Atomic<u32>],
    bounds: &mut [u32],
    n_rows: u32,
    n_users: u32,
    n_items: u32,
    words: u32,
    rows_per_batch: u32,
    #[comptime] negatives: u32,
    #[comptime] layers: usize,
    #[comptime] by_bitmap: bool,
) {
    let blocks = comptime!(negatives.div_ceil(4).max(1));
    let at = ABSOLUTE_POS as u32;
    let row = at / blocks;
    let block = at % blocks;
    let batch = states[state::NEXT];
    let first = batch * rows_per_batch;
    let in_batch = min(rows_per_batch, n_rows - first);
    let half = states[state::NEXT_HALF];
    if at == 0u32 {
        states[state::BATCH] = batch;
        states[state::ROWS] = in_batch;
        states[state::HALF] = half;
        #[unroll]
        for layer in 0..layers {
            let seeds = philox(
                epochs[epoch::DROPOUT],
                epochs[epoch::DROPOUT + 1],
                batch,
                comptime!(layer as u32),
                0u32,
                0u32,
            );
            states[state::SEEDS + 2 * layer] = seeds.extract(0usize);
            states[state::SEEDS + 2 * layer + 1] = seeds.extract(1usize);
        }
        #[unroll]
        for cell in 0..bound::LEN {
            bounds[cell] = 0u32;
        }
    }
    if row < in_batch {
        let place = first + row;
        let training_row = permuted(place, n_rows, epochs);
        let user = rows[2 * training_row as usize];
        let count_items = half * (n_users + n_items) + n_users;
        if block == 0u32 {
            let item = rows[2 * training_row as usize + 1];
            users[row as usize] = user;
            ratings[row as usize] = values[training_row as usize];
            items[(row * comptime!(1 + negatives)) as usize] = item;
            counts[(half * (n_users + n_items) + user) as usize].fetch_add(1u32);
            counts[(count_items + item) as usize].fetch_add(1u32);
        }
        if comptime!(negatives > 0) {
            let start = offsets[user as usize];
            let n_seen = offsets[user as usize + 1] - start;
            let n_unseen = n_items - n_seen;
            let (k0, k1) = (epochs[epoch::NEGATIVES], epochs[epoch::NEGATIVES + 1]);
            let words0 = philox(k0, k1, place, block, 0u32, 0u32);
            #[unroll]
            for lane in 0..4usize {
                let slot = block * 4u32 + lane as u32;
                if slot < negatives {
                    let mut word = words0.extract(lane);
                    let mut attempt = 0u32;
                    let mut found = false;
                    let mut item = 0u32;
                    while !found {
                        if n_unseen < n_seen || attempt == MAX_DRAWS {
                            item = nth_absent(seen, start, n_seen, word.mul_hi(n_unseen));
                            found = true;
                        } else {
                            item = word.mul_hi(n_items);
                            if by_bitmap {
                                let bits = bitmap[(user * words + item / 32u32) as usize];
                                found = ((bits >> (item % 32u32)) & 1u32) == 0u32;
                            } else {
                                found = !is_present(seen, start, n_seen, item);
                            }
                            if !found {
                                attempt += 1u32;
                                let again = philox(k0, k1, place, block, attempt, 0u32);
                                word = again.extract(lane);
                            }
                        }
                    }
                    items[(row * comptime!(1 + negatives) + 1u32 + slot) as usize] = item;
                    counts[(count_items + item) as usize].fetch_add(1u32);
                }
            }
        }
    }
}

/// As [`Permutation::at`].
#[cube]
fn permuted(place: u32, len: u32, epochs: &[u32]) -> u32 {
    let mut x = place;
    let mut done = false;
    while !done {
        let mut left_bits = epochs[epoch::BITS];
        let mut right_bits = epochs[epoch::BITS + 1];
        for round in 0..Permutation::ROUNDS {
            let left = x >> right_bits;
            let right = x & ((1u32 << right_bits) - 1u32);
            let key = epochs[epoch::ROUNDS + round];
            x = (right << left_bits) | ((left ^ mixed(right ^ key)) & ((1u32 << left_bits) - 1u32));
            let swap = left_bits;
            left_bits = right_bits;
            right_bits = swap;
        }
        done = x < len;
    }
    x
}

/// Whether an item is among `seen[start..start + n]`, which ascends.
#[cube]
fn is_present(seen: &[u32], start: u32, n: u32, item: u32) -> bool {
    let mut low = 0u32;
    let mut high = n;
    while low < high {
        let middle = (low + high) / 2u32;
        if seen[(start + middle) as usize] < item {
            low = middle + 1u32;
        } else {
            high = middle;
        }
    }
    let mut present = false;
    if low < n {
        present = seen[(start + low) as usize] == item;
    }
    present
}

/// The `rank`-th, from 0, of the items that are not among `seen[start..start + n]`: below `seen[start + k]` there are
/// `seen[start + k] - k` of them.
#[cube]
fn nth_absent(seen: &[u32], start: u32, n: u32, rank: u32) -> u32 {
    let mut low = 0u32;
    let mut high = n;
    while low < high {
        let middle = (low + high) / 2u32;
        if seen[(start + middle) as usize] - middle <= rank {
            low = middle + 1u32;
        } else {
            high = middle;
        }
    }
    rank + low
}

/// Sets the bits of what each user has seen in `bitmap` `[n_users, words]`, which is zero before. Launch: a unit for each
/// item of a user, which finds the user by bisection of the offsets.
#[cube(launch_unchecked)]
pub fn fill_bitmap(offsets: &[u32], seen: &[u32], bitmap: &[Atomic<u32>], n_users: u32, words: u32) {
    let at = ABSOLUTE_POS as u32;
    if at < offsets[n_users as usize] {
        let user = row_of_entry(offsets, n_users, at);
        let item = seen[at as usize];
        bitmap[(user * words + item / 32u32) as usize].fetch_or(1u32 << (item % 32u32));
    }
}

/// The row that has an entry, of rows whose entries are from `offsets[row]` to `offsets[row + 1]`.
#[cube]
fn row_of_entry(offsets: &[u32], n_rows: u32, entry: u32) -> u32 {
    let mut low = 0u32;
    let mut high = n_rows;
    while low + 1u32 < high {
        let middle = (low + high) / 2u32;
        if offsets[middle as usize] <= entry {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
