//! Passes over rows in sixteen lanes side by side, so that the compiler can use wide registers. What is long is a [`Kernel`],
//! which is compiled for each instruction set as a whole.

use crate::simd::exp::exp;
use crate::simd::{Isa, Kernel, Simd};

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

/// Replaces each score `x` by `e^(x - most)`, where `most` is the greatest of them and of `least`; returns `most` and the sum.
pub fn powers(scores: &mut [f32], least: f32) -> [f32; 2] {
    Isa::best().run(Powers { scores, least })
}

struct Powers<'a> {
    scores: &'a mut [f32],
    least: f32,
}

impl Kernel for Powers<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> [f32; 2] {
        let most = greatest(self.scores, self.least);
        let mut sums = [0.0f32; LANES];
        let mut blocks = self.scores.chunks_exact_mut(LANES);
        for block in &mut blocks {
            for (sum, score) in sums.iter_mut().zip(block) {
                *score = exp(*score - most);
                *sum += *score;
            }
        }
        let tail = blocks.into_remainder().iter_mut().fold(0.0, |sum, score| {
            *score = exp(*score - most);
            sum + *score
        });
        [most, sums.iter().sum::<f32>() + tail]
    }
}

/// Returns the greatest of the values and of `least`.
#[inline(always)]
fn greatest(values: &[f32], least: f32) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [least; LANES];
    let blocks = values.chunks_exact(LANES);
    let tail = blocks.remainder().iter().fold(least, |most, &value| greater(most, value));
    blocks.for_each(|block| {
        most.iter_mut().zip(block).for_each(|(most, &value)| *most = greater(*most, value));
    });
    most.into_iter().fold(tail, greater)
}
