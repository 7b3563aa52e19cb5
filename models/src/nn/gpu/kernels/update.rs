//! The optimiser's step over all weights: the twin of [`OptimizerState`](crate::nn::optimizer::OptimizerState). It also
//! leaves the accumulators at zero for the next batch, and counts that batch.
//!
//! Launch: cubes of 256 units, a unit for four values; the cubes of all jobs in a row. With Adam reads 16 bytes a value
//! and writes 16.

use cubecl::prelude::*;

use super::fixed;
use super::score::class_weight;
use super::shared::{I4, NONE, U4, V4, job_of_cube, state};
use crate::nn::training::Optimizer;

/// The words of a job.
pub mod job {
    /// The first cube of the job.
    pub const CUBE: usize = 0;
    /// What the job does, one of [`kind`](super::kind).
    pub const KIND: usize = 1;
    /// The number of vectors, or of counts.
    pub const LEN4: usize = 2;
    /// Where the weights begin, in vectors.
    pub const WEIGHTS: usize = 3;
    /// Values in a row of the table.
    pub const WIDTH: usize = 4;
    /// Where the accumulators begin, in vectors.
    pub const ACCUMULATORS: usize = 5;
    /// Where the counts of the table's rows begin, in one half.
    pub const COUNT: usize = 6;
    /// Which bounds, multiplied, bound what one entry adds, and how many times: [`bound`](super::bound) or none.
    pub const BOUND: usize = 7;
    /// The second factor of the bound, or none.
    pub const OTHER_BOUND: usize = 8;
    /// How many times the bound an entry adds at most.
    pub const FACTOR: usize = 9;
    /// Where the weights of the dot product begin, in vectors, or none.
    pub const DOT_WEIGHT: usize = 10;
    /// How often an entry counts for the regulariser, 0 where there is none.
    pub const REG: usize = 11;
    /// 1 where only rows that the batch touches are updated.
    pub const LAZY: usize = 12;
    /// Where the list of the rows that are updated begins, or none where all are.
    pub const LIST: usize = 13;
    /// The side of the list.
    pub const SIDE: usize = 14;
    /// The number of words.
    pub const LEN: usize = 15;
}

/// What a job does.
pub mod kind {
    /// Updates weights by their gradients.
    pub const GRADIENTS: u32 = 0;
    /// Updates a table by its accumulators, and sets these to 0.
    pub const TABLE: u32 = 1;
    /// Sets accumulators to 0.
    pub const CLEAR: u32 = 2;
    /// Sets the counts of the other half to 0.
    pub const CLEAR_COUNTS: u32 = 3;
}

const BETA_1: f32 = crate::nn::optimizer::BETA_1;
const BETA_2: f32 = crate::nn::optimizer::BETA_2;

