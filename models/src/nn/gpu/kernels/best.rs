//! The best items of each user, from the scores of its candidates, as a set: what [`top_k`](crate::topk::top_k) selects, or
//! the best candidates of an evaluation. The host sorts the `k` of a user by score and item.
//!
//! Launches: [`put`] a unit an item, such as one that is left out; [`best`] a cube of 256 units a user, which finds the `k`-th best score by
//! four passes over the bytes of the scores' bits and then takes what is above it, and of the items with this very score
//! those that come first. Reads the scores five times.

use cubecl::prelude::*;

/// The bits of a score that is left out. They are those of a NaN that no arithmetic gives.
pub const LEFT_OUT: u32 = 0xffff_ffff;

/// Below this are, in the order of [`key_of`], minus infinity and what is left out.
const LEAST: u32 = 0x0080_0000;

/// Puts the bits of a score at these `n` positions.
#[cube(launch_unchecked)]
pub fn put(positions: &[u32], scores: &mut [u32], n: u32, bits: u32) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        scores[positions[at] as usize] = bits;
    }
}

/// Writes for each user the best `k` of its candidates to `ids` `[rows, k]` and their scores to `values`, in any order, and
/// to `counts` how many there are, at most `k`. The scores of a user's candidates, as bits, are those from
/// `bounds[2 * row]` to `bounds[2 * row + 1]`, and a candidate's id is its position among these. With `judged`, all
/// candidates with a score that is not left out may be taken, and NaN is the best; without, those whose bit in `allowed` is 1
/// and whose score is above minus infinity.
#[cube(launch_unchecked)]
pub fn best(
    scores: &[u32],
    bounds: &[u32],
    allowed: &[u32],
    ids: &mut [u32],
    values: &mut [u32],
    counts: &mut [u32],
    k: u32,
    #[comptime] judged: bool,
) {
    let least = comptime!(if judged { 1u32 } else { LEAST });
    let bins = Shared::<[Atomic<u32>]>::new_slice(256usize);
    let taken = Shared::<[Atomic<u32>]>::new_slice(1usize);
    // The bits of the k-th best score as far as they are found, and how many with these are to be taken.
    let mut found = Shared::<[u32]>::new_slice(2usize);
    let mut ties = Shared::<[u32]>::new_slice(256usize);
    let t = UNIT_POS;
    let row = CUBE_POS_X;
    let start = bounds[2 * row as usize];
    let n_items = bounds[2 * row as usize + 1] - start;
    if t == 0u32 {
        found[0] = 0u32;
        found[1] = k;
    }
    for pass in 0..4u32 {
        let shift = 24u32 - 8u32 * pass;
        bins[t as usize].store(0u32);
        sync_cube();
        let prefix = found[0];
        let mut item = t;
        while item < n_items {
            let key = key_of_item(scores, allowed, start, item, judged);
            // Above the first byte no bits are found yet.
            if key >= least && (pass == 0u32 || (key >> (shift + 8u32)) == prefix) {
                bins[((key >> shift) & 255u32) as usize].fetch_add(1u32);
            }
            item += 256u32;
        }
        sync_cube();
        if t == 0u32 {
            let mut left = found[1];
            let mut bin = 255u32;
            let mut in_bin = bins[255usize].load();
            while in_bin < left && bin > 0u32 {
                left -= in_bin;
                bin -= 1u32;
                in_bin = bins[bin as usize].load();
            }
            found[0] = (prefix << 8u32) | bin;
            found[1] = left;
        }
        sync_cube();
    }
    let threshold = found[0];
    let from_threshold = found[1];
    // Of the items with the very threshold the first ones are taken: each unit counts those in a part of the catalogue.
    let part = (n_items + 255u32) / 256u32;
    let first = min(t * part, n_items);
    let end = min(first + part, n_items);
    let mut equal = 0u32;
    if threshold >= least {
        for item in first..end {
            if key_of_item(scores, allowed, start, item, judged) == threshold {
                equal += 1u32;
            }
        }
    }
    ties[t as usize] = equal;
    if t == 0u32 {
        taken[0usize].store(0u32);
    }
    sync_cube();
    if equal > 0u32 {
        let mut before = 0u32;
        for other in 0..t {
            before += ties[other as usize];
        }
        for item in first..end {
            if before < from_threshold {
                if key_of_item(scores, allowed, start, item, judged) == threshold {
                    let at = taken[0usize].fetch_add(1u32);
                    ids[(row * k + at) as usize] = item;
                    values[(row * k + at) as usize] = scores[(start + item) as usize];
                    before += 1u32;
                }
            }
        }
    }
    let mut item = t;
    while item < n_items {
        let key = key_of_item(scores, allowed, start, item, judged);
        if key > threshold && key >= least {
            let at = taken[0usize].fetch_add(1u32);
            ids[(row * k + at) as usize] = item;
            values[(row * k + at) as usize] = scores[(start + item) as usize];
        }
        item += 256u32;
    }
    sync_cube();
    if t == 0u32 {
        counts[row as usize] = taken[0usize].load();
    }
}

/// As [`key_of`]; 0 also for what may not be taken.
#[cube]
fn key_of_item(scores: &[u32], allowed: &[u32], start: u32, item: u32, #[comptime] judged: bool) -> u32 {
    let mut key = key_of(scores[(start + item) as usize], judged);
    if comptime!(!judged) {
        let is_allowed = (allowed[(item / 32u32) as usize] >> (item % 32u32)) & 1u32 == 1u32;
        key = select(is_allowed, key, 0u32);
    }
    key
}

/// The bits of a score in an order in which they compare as the scores do; 0 for what is left out. NaN is above all with
/// `judged`, and else left out.
#[cube]
pub fn key_of(score: u32, #[comptime] judged: bool) -> u32 {
    let mut bits = score;
    // 0 and -0 are equal.
    if bits == 0x8000_0000u32 {
        bits = 0u32;
    }
    let mut key = bits | 0x8000_0000u32;
    if bits >= 0x8000_0000u32 {
        key = !bits;
    }
    if (bits & 0x7fff_ffffu32) > 0x7f80_0000u32 {
        key = comptime!(if judged { u32::MAX } else { 0u32 }).runtime();
    }
    select(score == LEFT_OUT, 0u32, key)
}
