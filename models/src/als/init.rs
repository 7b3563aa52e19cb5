//! The initial factors of a training run.

use burnrec_data::rng::stream;
use rayon::prelude::*;

use crate::least_squares::normal;

/// How many values one random stream draws. Each chunk has a stream of its own, so that the result does not depend on
/// the number of threads.
const CHUNK: usize = 1 << 14;

/// Draws factors `[rows, dim]` from a normal distribution around 0 with standard deviation `std / sqrt(dim)`.
pub fn initial_factors(seed: u64, rows: usize, dim: usize, std: f32) -> Vec<f32> {
    let scale = std / (dim as f32).sqrt();
    let mut factors = vec![0.0; rows * dim];
    factors.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
        let mut rng = stream(seed, "als.first_factors", chunk as u64);
        normal(&mut rng, scale, out);
    });
    factors
}
