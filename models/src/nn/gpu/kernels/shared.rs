//! What the kernels share: vectors, the cells of the small buffers, and the draws of [`burnrec_data::draws`] on the
//! device.

use burnrec_data::draws::{PHILOX_M0, PHILOX_M1, PHILOX_ROUNDS, PHILOX_W0, PHILOX_W1};
use cubecl::prelude::*;

/// Four values that are read and written together.
pub type V4 = Vector<f32, Const<4>>;
/// Four fixed-point values.
pub type I4 = Vector<i32, Const<4>>;
/// Four words.
pub type U4 = Vector<u32, Const<4>>;

/// Stands for an offset that a job does not have.
pub const NONE: u32 = u32::MAX;

/// The cells of the state, which the kernels of a step pass on to each other.
pub mod state {
    /// The number of the next batch of the epoch; the update writes it, the draw reads it.
    pub const NEXT: usize = 0;
    /// The number of this batch.
    pub const BATCH: usize = 1;
    /// The training rows of this batch.
    pub const ROWS: usize = 2;
    /// Which half of the counts this batch uses, 0 and 1 in turn.
    pub const HALF: usize = 3;
    /// The half of the next batch; the update writes it, the draw reads it.
    pub const NEXT_HALF: usize = 4;
    /// Two seeds for the dropout mask of each hidden layer.
    pub const SEEDS: usize = 5;
    /// The length of the state.
    pub const LEN: usize = SEEDS + 2 * super::MAX_LAYERS;
}

/// The most hidden layers of a tower.
pub const MAX_LAYERS: usize = 5;

/// The cells of the numbers of an epoch, which the host writes before it.
pub mod epoch {
    /// Two words: the key of the negatives.
    pub const NEGATIVES: usize = 0;
    /// Two words: the key of the dropout masks.
    pub const DROPOUT: usize = 2;
    /// Two words: the bits of the halves of the permutation.
    pub const BITS: usize = 4;
    /// The keys of the permutation's rounds.
    pub const ROUNDS: usize = 6;
    /// The number of words.
    pub const LEN: usize = ROUNDS + burnrec_data::draws::Permutation::ROUNDS;
}

/// The row that a job works on at a position: that of its list of touched rows, where it has one.
#[cube]
pub fn listed(lists: &[u32], list: u32, position: u32) -> u32 {
    let mut row = position;
    if list != NONE {
        row = lists[(list + position) as usize];
    }
    row
}

/// Where the job of a cube begins, of jobs of `len` words whose cubes stand in a row: each job begins with its first cube.
#[cube]
pub fn job_of_cube(jobs: &[u32], n_jobs: u32, cube: u32, #[comptime] len: usize) -> usize {
    let mut job = 0usize;
    for next in 1..n_jobs as usize {
        if jobs[next * len] <= cube {
            job = next * len;
        }
    }
    job
}

/// The rows of a job: those of its list of a side's touched rows, else `rows` of them, for each training row of the batch
/// where `per_row` is 1.
#[cube]
pub fn rows_of_job(rows: u32, per_row: u32, list: u32, side: u32, states: &[u32], lens: &[u32]) -> u32 {
    let mut n = rows;
    if per_row == 1u32 {
        n *= states[state::ROWS];
    }
    if list != NONE {
        n = lens[side as usize];
    }
    n
}

/// The largest magnitudes of a batch, as the bits of f32: these order as the numbers do, so that an atomic maximum finds
/// them. They bound what is added to an accumulator.
pub mod bound {
    /// The gradient by a score.
    pub const SCORE: usize = 0;
    /// An element of a user's vector in the dot product.
    pub const USER: usize = 1;
    /// An element of an item's vector in the dot product.
    pub const ITEM: usize = 2;
    /// The gradient by the sums of the first hidden layer.
    pub const HIDDEN: usize = 3;
    /// The number of cells.
    pub const LEN: usize = 4;
}

/// As [`burnrec_data::draws::mixed`].
#[cube]
pub fn mixed(x: u32) -> u32 {
    let mut h = x;
    h = (h ^ (h >> 16u32)) * 0x7feb_352du32;
    h = (h ^ (h >> 15u32)) * 0x846c_a68bu32;
    h ^ (h >> 16u32)
}

/// As [`burnrec_data::draws::philox`], with the words of the key and of the counter one by one.
#[cube]
pub fn philox(key0: u32, key1: u32, c0: u32, c1: u32, c2: u32, c3: u32) -> U4 {
    let mut k0 = key0;
    let mut k1 = key1;
    let mut x0 = c0;
    let mut x1 = c1;
    let mut x2 = c2;
    let mut x3 = c3;
    for _ in 0..PHILOX_ROUNDS {
        let high0 = x0.mul_hi(PHILOX_M0);
        let low0 = x0 * PHILOX_M0;
        let high1 = x2.mul_hi(PHILOX_M1);
        let low1 = x2 * PHILOX_M1;
        x0 = high1 ^ x1 ^ k0;
        x1 = low1;
        x2 = high0 ^ x3 ^ k1;
        x3 = low0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    let mut out = U4::new(x0);
    out.insert(1usize, x1);
    out.insert(2usize, x2);
    out.insert(3usize, x3);
    out
}

/// ReLU with inverted dropout ([`crate::nn::kernels::ReluDropout`]) of four neighbouring units; `first` is the index of
/// the first in the layer's output.
#[cube]
pub fn relu_dropout(
    x: V4,
    first: u32,
    seed0: u32,
    seed1: u32,
    below: u32,
    scale: f32,
    #[comptime] dropout: bool,
) -> V4 {
    let mut out = max(x, V4::new(0.0f32));
    if dropout {
        #[unroll]
        for e in 0..4usize {
            let factor = dropout_factor(first + e as u32, seed0, seed1, below, scale);
            out.insert(e, out.extract(e) * factor);
        }
    }
    out
}

/// The factor of one unit in the dropout mask: 0 or `scale`.
#[cube]
pub fn dropout_factor(index: u32, seed0: u32, seed1: u32, below: u32, scale: f32) -> f32 {
    let drawn = mixed(mixed(index ^ seed0) + seed1);
    select(drawn < below, 0.0f32, scale)
}

/// The largest value over the `units` of a cube, a multiple of 16, in its unit 0; `shared` has as many values and is free
/// to use.
#[cube]
pub fn cube_max(shared: &mut Shared<[f32]>, value: f32, #[comptime] units: usize) -> f32 {
    let t = UNIT_POS as usize;
    sync_cube();
    shared[t] = value;
    sync_cube();
    let mut most = value;
    if t < 16 {
        for k in 1..comptime!(units / 16) {
            most = max(most, shared[t + k * 16]);
        }
    }
    sync_cube();
    if t < 16 {
        shared[t] = most;
    }
    sync_cube();
    if t == 0 {
        for k in 1..16usize {
            most = max(most, shared[k]);
        }
    }
    most
}

/// The sum over the 256 units of a cube in a fixed order, in its unit 0; `shared` has 256 values and is free to use.
#[cube]
pub fn cube_sum(shared: &mut Shared<[f32]>, value: f32) -> f32 {
    let t = UNIT_POS as usize;
    sync_cube();
    shared[t] = value;
    sync_cube();
    let mut total = value;
    if t < 16 {
        for k in 1..16usize {
            total += shared[t + k * 16];
        }
    }
    sync_cube();
    if t < 16 {
        shared[t] = total;
    }
    sync_cube();
    if t == 0 {
        for k in 1..16usize {
            total += shared[k];
        }
    }
    total
}
