//! The items that stand for all unseen ones where users are folded in: all of a small catalogue, some of a large one.

use crate::least_squares::{BiasedDots, Side};
use crate::simd::{Isa, Kernel, Simd};

/// The most items that are drawn, and the largest catalogue that is taken as a whole.
pub const MOST: usize = 8192;

/// With a weaker regulariser every catalogue is taken as a whole: a user's row then goes wherever the few drawn items leave it
/// free to, up to many times the least loss at none.
pub const LEAST_DRAWN_REG: f32 = 0.003;

/// Items are walked through in blocks of this many, whose vectors stay in the first cache.
pub const BLOCK: usize = 64;

/// The share of the drawn items that goes evenly to all; the others go by how much they matter.
const EVENLY: f64 = 0.3;

/// Rows have a multiple of this many values.
const LANES: usize = 16;

/// The score of what fills the last block.
const NEVER: f32 = -1e30;

/// Items drawn once for a model, each with a weight, so that weighted sums over them, and over the first of them, estimate sums
/// over all items. Nothing here is random.
pub struct Negatives {
    /// How many items each stands for; whole blocks, the last filled with zeros.
    pub weights: Vec<f32>,
    /// Mean and item bias.
    base: Vec<f32>,
    /// `[.., width]`: the vectors, padded with zeros.
    rows: Vec<f32>,
    width: usize,
    /// Items, ascending, with their places among the drawn ones.
    places: Vec<(u32, u32)>,
    /// Whether every item is here.
    pub whole: bool,
}

/// A loss over the drawn items.
pub trait Slopes {
    /// Comes before the first block. All three must be `#[inline(always)]`.
    fn begin(&mut self) {}
    /// Replaces the scores of a block by the derivatives of the loss; returns what those of all blocks before are to be
    /// multiplied with.
    fn block(&mut self, weights: &[f32; BLOCK], scores: &mut [f32; BLOCK]) -> f32;
    /// Comes after the last block.
    fn end(&mut self) {}
}

impl Negatives {
    /// Draws from the items of a model with this regulariser.
    pub fn new(dots: &BiasedDots, reg: f32) -> Self {
        let (items, mean, dim) = (dots.items.side(), dots.mean, dots.dim);
        let whole = items.biases.len() <= MOST || reg < LEAST_DRAWN_REG;
        let drawn = drawn(items, dim, whole);
        let n = drawn.len();
        let (padded, width) = (n.next_multiple_of(BLOCK), dim.next_multiple_of(LANES));
        let mut all = Self {
            weights: vec![0.0; padded],
            base: vec![NEVER; padded],
            rows: vec![0.0; padded * width],
            width,
            places: Vec::with_capacity(n),
            whole,
        };
        // Steps of the golden section spread neighbours, so that the first items are of all kinds.
        let step = (0..n).map(|more| (n as f64 * 0.618) as usize + more).find(|&step| gcd(step, n) == 1);
        let step = step.unwrap_or(1);
        for place in 0..n {
            let (item, weight) = drawn[place * step % n];
            all.weights[place] = weight;
            all.base[place] = mean + items.biases[item as usize];
            all.rows[place * width..place * width + dim].copy_from_slice(items.row(item as usize, dim));
            all.places.push((item, place as u32));
        }
        all.places.sort_unstable();
        all
    }

    /// Returns the place of an item among the drawn ones.
    pub fn place(&self, item: u32) -> Option<usize> {
        let at = self.places.binary_search_by_key(&item, |(item, _)| *item).ok()?;
        Some(self.places[at].1 as usize)
    }

    /// Walks through as many items as there are weights, whole blocks, by the user `x`, a vector and then a bias; returns the
    /// derivatives of the loss by these.
    pub fn walk(&self, weights: &[f32], x: &[f64], slopes: &mut impl Slopes) -> Vec<f32> {
        let (bias, vector) = x.split_last().expect("a bias");
        let mut user = vec![0.0; self.width];
        user.iter_mut().zip(vector).for_each(|(user, &x)| *user = x as f32);
        let mut pulled = vec![0.0; self.width];
        let walk = Walk { of: self, weights, user: &user, bias: *bias as f32, pulled: &mut pulled, slopes };
        let by_bias = Isa::best().run(walk);
        pulled.truncate(vector.len());
        pulled.push(by_bias);
        pulled
    }
}

/// A walk through the blocks: the scores of a block, their derivatives, and what follows for the user's vector.
struct Walk<'a, L> {
    of: &'a Negatives,
    weights: &'a [f32],
    /// `[width]`
    user: &'a [f32],
    bias: f32,
    /// `[width]`: gets the derivatives by the user's vector.
    pulled: &'a mut [f32],
    slopes: &'a mut L,
}

