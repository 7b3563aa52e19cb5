//! Computing SLIM's weights: X'X where it is not 0, and for each item an elastic net by coordinate descent (Friedman et al. 2010,
//! "Regularization Paths for Generalized Linear Models via Coordinate Descent", with the updates from inner products).

use std::sync::atomic::{AtomicU64, Ordering};

use burnrec_data::Csr;
use rayon::prelude::*;

use super::SlimConfig;
use crate::free_memory::{free_memory_bytes, told};
use crate::item_item::{ClosedForm, ItemMatrix, add_common_users, from_rows, ones};
use crate::progress::Progress;
use crate::simd::vectorised;
use crate::{Error, Result};

impl ClosedForm for SlimConfig {
    fn solve(&self, train: &Csr, progress: &dyn Progress) -> Result<ItemMatrix> {
        let n_items = train.n_cols();
        let gram = Gram::new(&ones(train), free_memory_bytes(), progress)?;
        progress.begin("items", n_items as u64);
        let column = |scratch: &mut Regression, item: usize| {
            progress.check()?;
            let weights = scratch.solve(&gram, item, self);
            progress.advance(1);
            Ok(weights)
        };
        let columns: Vec<Vec<(u32, f32)>> =
            (0..n_items).into_par_iter().map_init(Regression::default, column).collect::<Result<_>>()?;
        progress.end();
        Ok(ItemMatrix::Sparse(from_rows(n_items, columns).transpose()))
    }
}

/// `X'X` where it is not 0: how many users two items have in common, whole numbers.
struct Gram {
    /// `[n_items, n_items]`, the diagonal included.
    rows: Vec<Vec<(u32, f32)>>,
    /// `[n_items]`: how many users each item has.
    diagonal: Vec<f32>,
}

impl Gram {
    /// Counts the common users of all pairs of items of `rows`, `[n_users, n_items]`.
    ///
    /// # Errors
    /// When the pairs with common users do not fit the free memory, or `progress` says to stop.
    fn new(rows: &Csr, free: Option<u64>, progress: &dyn Progress) -> Result<Self> {
        let columns = rows.transpose();
        let n_items = rows.n_cols();
        let bytes = AtomicU64::new(0);
        progress.begin("items of X'X", n_items as u64);
        let row = |counts: &mut Vec<f64>, item: usize| {
            progress.check()?;
            counts.resize(n_items, 0.0);
            add_common_users(rows, &columns, item, counts);
            let row: Vec<(u32, f32)> =
                (0..).zip(&*counts).map(|(other, &n)| (other, n as f32)).filter(|(_, n)| *n > 0.0).collect();
            counts.fill(0.0);
            let mine = (row.len() * size_of::<(u32, f32)>()) as u64;
            let all = bytes.fetch_add(mine, Ordering::Relaxed) + mine;
            progress.advance(1);
            match free {
                Some(free) if all > free => Err(Error::config(
                    "memory",
                    format!("{} free", told(free)),
                    format!(
                        "more than {}, which X'X of a part of the {n_items} items takes; prepare the data with fewer items \
                         (--min-item), or train knn, which keeps the nearest items alone",
                        told(all)
                    ),
                )),
                _ => Ok(row),
            }
        };
        let found: Vec<Vec<(u32, f32)>> =
            (0..n_items).into_par_iter().map_init(Vec::new, row).collect::<Result<_>>()?;
        progress.end();
        let diagonal = (0..n_items).map(|item| columns.row(item).0.len() as f32).collect();
        Ok(Self { rows: found, diagonal })
    }

    /// Returns the `k` items of the greatest cosine to an item, of equal ones the first, ascending; the item is not among them.
    fn nearest(&self, item: usize, k: usize) -> Vec<(u32, f32)> {
        let others = self.rows[item].iter().copied().filter(|(other, _)| *other as usize != item);
        let mut others: Vec<(u32, f32)> = others.collect();
        if others.len() > k {
            // The cosine's order without the item's own length: the square of a whole number by a whole number.
            let closeness = |&(other, common): &(u32, f32)| {
                f64::from(common) * f64::from(common) / f64::from(self.diagonal[other as usize])
            };
            let nearer =
                |a: &(u32, f32), b: &(u32, f32)| closeness(b).total_cmp(&closeness(a)).then(a.0.cmp(&b.0));
            others.select_nth_unstable_by(k - 1, nearer);
            others.truncate(k);
            others.sort_unstable_by_key(|(other, _)| *other);
        }
        others
    }
}

