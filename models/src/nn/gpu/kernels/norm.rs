//! The norm of all gradients together, and the factor that clips it (Pascanu et al. 2013, algorithm 1).
//!
//! Launches: as [`super::update`], one sum a cube; then one cube that sums these.

use cubecl::prelude::*;

use super::shared::{I4, U4, V4, cube_sum, job_of_cube, state};
use super::update::{gradient_of_table, job, kind, place};

/// Writes to `sums` `[cubes]` the sum of the squared gradients of each cube's weights.
#[cube(launch_unchecked)]
pub fn squares(
    weights: &[V4],
    gradients: &[V4],
    accumulators: &[I4],
    copies: &[V4],
    counts: &[u32],
    bounds: &[u32],
    jobs: &[u32],
    states: &[u32],
    lists: &[u32],
    lens: &[u32],
    sums: &mut [f32],
    n_jobs: u32,
    n_counts: u32,
    terms_of_row: u32,
    reg: f32,
    class_length: u32,
    #[comptime] two_classes: bool,
) {
    let mut shared = Shared::<[f32]>::new_slice(256usize);
    let cube = CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X;
    let job = job_of_cube(jobs, n_jobs, cube, job::LEN);
    let x = place((cube - jobs[job + job::CUBE]) * 256u32 + UNIT_POS, job, jobs, lists, lens) as usize;
    let kind = jobs[job + job::KIND];
    let mut total = 0.0f32;
    if x < jobs[job + job::LEN4] as usize && kind <= kind::TABLE {
        let at = jobs[job + job::WEIGHTS] as usize + x;
        let mut grad = gradients[at];
        if kind == kind::TABLE {
            let count_start = (states[state::HALF] * n_counts + jobs[job + job::COUNT]) as usize;
            let width = jobs[job + job::WIDTH] as usize;
            let mut times = U4::new(0u32);
            #[unroll]
            for e in 0..4usize {
                times.insert(e, counts[count_start + (x * 4 + e) / width]);
            }
            let sums = V4::cast_from(accumulators[jobs[job + job::ACCUMULATORS] as usize + x]);
            grad = gradient_of_table(
                x,
                job,
                weights[at],
                sums,
                times,
                copies,
                bounds,
                jobs,
                states[state::ROWS],
                terms_of_row,
                reg,
                class_length,
                two_classes,
            );
        }
        #[unroll]
        for e in 0..4usize {
            total += grad.extract(e) * grad.extract(e);
        }
    }
    let total = cube_sum(&mut shared, total);
    if UNIT_POS == 0 {
        sums[cube as usize] = total;
    }
}

/// Writes to `norm` what the gradients are multiplied by, so that their norm is at most `most`.
#[cube(launch_unchecked)]
pub fn clip(sums: &[f32], norm: &mut [f32], n_sums: u32, most: f32) {
    let mut shared = Shared::<[f32]>::new_slice(256usize);
    let mut total = 0.0f32;
    let mut at = UNIT_POS;
    while at < n_sums {
        total += sums[at as usize];
        at += 256u32;
    }
    let total = cube_sum(&mut shared, total);
    if UNIT_POS == 0 {
        norm[0] = min(1.0f32, most / (total.sqrt() + f32::MIN_POSITIVE));
    }
}
