//! Where held-out items stand among their candidates: the twin of the ranks of an evaluation on the host.
//!
//! Launches: [`take`] a unit a held-out item; [`standings`] a cube of 256 units a held-out item, which reads the scores of all
//! candidates of its user once.

use cubecl::prelude::*;

use super::best::key_of;

/// Writes the scores at these `n` positions to `targets`.
#[cube(launch_unchecked)]
pub fn take(positions: &[u32], scores: &[u32], targets: &mut [u32], n: u32) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        targets[at] = scores[positions[at] as usize];
    }
}

/// Writes for each of `n` targets, of the user `rows[target]`, two numbers to `counts`: the candidates ahead of it, and those
/// tied with it. `bounds` are those of [`best`](super::best::best); all scores are given as bits.
#[cube(launch_unchecked)]
pub fn standings(scores: &[u32], targets: &[u32], rows: &[u32], bounds: &[u32], counts: &mut [u32], n: u32) {
    let in_cube = Shared::<[Atomic<u32>]>::new_slice(2usize);
    let t = UNIT_POS;
    let target = CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X;
    if t < 2u32 {
        in_cube[t as usize].store(0u32);
    }
    sync_cube();
    if target < n {
        let row = rows[target as usize];
        let end = bounds[2 * row as usize + 1];
        let key = key_of(targets[target as usize], true);
        // A target that is no number is behind every candidate.
        let target_key = select(key == u32::MAX, 0u32, key);
        let mut ahead = 0u32;
        let mut tied = 0u32;
        let mut at = bounds[2 * row as usize] + t;
        while at < end {
            let other = key_of(scores[at as usize], true);
            if other > target_key {
                ahead += 1u32;
            }
            if other == target_key && other > 0u32 {
                tied += 1u32;
            }
            at += 256u32;
        }
        in_cube[0usize].fetch_add(ahead);
        in_cube[1usize].fetch_add(tied);
    }
    sync_cube();
    if target < n && t < 2u32 {
        counts[(2u32 * target + t) as usize] = in_cube[t as usize].load();
    }
}
