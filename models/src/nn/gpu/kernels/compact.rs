//! Lists the table rows that a batch touches, in their order, so that the work on long tables goes by the batch and not by
//! the table.
//!
//! Launches: a cube of 256 units for each 1024 rows, y is the side (0 users, 1 items). The first counts the touched rows of
//! each block; the second adds up the counts of the blocks before its own, and writes its rows behind theirs. Reads 4
//! bytes a row, twice; nothing is atomic, so that the order is the same in every run.

use cubecl::prelude::*;

use super::shared::state;

/// The rows of a block.
pub const BLOCK: usize = 1024;

/// Writes how many rows of each block have a count above 0, to `blocks` `[2, most blocks of a side]`. The counts are
/// those of the [`draw`](super::draw).
#[cube(launch_unchecked)]
pub fn count_touched(
    counts: &[u32],
    states: &[u32],
    blocks: &mut [u32],
    n_users: u32,
    n_items: u32,
    most_blocks: u32,
) {
    let mut shared = Shared::<[u32]>::new_slice(256usize);
    let t = UNIT_POS;
    let side = CUBE_POS_Y;
    let n = select(side == 0u32, n_users, n_items);
    let start = states[state::HALF] * (n_users + n_items) + side * n_users;
    let own = touched_by_unit(counts, start, n);
    let before = exclusive_sum(&mut shared, own);
    if t == 255u32 {
        blocks[(side * most_blocks + CUBE_POS_X) as usize] = before + own;
    }
}

/// Writes the touched rows of users to `lists` `[n_users]`, those of items behind, and how many there are to `lens` `[2]`.
#[cube(launch_unchecked)]
pub fn list_touched(
    counts: &[u32],
    states: &[u32],
    blocks: &[u32],
    lists: &mut [u32],
    lens: &mut [u32],
    n_users: u32,
    n_items: u32,
    most_blocks: u32,
) {
    let mut shared = Shared::<[u32]>::new_slice(256usize);
    let t = UNIT_POS;
    let side = CUBE_POS_Y;
    let n = select(side == 0u32, n_users, n_items);
    let start = states[state::HALF] * (n_users + n_items) + side * n_users;
    // What the blocks before this one have, each unit every 256th of them.
    let mut share = 0u32;
    let mut block = t;
    while block < CUBE_POS_X {
        share += blocks[(side * most_blocks + block) as usize];
        block += 256u32;
    }
    let shares_before = exclusive_sum(&mut shared, share);
    sync_cube();
    if t == 255u32 {
        shared[0] = shares_before + share;
    }
    sync_cube();
    let first = shared[0];
    sync_cube();
    let own = touched_by_unit(counts, start, n);
    let mut at = side * n_users + first + exclusive_sum(&mut shared, own);
    #[unroll]
    for k in 0..4u32 {
        let row = CUBE_POS_X * 1024u32 + t * 4u32 + k;
        if row < n {
            if counts[(start + row) as usize] > 0u32 {
                lists[at as usize] = row;
                at += 1u32;
            }
        }
    }
    if t == 255u32 && CUBE_POS_X == (n - 1u32) / 1024u32 {
        lens[side as usize] = at - side * n_users;
    }
}

/// How many of the four rows of a unit have a count above 0, of `n` rows whose counts begin at `start`.
#[cube]
fn touched_by_unit(counts: &[u32], start: u32, n: u32) -> u32 {
    let mut own = 0u32;
    #[unroll]
    for k in 0..4u32 {
        let row = CUBE_POS_X * 1024u32 + UNIT_POS * 4u32 + k;
        if row < n {
            if counts[(start + row) as usize] > 0u32 {
                own += 1u32;
            }
        }
    }
    own
}

/// The sum of the values of the units before this one, of 256 units.
#[cube]
fn exclusive_sum(shared: &mut Shared<[u32]>, value: u32) -> u32 {
    let t = UNIT_POS as usize;
    sync_cube();
    shared[t] = value;
    sync_cube();
    let mut total = value;
    #[unroll]
    for round in 0..8usize {
        let back = comptime!(1usize << round);
        let mut other = 0u32;
        if t >= back {
            other = shared[t - back];
        }
        sync_cube();
        total += other;
        shared[t] = total;
        sync_cube();
    }
    total - value
}
