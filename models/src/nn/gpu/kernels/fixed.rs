//! Sums in fixed point. Many samples add to the gradient of one table row, in any order; integers give the same sum in
//! every order, where f32 does not.
//!
//! An accumulator of a row that `count` entries add at most `bound` each to counts in units of `2^-k`, with the largest
//! `k` at which `count * bound * 2^k` is at most `2^30`. The sum is then wrong by at most `count / 2` units: a part
//! `count * 2^-30` of the bound. `k` follows from the bits of `count * bound` in f32.

use cubecl::prelude::*;

/// The biased exponent of a bound on the magnitude of a sum, kept where the scales below are finite.
#[cube]
pub fn exponent(bound: f32, count: u32) -> u32 {
    let bits = u32::reinterpret(bound * f32::cast_from(count));
    clamp(bits >> 23u32, 30u32, 254u32)
}

/// `2^k`.
#[cube]
pub fn scale(exponent: u32) -> f32 {
    f32::reinterpret((283u32 - exponent) << 23u32)
}

/// `2^-k`.
#[cube]
pub fn unit(exponent: u32) -> f32 {
    f32::reinterpret((exponent - 29u32) << 23u32)
}

/// A value in fixed point.
#[cube]
pub fn fixed(value: f32, scale: f32) -> i32 {
    i32::cast_from((value * scale).round())
}