impl<L: Slopes> Kernel for Walk<'_, L> {
    /// The derivative by the user's bias.
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let Self { of: &Negatives { ref rows, ref base, width, .. }, weights, user, bias, pulled, slopes } =
            self;
        assert!(width.is_multiple_of(S::LANES) && user.len() == width && pulled.len() == width);
        let mut by_bias = [0.0; BLOCK];
        slopes.begin();
        let blocks = rows.chunks_exact(BLOCK * width).zip(base.as_chunks().0).zip(weights.as_chunks().0);
        for ((rows, base), weights) in blocks {
            let base: &[f32; BLOCK] = base;
            let mut values = [0.0; BLOCK];
            for (rows, out) in rows.chunks_exact(8 * width).zip(values.as_chunks_mut::<8>().0) {
                let mut sums = [simd.splat(0.0); 8];
                for at in (0..width).step_by(S::LANES) {
                    // SAFETY: `at` and the lanes after it are within the `width` of the user and of each of the 8 rows.
                    unsafe {
                        let x = simd.load(user.as_ptr().add(at));
                        for (row, sum) in sums.iter_mut().enumerate() {
                            *sum = simd.fma(simd.load(rows.as_ptr().add(row * width + at)), x, *sum);
                        }
                    }
                }
                *out = simd.sums(sums);
            }
            values.iter_mut().zip(base).for_each(|(value, base)| *value += base + bias);
            let factor = slopes.block(weights, &mut values);
            if factor != 1.0 {
                pulled.iter_mut().chain(&mut by_bias).for_each(|sum| *sum *= factor);
            }
            for (rows, slopes) in rows.chunks_exact(8 * width).zip(values.as_chunks::<8>().0) {
                let slopes = slopes.map(|slope| simd.splat(slope));
                for at in (0..width).step_by(S::LANES) {
                    // SAFETY: as above, for `pulled` in place of the user.
                    unsafe {
                        let to = pulled.as_mut_ptr().add(at);
                        let mut sum = simd.load(to);
                        for (row, slope) in slopes.iter().enumerate() {
                            sum = simd.fma(simd.load(rows.as_ptr().add(row * width + at)), *slope, sum);
                        }
                        simd.store(to, sum);
                    }
                }
            }
            by_bias.iter_mut().zip(&values).for_each(|(sum, slope)| *sum += slope);
        }
        slopes.end();
        by_bias.iter().sum()
    }
}

/// Returns all items if the whole catalogue is asked for, else about [`MOST`], drawn systematically along their biases. An item
/// matters by how much its share of a gradient varies: the root of the mean of e^score over users whose vectors are spread as
/// the items' are, times the length of its vector. Each comes with its weight, the inverse of how often it is drawn.
fn drawn(items: &Side, dim: usize, whole: bool) -> Vec<(u32, f32)> {
    let n = items.biases.len();
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_by(|&a, &b| items.biases[a as usize].total_cmp(&items.biases[b as usize]).then(a.cmp(&b)));
    if whole {
        return order.into_iter().map(|item| (item, 1.0)).collect();
    }
    let square =
        |item: u32| items.row(item as usize, dim).iter().map(|&z| f64::from(z) * f64::from(z)).sum::<f64>();
    let squares: Vec<f64> = order.iter().map(|&item| square(item)).collect();
    let variance = squares.iter().sum::<f64>() / (n * dim) as f64;
    let exponents: Vec<f64> = (order.iter().zip(&squares))
        .map(|(&item, square)| f64::from(items.biases[item as usize]) / 2.0 + variance * square / 4.0)
        .collect();
    let most = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let matters: Vec<f64> =
        exponents.iter().zip(&squares).map(|(e, square)| (e - most).exp() * (1.0 + square).sqrt()).collect();
    let all: f64 = matters.iter().sum();
    let (mut drawn, mut sum, mut next) = (Vec::with_capacity(MOST), 0.0, 0.5);
    for (item, matters) in order.into_iter().zip(matters) {
        // How often the item is drawn, on average.
        let expected = MOST as f64 * (EVENLY / n as f64 + (1.0 - EVENLY) * matters / all);
        sum += expected;
        let mut times = 0;
        while next < sum {
            (next, times) = (next + 1.0, times + 1);
        }
        if times > 0 {
            drawn.push((item, (f64::from(times) / expected) as f32));
        }
    }
    drawn
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
