//! The first factors of a training run.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;

/// Numbers that one stream draws; each has a seed of its own, so that threads do not matter.
const CHUNK: usize = 1 << 14;

/// `[rows, dim]` drawn from a normal distribution around 0 with standard deviation `std / sqrt(dim)`.
pub fn first_factors(seed: u64, rows: usize, dim: usize, std: f32) -> Vec<f32> {
    let scale = std / (dim as f32).sqrt();
    let mut factors = vec![0.0; rows * dim];
    factors.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
        let mut rng = Pcg64::seed_from_u64(mixed(mixed(seed ^ PURPOSE) ^ chunk as u64));
        for pair in out.chunks_mut(2) {
            // Box and Muller 1958.
            let radius = scale * (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
            let (sin, cos) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
            pair.iter_mut().zip([cos, sin]).for_each(|(out, part)| *out = radius * part);
        }
    });
    factors
}

/// Sets these draws apart from all others of the same seed.
const PURPOSE: u64 = u64::from_le_bytes(*b"als init");

/// SplitMix64's finaliser (Steele, Lea and Flood 2014).
fn mixed(x: u64) -> u64 {
    let mut x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