/// Takes the step. `first` and `second` are the optimiser's states, in the order of the weights; `sizes` `[batches, 3]`
/// has decay, step size and epsilon of each batch. `copies` has the weights of the dot product as they were before the
/// step, since tables are multiplied by them.
#[cube(launch_unchecked)]
pub fn update(
    weights: &mut [V4],
    first: &mut [V4],
    second: &mut [V4],
    gradients: &[V4],
    accumulators: &mut [I4],
    copies: &[V4],
    counts: &mut [u32],
    bounds: &[u32],
    sizes: &[f32],
    jobs: &[u32],
    states: &mut [u32],
    lists: &[u32],
    lens: &[u32],
    norm: &[f32],
    n_jobs: u32,
    n_counts: u32,
    terms_of_row: u32,
    reg: f32,
    class_length: u32,
    #[comptime] optimizer: Optimizer,
    #[comptime] clipped: bool,
    #[comptime] two_classes: bool,
) {
    let cube = CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X;
    let job = job_of_cube(jobs, n_jobs, cube, job::LEN);
    let x = place((cube - jobs[job + job::CUBE]) * 256u32 + UNIT_POS, job, jobs, lists, lens) as usize;
    let kind = jobs[job + job::KIND];
    let batch = states[state::BATCH];
    let half = states[state::HALF];
    if ABSOLUTE_POS == 0 {
        states[state::NEXT] = batch + 1u32;
        states[state::NEXT_HALF] = half ^ 1u32;
    }
    if x < jobs[job + job::LEN4] as usize {
        if kind == kind::CLEAR_COUNTS {
            counts[((half ^ 1u32) * n_counts) as usize + x] = 0u32;
        } else {
            let accumulator = jobs[job + job::ACCUMULATORS] as usize + x;
            if kind == kind::CLEAR {
                accumulators[accumulator] = I4::new(0i32);
            } else {
                let at = jobs[job + job::WEIGHTS] as usize + x;
                let lazy = jobs[job + job::LAZY] == 1u32;
                let count_start = (half * n_counts + jobs[job + job::COUNT]) as usize;
                let width = jobs[job + job::WIDTH] as usize;
                // How often the batch has the row of each value. A vector of biases spans four rows.
                let mut times = U4::new(0u32);
                if lazy || kind == kind::TABLE {
                    #[unroll]
                    for e in 0..4usize {
                        times.insert(e, counts[count_start + (x * 4 + e) / width]);
                    }
                }
                let weight = weights[at];
                let mut grad = if kind == kind::TABLE {
                    let sums = V4::cast_from(accumulators[accumulator]);
                    let rows = states[state::ROWS];
                    gradient_of_table(
                        x,
                        job,
                        weight,
                        sums,
                        times,
                        copies,
                        bounds,
                        jobs,
                        rows,
                        terms_of_row,
                        reg,
                        class_length,
                        two_classes,
                    )
                } else {
                    gradients[at]
                };
                if kind == kind::TABLE {
                    accumulators[accumulator] = I4::new(0i32);
                }
                if clipped {
                    grad *= V4::new(norm[0]);
                }
                let size = 3 * batch as usize;
                let (decay, step_size, epsilon) = (sizes[size], sizes[size + 1], sizes[size + 2]);
                let mut direction = grad;
                let mut new_first = V4::new(0.0f32);
                let mut new_second = V4::new(0.0f32);
                match optimizer {
                    Optimizer::Sgd => {}
                    Optimizer::Adagrad => {
                        new_first = first[at] + grad * grad;
                        direction = grad / (new_first.sqrt() + V4::new(epsilon));
                    }
                    Optimizer::Adam => {
                        new_first = first[at] * V4::new(BETA_1) + grad * V4::new(1.0f32 - BETA_1);
                        new_second = second[at] * V4::new(BETA_2) + grad * grad * V4::new(1.0f32 - BETA_2);
                        direction = new_first / (new_second.sqrt() + V4::new(epsilon));
                    }
                }
                let mut new = weight * V4::new(decay) - direction * V4::new(step_size);
                if lazy {
                    // Values of untouched rows stay.
                    #[unroll]
                    for e in 0..4usize {
                        if times.extract(e) == 0u32 {
                            new.insert(e, weight.extract(e));
                            if comptime!(optimizer.n_states() > 0) {
                                new_first.insert(e, first[at].extract(e));
                            }
                            if comptime!(optimizer.n_states() > 1) {
                                new_second.insert(e, second[at].extract(e));
                            }
                        }
                    }
                }
                weights[at] = new;
                if comptime!(optimizer.n_states() > 0) {
                    first[at] = new_first;
                }
                if comptime!(optimizer.n_states() > 1) {
                    second[at] = new_second;
                }
            }
        }
    }
}

/// The place of a unit's vector in its table, behind the end of it where there is none: the vectors of a job with a list
/// are those of the listed rows.
#[cube]
pub fn place(unit: u32, job: usize, jobs: &[u32], lists: &[u32], lens: &[u32]) -> u32 {
    let mut x = unit;
    let list = jobs[job + job::LIST];
    if list != NONE {
        let width4 = jobs[job + job::WIDTH] / 4u32;
        let position = unit / width4;
        if position < lens[jobs[job + job::SIDE] as usize] {
            x = lists[(list + position) as usize] * width4 + unit % width4;
        } else {
            x = NONE;
        }
    }
    x
}

/// The gradient by four neighbouring weights of a table, from the sums in its accumulators; `times` says how often the
/// batch has the row of each.
#[cube]
pub fn gradient_of_table(
    x: usize,
    job: usize,
    weight: V4,
    sums: V4,
    times: U4,
    copies: &[V4],
    bounds: &[u32],
    jobs: &[u32],
    rows: u32,
    terms_of_row: u32,
    reg: f32,
    class_length: u32,
    #[comptime] two_classes: bool,
) -> V4 {
    let width = jobs[job + job::WIDTH] as usize;
    let mut most =
        f32::reinterpret(bounds[jobs[job + job::BOUND] as usize]) * f32::cast_from(jobs[job + job::FACTOR]);
    let other = jobs[job + job::OTHER_BOUND];
    if other != NONE {
        most *= f32::reinterpret(bounds[other as usize]);
    }
    let mut grad = V4::new(0.0f32);
    #[unroll]
    for e in 0..4usize {
        grad.insert(e, sums.extract(e) * fixed::unit(fixed::exponent(most, times.extract(e))));
    }
    let dot_weight = jobs[job + job::DOT_WEIGHT];
    if dot_weight != NONE {
        let column = x % (width / 4);
        grad *= class_weight(copies, dot_weight as usize + column, class_length as usize, two_classes);
    }
    let reg_times = jobs[job + job::REG];
    if reg_times > 0u32 {
        let factor = 2.0f32 * reg / f32::cast_from(rows * terms_of_row) * f32::cast_from(reg_times);
        #[unroll]
        for e in 0..4usize {
            let penalty = factor * f32::cast_from(times.extract(e)) * weight.extract(e);
            grad.insert(e, grad.extract(e) + penalty);
        }
    }
    grad
}
