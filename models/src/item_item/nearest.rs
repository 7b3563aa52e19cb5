//! The k nearest items of each item, by the product of a sparse matrix with its own transpose.

use burnrec_data::Csr;
use rayon::prelude::*;

use crate::Result;
use crate::progress::Progress;
use crate::simd::vectorised;

/// Whether an item is among its own nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Itself {
    /// It is, and counts as one of the k.
    Kept,
    /// It is not.
    LeftOut,
}

/// The most rows of the product that are there at a time, and the bytes that they may take.
const STRIP: usize = 256;
const STRIP_BYTES: usize = 64 << 20;

/// How many products are compared with their thresholds at once; most pieces have none above and are skipped.
const PIECE: usize = 32;

/// Returns in each row `i` the `k` greatest of the values over 0 of `(Y'Y)_ij factors_j`, of equal ones those of the lower columns:
/// `rows` is `Y`, `[n_users, n_items]`, `factors` is `[n_items]`, the result `[n_items, n_items]`.
///
/// `Y'Y` is symmetric, so that each product is summed up once, by one thread in the order of the users: the bits do not depend
/// on the number of threads. Of the product a strip of rows is there at a time.
///
/// # Errors
/// When `progress` says to stop.
pub fn nearest(
    rows: &Csr,
    factors: &[f32],
    k: usize,
    itself: Itself,
    progress: &dyn Progress,
) -> Result<Csr> {
    let (n_items, columns) = (rows.n_cols(), rows.transpose());
    let mut best: Vec<Best> = (0..n_items).map(|_| Best { k, least: 0.0, entries: Vec::new() }).collect();
    let height = (STRIP_BYTES / (4 * n_items.max(1))).clamp(1, STRIP);
    let mut strip = vec![0.0f32; height * n_items];
    progress.begin("items", n_items as u64);
    for top in (0..n_items).step_by(height) {
        progress.check()?;
        let end = (top + height).min(n_items);
        // First the products of each item of the strip with those up to itself ...
        let of_strip = strip.par_chunks_exact_mut(n_items).zip(best[top..end].par_iter_mut());
        of_strip.enumerate().for_each(|(at, (products, best))| {
            let item = top + at;
            products.fill(0.0);
            let products = &mut products[..=item];
            let (users, weights) = columns.row(item);
            for (&user, &weight) in users.iter().zip(weights) {
                let (others, values) = rows.row(user as usize);
                let up_to = others.partition_point(|&other| other as usize <= item);
                for (&other, &value) in others[..up_to].iter().zip(values) {
                    products[other as usize] += weight * value;
                }
            }
            let own = std::mem::take(&mut products[item]);
            vectorised(|| best.offer(products, factors));
            if itself == Itself::Kept {
                best.push(item, own * factors[item]);
            }
        });
        // ... which are those of the items before it with it.
        best[..end].par_chunks_mut(PIECE).enumerate().for_each(|(piece, best)| {
            let columns = piece * PIECE..piece * PIECE + best.len();
            let mut least = [0.0; PIECE];
            least.iter_mut().zip(&*best).for_each(|(least, best)| *least = best.least);
            for item in top.max(columns.start)..end {
                let products = &strip[(item - top) * n_items..][columns.clone()];
                if !products
                    .iter()
                    .zip(&least)
                    .fold(false, |any, (x, least)| any | (x * factors[item] > *least))
                {
                    continue;
                }
                for ((product, best), least) in products.iter().zip(&mut *best).zip(&mut least) {
                    best.push(item, product * factors[item]);
                    *least = best.least;
                }
            }
        });
        progress.advance((end - top) as u64);
    }
    progress.end();
    Ok(from_rows(n_items, best.into_iter().map(Best::into_row)))
}

/// Returns the matrix of rows of columns, ascending, and values.
pub fn from_rows(n_cols: usize, rows: impl IntoIterator<Item = Vec<(u32, f32)>>) -> Csr {
    let mut offsets = vec![0];
    let (mut cols, mut values) = (Vec::new(), Vec::new());
    for row in rows {
        cols.extend(row.iter().map(|(item, _)| *item));
        values.extend(row.iter().map(|(_, value)| *value));
        offsets.push(cols.len());
    }
    Csr::new(n_cols, offsets, cols, values)
}

/// The greatest values of an item so far, and others.
struct Best {
    k: usize,
    /// The threshold that a value must be above; as items come in ascending order, an equal one is never better.
    least: f32,
    entries: Vec<(u32, f32)>,
}

impl Best {
    /// Takes the products with all items from the first on, times their factors, where they are among the greatest.
    #[inline(always)]
    fn offer(&mut self, products: &[f32], factors: &[f32]) {
        for (piece, (products, factors)) in products.chunks(PIECE).zip(factors.chunks(PIECE)).enumerate() {
            let least = self.least;
            let values = products.iter().zip(factors).map(|(product, factor)| product * factor);
            if values.clone().fold(false, |any, value| any | (value > least)) {
                values.enumerate().for_each(|(at, value)| self.push(piece * PIECE + at, value));
            }
        }
    }

    /// Takes a value if it is among the greatest; items must come in ascending order.
    fn push(&mut self, item: usize, value: f32) {
        if value > self.least {
            self.entries.push((item as u32, value));
            if self.entries.len() >= self.k.saturating_mul(2) {
                self.cut();
            }
        }
    }

    /// Drops what is not among the greatest.
    fn cut(&mut self) {
        if self.entries.len() >= self.k {
            let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            let (_, least, _) = self.entries.select_nth_unstable_by(self.k - 1, better);
            self.least = least.1;
            self.entries.truncate(self.k);
        }
    }

    /// Returns the greatest values, items ascending.
    fn into_row(mut self) -> Vec<(u32, f32)> {
        self.cut();
        self.entries.sort_unstable_by_key(|(item, _)| *item);
        self.entries
    }
}
