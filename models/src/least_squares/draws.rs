//! Draws from a normal distribution.

use rand::{Rng, RngExt};

/// Fills `out` with draws from a normal distribution around 0 with this standard deviation (Box and Muller 1958).
pub fn normal(rng: &mut impl Rng, std: f32, out: &mut [f32]) {
    for pair in out.chunks_mut(2) {
        let radius = std * (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
        pair.iter_mut().zip([cos, sin]).for_each(|(out, part)| *out = radius * part);
    }
}
