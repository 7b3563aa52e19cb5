//! The item-item matrix: how it scores histories, and how it is saved.

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::vocab_file::{csr_tensors, read_csr};
use burnrec_data::{Csr, Error as DataError, ItemIx};

use crate::Result;
use crate::simd::vectorised;
use crate::weights::matrix;

/// The weights `B_ij` that an item `i` of a history has for the score of an item `j`, `[n_items, n_items]`.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemMatrix {
    /// All weights, row-major.
    Dense {
        /// The number of rows and of columns.
        n_items: usize,
        /// `[n_items, n_items]`
        weights: Vec<f32>,
    },
    /// In each row the weights that are there; all others are 0.
    Sparse(Csr),
}

const WEIGHTS: &str = "item_weights";

impl ItemMatrix {
    /// Returns a matrix without weights.
    pub fn empty(n_items: usize) -> Self {
        Self::Sparse(Csr::empty(n_items, n_items))
    }

    /// Returns the number of items.
    pub fn n_items(&self) -> usize {
        match self {
            Self::Dense { n_items, .. } => *n_items,
            Self::Sparse(rows) => rows.n_cols(),
        }
    }

    /// Returns the mean of the weights that are there, 0 where there are none.
    #[cfg(feature = "train")]
    pub fn mean_weight(&self) -> f64 {
        let weights = match self {
            Self::Dense { weights, .. } => weights,
            Self::Sparse(rows) => rows.values(),
        };
        weights.iter().map(|&weight| f64::from(weight)).sum::<f64>() / weights.len().max(1) as f64
    }

    /// Returns the items with a weight in the row of an item, and the weights, without the item itself.
    pub fn row(&self, item: ItemIx) -> Vec<(ItemIx, f32)> {
        let row: Vec<(ItemIx, f32)> = match self {
            Self::Dense { n_items, weights } => {
                let row = &weights[item.at() * n_items..(item.at() + 1) * n_items];
                (0..).map(ItemIx).zip(row.iter().copied()).collect()
            }
            Self::Sparse(rows) => {
                let (items, weights) = rows.row(item.at());
                items.iter().map(|&item| ItemIx(item)).zip(weights.iter().copied()).collect()
            }
        };
        row.into_iter().filter(|&(other, weight)| other != item && weight != 0.0).collect()
    }

    /// Scores all items for each of these histories, of items and their values: `out` is `[histories, n_items]`, row-major.
    pub fn score_all(&self, histories: &[(&[u32], &[f32])], out: &mut [f32]) {
        out.fill(0.0);
        match self {
            Self::Dense { n_items, weights } => {
                let row = |item: u32| &weights[item as usize * n_items..(item as usize + 1) * n_items];
                for (history, out) in histories.iter().zip(out.chunks_exact_mut((*n_items).max(1))) {
                    vectorised(|| add_rows(*history, row, out));
                }
            }
            Self::Sparse(rows) => {
                for (&(items, values), out) in
                    histories.iter().zip(out.chunks_exact_mut(rows.n_cols().max(1)))
                {
                    for (&item, &value) in items.iter().zip(values) {
                        let (others, weights) = rows.row(item as usize);
                        for (&other, &weight) in others.iter().zip(weights) {
                            out[other as usize] += value * weight;
                        }
                    }
                }
            }
        }
    }

    /// Scores some items for one history: `out[k]` for `items[k]`, the bits that [`ItemMatrix::score_all`] gives.
    pub fn score_some(&self, history: (&[u32], &[f32]), items: &[ItemIx], out: &mut [f32]) {
        match self {
            Self::Dense { n_items, weights } => {
                out.fill(0.0);
                for (&item, &value) in history.0.iter().zip(history.1) {
                    let row = &weights[item as usize * n_items..(item as usize + 1) * n_items];
                    for (out, item) in out.iter_mut().zip(items) {
                        *out += value * row[item.at()];
                    }
                }
            }
            Self::Sparse(rows) => {
                // A row has few entries, so that summing up the whole catalogue is cheaper than looking for an item in each.
                let mut all = vec![0.0; rows.n_cols()];
                self.score_all(&[history], &mut all);
                out.iter_mut().zip(items).for_each(|(out, item)| *out = all[item.at()]);
            }
        }
    }

    /// Returns the weights as arrays of a file.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        match self {
            Self::Dense { n_items, weights } => {
                vec![(WEIGHTS.to_owned(), Tensor::new(&[*n_items, *n_items], weights.iter().copied()))]
            }
            Self::Sparse(rows) => csr_tensors(WEIGHTS, rows),
        }
    }

    /// Reads what [`ItemMatrix::tensors`] returned.
    ///
    /// # Errors
    /// When the arrays are not there, or are not those of a matrix of `n_items` items.
    pub fn load(file: &TensorFile, n_items: usize) -> Result<Self> {
        if file.has(WEIGHTS) {
            return Ok(Self::Dense { n_items, weights: matrix(file, WEIGHTS, &[n_items, n_items])? });
        }
        Ok(Self::Sparse(read_matrix(file, WEIGHTS, [n_items, n_items])?))
    }
}

/// Reads a sparse matrix of exactly this shape.
///
/// # Errors
/// When it is not there, damaged or of another shape.
pub fn read_matrix(file: &TensorFile, prefix: &str, shape: [usize; 2]) -> Result<Csr> {
    let matrix = read_csr(file, prefix)?;
    let found = [matrix.n_rows(), matrix.n_cols()];
    if found != shape {
        let (found, expected) = (format!("{prefix:?} of shape {found:?}"), format!("shape {shape:?}"));
        return Err(DataError::malformed(file.path(), found, expected).into());
    }
    Ok(matrix)
}

/// How many rows are added in one pass over the sums.
const ROWS: usize = 8;

/// Adds `values[k] * row(items[k])` to `out` for each `k` in turn.
#[inline(always)]
fn add_rows<'a>((items, values): (&[u32], &[f32]), row: impl Fn(u32) -> &'a [f32], out: &mut [f32]) {
    let (groups, factors) = (items.chunks_exact(ROWS), values.chunks_exact(ROWS));
    let rest = groups.remainder().iter().zip(factors.remainder());
    for (items, factors) in groups.zip(factors) {
        let rows: [&[f32]; ROWS] = std::array::from_fn(|k| &row(items[k])[..out.len()]);
        let factors: [f32; ROWS] = std::array::from_fn(|k| factors[k]);
        for (column, out) in out.iter_mut().enumerate() {
            *out = rows.iter().zip(factors).fold(*out, |sum, (row, factor)| sum + factor * row[column]);
        }
    }
    for (&item, factor) in rest {
        out.iter_mut().zip(row(item)).for_each(|(out, weight)| *out += factor * weight);
    }
}
