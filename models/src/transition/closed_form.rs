//! The closed form of [`super`]: sums over pairs of rows of one history, and the solution.

use burnrec_data::{Csr, Error as DataError};
use rayon::prelude::*;

use super::TransitionConfig;
use crate::free_memory::{free_memory_bytes, told};
use crate::linalg::Cholesky;
use crate::{Error, Progress, Result};

/// The histories of all users, one after the other, each from its oldest row on.
pub(super) struct Sequences {
    n_items: usize,
    items: Vec<u32>,
    /// Of each row, the end of its user's history.
    ends: Vec<u32>,
    /// Of each row, the start of its user's history.
    starts: Vec<u32>,
    /// The rows of each item, ascending: item `i` has `rows[of_item[i]..of_item[i + 1]]`.
    rows: Vec<u32>,
    of_item: Vec<usize>,
}

impl Sequences {
    /// Lists the rows of `train`, `[n_users, n_items]`, whose rows have an order.
    ///
    /// # Errors
    /// When there are too many rows to number them by 32 bits.
    pub(super) fn new(train: &Csr) -> Result<Self> {
        let n = train.nnz();
        if u32::try_from(n).is_err() {
            return Err(DataError::setting("train", format!("{n} rows"), "fewer than 2^32").into());
        }
        let mut items = Vec::with_capacity(n);
        let (mut starts, mut ends) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for user in 0..train.n_rows() {
            let start = items.len();
            items.extend(train.history(user).iter().map(|entry| entry.col));
            starts.resize(items.len(), start as u32);
            ends.resize(items.len(), items.len() as u32);
        }
        let mut of_item = vec![0; train.n_cols() + 1];
        items.iter().for_each(|&item| of_item[item as usize + 1] += 1);
        (0..train.n_cols()).for_each(|item| of_item[item + 1] += of_item[item]);
        let (mut rows, mut next) = (vec![0; n], of_item.clone());
        for (row, &item) in (0..).zip(&items) {
            rows[next[item as usize]] = row;
            next[item as usize] += 1;
        }
        Ok(Self { n_items: train.n_cols(), items, ends, starts, rows, of_item })
    }

    /// Returns how many rows have another before them.
    pub(super) fn n_targets(&self) -> usize {
        (0..).zip(&self.starts).filter(|&(row, &start)| row > start).count()
    }

    /// Calls `add` for each row of an item: with the row, and the start and the end of its history.
    fn each_row(&self, item: usize, mut add: impl FnMut(usize, usize, usize)) {
        for &row in &self.rows[self.of_item[item]..self.of_item[item + 1]] {
            let row = row as usize;
            add(row, self.starts[row] as usize, self.ends[row] as usize);
        }
    }

    /// Returns `S^T S + reg I`, `[n_items, n_items]`.
    ///
    /// Two rows `d` apart are both in the sources of all targets that come after the later one and at most `window` after
    /// the earlier one; with `q = e^(-1 / decay)`, the source of the `j`-th of these adds `q^d q^(2 j)`.
    fn gram(&self, config: &TransitionConfig) -> Vec<f64> {
        let (n, weights) = (self.n_items, config.weights());
        let sums: Vec<f64> = std::iter::once(0.0)
            .chain(weights.iter().scan(0.0, |sum, weight| {
                *sum += weight * weight;
                Some(*sum)
            }))
            .collect();
        let mut gram = vec![0.0; n * n];
        gram.par_chunks_mut(n.max(1)).enumerate().for_each(|(item, out)| {
            self.each_row(item, |row, start, end| {
                let first = start.max((row + 1).saturating_sub(config.window));
                for other in first..end.min(row + config.window) {
                    let (apart, later) = (row.abs_diff(other), row.max(other));
                    let targets = (config.window - apart).min(end - 1 - later);
                    out[self.items[other] as usize] += weights[apart] * sums[targets];
                }
            });
            out[item] += f64::from(config.reg);
        });
        gram
    }

    /// Returns `T^T S`, `[n_items, n_items]`.
    fn moments(&self, config: &TransitionConfig) -> Vec<f64> {
        let (n, weights) = (self.n_items, config.weights());
        let mut moments = vec![0.0; n * n];
        moments.par_chunks_mut(n.max(1)).enumerate().for_each(|(item, out)| {
            self.each_row(item, |row, start, _| {
                for (before, weight) in (start..row).rev().zip(&weights) {
                    out[self.items[before] as usize] += weight;
                }
            });
        });
        moments
    }
}

