//! Sums and maxima of rows, in sixteen lanes side by side so that the compiler can use wide registers.

use crate::simd::exp::exp;

const LANES: usize = 16;

/// Sums what `of` makes of each value.
#[inline(always)]
pub fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let blocks = values.chunks_exact(LANES);
    let tail: f32 = blocks.remainder().iter().map(|&value| of(value)).sum();
    blocks.for_each(|block| sums.iter_mut().zip(block).for_each(|(sum, &value)| *sum += of(value)));
    sums.iter().sum::<f32>() + tail
}

/// Returns the greatest value.
#[inline(always)]
pub fn greatest(values: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; LANES];
    let blocks = values.chunks_exact(LANES);
    let tail = blocks.remainder().iter().fold(f32::NEG_INFINITY, |most, &value| greater(most, value));
    blocks.for_each(|block| {
        most.iter_mut().zip(block).for_each(|(most, &value)| *most = greater(*most, value))
    });
    most.into_iter().fold(tail, greater)
}

/// Replaces each value `x` by `e^(x - less)`, and returns their sum.
#[inline(always)]
pub fn exponentials(values: &mut [f32], less: f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let mut blocks = values.chunks_exact_mut(LANES);
    for block in &mut blocks {
        for (sum, value) in sums.iter_mut().zip(block) {
            *value = exp(*value - less);
            *sum += *value;
        }
    }
    let tail = blocks.into_remainder().iter_mut().fold(0.0, |sum, value| {
        *value = exp(*value - less);
        sum + *value
    });
    sums.iter().sum::<f32>() + tail
}
