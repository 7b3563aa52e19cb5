//! Whether all factors are finite.
//!
//! Launch: cubes of 256 units in a row, a unit for each vector of factors `[n, 4]`. Reads 16 bytes a unit.

use cubecl::prelude::*;

use crate::nn::gpu::kernels::shared::V4;

/// The bits of the exponent of an f32, all of which are set in an infinity and in a NaN.
const EXPONENT: u32 = 0x7f80_0000;

/// Returns whether a value is finite. It looks at the bits, because a device may assume that all values are.
#[cube]
pub fn is_finite(value: f32) -> bool {
    (u32::reinterpret(value) & EXPONENT) != EXPONENT
}

/// Sets `found[0]` to 1 if one of the `n` vectors is not finite.
#[cube(launch_unchecked)]
pub fn check(factors: &[V4], found: &[Atomic<u32>], n: u32) {
    if ABSOLUTE_POS < n as usize {
        let vector = factors[ABSOLUTE_POS];
        let mut finite = true;
        #[unroll]
        for e in 0..4usize {
            finite = finite && is_finite(vector.extract(e));
        }
        if !finite {
            found[0].fetch_max(1u32);
        }
    }
}

/// Clears `found[0]`.
#[cube(launch_unchecked)]
pub fn clear(found: &mut [u32]) {
    if ABSOLUTE_POS == 0usize {
        found[0] = 0u32;
    }
}