/// Refuses a catalogue whose matrices do not fit the free memory.
///
/// # Errors
/// When that is so.
pub(super) fn check_memory(n_items: usize) -> Result<()> {
    fits(n_items, free_memory_bytes())
}

fn fits(n_items: usize, free: Option<u64>) -> Result<()> {
    // Two matrices in f64, and the transitions in f32, which at the end stand beside one of them.
    let cells = (n_items as u64).saturating_mul(n_items as u64);
    let needed = cells.saturating_mul(16);
    match free {
        Some(free) if needed > free => {
            let expected = format!(
                "{} for two matrices of {n_items} x {n_items} numbers; prepare the data with fewer items, such as by --min-item",
                told(needed)
            );
            Err(Error::config("memory", told(free), expected))
        }
        _ => Ok(()),
    }
}

/// Returns the transitions `B`, `[n_items, n_items]`; the same bits for any number of threads.
///
/// # Errors
/// When `progress` says to stop, or the system is not positive definite, as `reg` is too small for its numbers.
pub(super) fn transitions(
    sequences: &Sequences,
    config: &TransitionConfig,
    progress: &dyn Progress,
) -> Result<Vec<f32>> {
    let n = sequences.n_items;
    progress.check()?;
    let factor = Cholesky::factor(sequences.gram(config), n).ok_or_else(|| {
        Error::config("reg", config.reg, "a larger number, with which the system has a solution")
    })?;
    progress.check()?;
    let mut transposed = sequences.moments(config);
    factor.solve_rows(&mut transposed);
    drop(factor);
    let mut out = vec![0.0; n * n];
    out.par_chunks_mut(n.max(1)).enumerate().for_each(|(from, out)| {
        out.iter_mut().enumerate().for_each(|(to, out)| *out = transposed[to * n + from] as f32);
    });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use burnrec_data::Entry;
    use burnrec_data::draws::mixed;

    use super::*;
    use crate::Silent;

    fn histories() -> Csr {
        let entry = |&col: &u32| Entry { col, value: 1.0, time: None };
        let rows: [&[u32]; 5] = [&[4, 1, 3, 0, 2], &[2, 0], &[3], &[], &[1, 2, 4, 0]];
        Csr::from_histories(6, rows.map(|row| row.iter().map(entry).collect()))
    }

    #[test]
    fn sums_over_pairs_are_those_of_sources_and_targets() {
        let train = histories();
        for window in [1, 2, 3, 9] {
            let config = TransitionConfig { window, decay: 1.5, reg: 0.25 };
            let (mut gram, mut moments) = (vec![0.0; 36], vec![0.0; 36]);
            (0..6).for_each(|item| gram[item * 7] += 0.25);
            for user in 0..train.n_rows() {
                let items: Vec<usize> = train.history(user).iter().map(|entry| entry.col as usize).collect();
                for n in 1..items.len() {
                    let mut source = [0.0; 6];
                    for k in 1..=window.min(n) {
                        source[items[n - k]] = (-((k - 1) as f64) / 1.5).exp();
                    }
                    for i in 0..6 {
                        moments[items[n] * 6 + i] += source[i];
                        (0..6).for_each(|j| gram[i * 6 + j] += source[i] * source[j]);
                    }
                }
            }
            let sequences = Sequences::new(&train).expect("few rows");
            let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near(&sequences.gram(&config), &gram), "S^T S with a window of {window}");
            assert!(near(&sequences.moments(&config), &moments), "T^T S with a window of {window}");
            assert_eq!(sequences.n_targets(), 8);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        // 300 items are several blocks of the factorisation.
        let entry = |user: u32, k: u32| Entry { col: mixed(40 * user + k) % 300, value: 1.0, time: None };
        let history = |user: u32| (0..40).map(|k| entry(user, k)).collect();
        let train = Csr::from_histories(300, (0..100).map(history));
        let sequences = Sequences::new(&train).expect("few rows");
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| transitions(&sequences, &TransitionConfig::default(), &Silent)).expect("solved")
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn a_catalogue_that_does_not_fit_is_refused_by_size() {
        assert!(fits(20_000, Some(6_400_000_000)).is_ok() && fits(20_000, None).is_ok());
        let error = fits(20_000, Some(6_399_999_999)).expect_err("a byte too much").to_string();
        let start = "memory: found 6.0 GB, expected 6.0 GB for two matrices of 20000 x 20000 numbers";
        assert!(error.starts_with(start), "{error}");
        assert!(fits(usize::MAX, Some(1 << 40)).is_err());
    }
}
