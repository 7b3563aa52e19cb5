//! The best items of each user, from the scores of the whole catalogue: what [`top_k`](crate::topk::top_k) selects, as a
//! set. The host sorts the `k` of a user by score and item.
//!
//! Launches: [`exclude`] a unit an excluded item; [`best`] a cube of 256 units a user, which finds the `k`-th best score by
//! four passes over the bytes of the scores' bits and then takes what is above it, and of the items with this very score
//! those that come first. Reads the scores five times.

use cubecl::prelude::*;

use super::shared::row_of_entry;

/// Below this are the bits of minus infinity and of what is no number, which are never taken.
const LEAST: u32 = 0x0080_0000;

/// The bits of minus infinity, which WGSL has no literal of.
const MINUS_INFINITY: u32 = 0xff80_0000;

/// Sets the scores, as bits, `[rows, n_items]` of what each user must not get to minus infinity: the items
/// `excluded[offsets[row]..offsets[row + 1]]`.
#[cube(launch_unchecked)]
pub fn exclude(offsets: &[u32], excluded: &[u32], scores: &mut [u32], n_rows: u32, n_items: u32) {
    let at = ABSOLUTE_POS as u32;
    if at < offsets[n_rows as usize] {
        let row = row_of_entry(offsets, n_rows, at);
        scores[(row * n_items + excluded[at as usize]) as usize] = MINUS_INFINITY;
    }
}

/// Writes for each row of `scores` `[rows, n_items]` the best `k` items to `ids` `[rows, k]` and their scores to `values`,
/// in any order, and to `counts` how many there are with a score above minus infinity, at most `k`. Of an item that may not
/// be taken the bit in `allowed` is 0.
#[cube(launch_unchecked)]
pub fn best(
    scores: &[f32],
    allowed: &[u32],
    ids: &mut [u32],
    values: &mut [f32],
    counts: &mut [u32],
    n_items: u32,
    k: u32,
) {
    let bins = Shared::<[Atomic<u32>]>::new_slice(256usize);
    let taken = Shared::<[Atomic<u32>]>::new_slice(1usize);
    // The bits of the k-th best score as far as they are found, and how many with these are to be taken.
    let mut found = Shared::<[u32]>::new_slice(2usize);
    let mut ties = Shared::<[u32]>::new_slice(256usize);
    let t = UNIT_POS;
    let row = CUBE_POS_X;
    let start = row * n_items;
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
            let key = order_of(scores, allowed, start, item);
            // Above the first byte no bits are found yet.
            if key >= LEAST && (pass == 0u32 || (key >> (shift + 8u32)) == prefix) {
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
    if threshold >= LEAST {
        for item in first..end {
            if order_of(scores, allowed, start, item) == threshold {
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
                if order_of(scores, allowed, start, item) == threshold {
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
        let key = order_of(scores, allowed, start, item);
        if key > threshold && key >= LEAST {
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

/// The bits of a score in an order in which they compare as the scores do; 0 for what may not be taken and for what is no
/// number.
#[cube]
fn order_of(scores: &[f32], allowed: &[u32], start: u32, item: u32) -> u32 {
    let score = scores[(start + item) as usize];
    let mut bits = u32::reinterpret(score);
    // 0 and -0 are equal.
    if bits == 0x8000_0000u32 {
        bits = 0u32;
    }
    let mut key = bits | 0x8000_0000u32;
    if bits >= 0x8000_0000u32 {
        key = !bits;
    }
    let is_number = (bits & 0x7fff_ffffu32) <= 0x7f80_0000u32;
    let is_allowed = (allowed[(item / 32u32) as usize] >> (item % 32u32)) & 1u32 == 1u32;
    select(is_number && is_allowed, key, 0u32)
}