/// The least change of any weight in a sweep at which the descent ends, and the most sweeps.
const TOLERANCE: f64 = 1e-6;
const SWEEPS: usize = 500;

/// The regression of one item, and the room that it takes.
#[derive(Default)]
struct Regression {
    /// `[k, k]`: X'X of the items.
    gram: Vec<f64>,
    /// `[k]`: the products of the items' columns with what is left of the target's, `X' (x_j - X w)`.
    left: Vec<f64>,
    /// `[k]`
    weights: Vec<f64>,
}

impl Regression {
    /// Returns the weights of the items that predict an item, ascending.
    fn solve(&mut self, gram: &Gram, item: usize, config: &SlimConfig) -> Vec<(u32, f32)> {
        let items = gram.nearest(item, config.k);
        self.take(gram, &items);
        vectorised(|| self.descend(config));
        let weights = items.iter().zip(&self.weights).map(|((item, _), weight)| (*item, *weight as f32));
        weights.filter(|(_, weight)| *weight != 0.0).collect()
    }

    /// Takes X'X of some items, each with its product with the target.
    fn take(&mut self, gram: &Gram, items: &[(u32, f32)]) {
        let k = items.len();
        self.gram.clear();
        self.gram.resize(k * k, 0.0);
        for ((item, _), out) in items.iter().zip(self.gram.chunks_exact_mut(k.max(1))) {
            let mut row = gram.rows[*item as usize].as_slice();
            for ((other, _), out) in items.iter().zip(out) {
                row = &row[row.partition_point(|(at, _)| at < other)..];
                *out =
                    row.first().filter(|(at, _)| at == other).map_or(0.0, |(_, common)| f64::from(*common));
            }
        }
        self.left.clear();
        self.left.extend(items.iter().map(|(_, common)| f64::from(*common)));
        self.weights.clear();
        self.weights.resize(k, 0.0);
    }

    /// Minimises over one weight after the other, until none changes.
    #[inline(always)]
    fn descend(&mut self, config: &SlimConfig) {
        let k = self.weights.len();
        let (reg, l1) = (f64::from(config.reg), f64::from(config.l1));
        for _ in 0..SWEEPS {
            let mut largest = 0.0f64;
            for at in 0..k {
                let row = &self.gram[at * k..(at + 1) * k];
                let old = self.weights[at];
                let product = self.left[at] + row[at] * old;
                let shrunk = match product {
                    product if product > l1 => product - l1,
                    product if product < -l1 && !config.nonnegative => product + l1,
                    _ => 0.0,
                };
                let change = shrunk / (row[at] + reg) - old;
                if change != 0.0 {
                    self.weights[at] = old + change;
                    self.left.iter_mut().zip(row).for_each(|(left, common)| *left -= change * common);
                    largest = largest.max(change.abs());
                }
            }
            if largest < TOLERANCE {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn what_does_not_fit_is_refused() {
        let rows = Csr::new(3, vec![0, 2, 4], vec![0, 1, 1, 2], vec![1.0; 4]);
        // Seven pairs of items have users in common, each item with itself included.
        assert!(Gram::new(&rows, Some(56), &Silent).is_ok());
        let error = Gram::new(&rows, Some(55), &Silent).err().expect("56 bytes into 55").to_string();
        assert!(error.starts_with("memory: found 55 bytes free, expected more than 56"), "{error}");
    }

    #[test]
    fn of_equal_cosines_the_first_items_are_kept() {
        let rows = Csr::new(4, vec![0, 4, 8], vec![0, 1, 2, 3, 0, 1, 2, 3], vec![1.0; 8]);
        let gram = Gram::new(&rows, None, &Silent).expect("it fits");
        assert_eq!(gram.nearest(1, 2), [(0, 2.0), (2, 2.0)]);
        assert_eq!(gram.nearest(1, 9), [(0, 2.0), (2, 2.0), (3, 2.0)]);
    }
}
