//! ALS on blocks of rows, for an engine that keeps the matrix and its factors on many machines.
//!
//! A block is some rows of one side with what they need of the other: the side of users, say, is cut into blocks by the users'
//! ids, and a block of users lists the items whose factors its rows are solved from, by the blocks that hold them. A half sweep
//! then is: each block of items sends the rows that are asked for ([`pick`]), each block of users solves its rows
//! ([`BlockRows::solve`]). Spark's ALS is laid out in the same way (Meng et al. 2016, "MLlib"; its in-blocks and out-blocks).
//!
//! Ids are 32 bits with a sign, as Spark has them. All results are pure functions of the arguments, whatever the order of the
//! interactions and the number of threads.

use rayon::prelude::*;

use burnrec_data::Error as DataError;

use super::precise_gram::gram_by_parts;
use super::row::{Entries, RowSolver};
use super::{AlsConfig, Feedback, initial_rows};
use crate::{Error, Result};

/// Rows of one side, with the ids that they need of the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// `[rows]`: the ids of the rows, ascending.
    pub ids: Vec<i32>,
    /// `[rows + 1]`: where each row's entries start and, last, their number.
    pub offsets: Vec<usize>,
    /// `[nnz]`: the place of each entry's id in `needs`. A row's entries ascend by that id, and a repeated pair has several.
    pub cols: Vec<u32>,
    /// `[nnz]`
    pub values: Vec<f32>,
    /// The ids that the rows need of the other side: those of its first block, ascending, then those of the next.
    pub needs: Vec<i32>,
    /// `[blocks]`: how many of `needs` are in each block of the other side.
    pub counts: Vec<usize>,
}

/// Returns the block that holds an id, where a side has so many: as in Spark, the remainder that is not negative.
pub fn block_of(id: i32, blocks: usize) -> usize {
    i64::from(id).rem_euclid(blocks as i64) as usize
}

impl Block {
    /// Makes the block of interactions in any order: `own[k]`, of this side, with `other[k]`, of the other, by `values[k]`. The
    /// other side has `blocks`.
    ///
    /// # Errors
    /// When the columns are not of one length, a value is not finite, or the other side has no block.
    pub fn new(own: &[i32], other: &[i32], values: &[f32], blocks: usize) -> Result<Self> {
        if other.len() != own.len() || values.len() != own.len() {
            let found = format!("{} and {} and {}", own.len(), other.len(), values.len());
            return Err(refused("lengths of the columns of a block", found, "three equal ones"));
        }
        if blocks == 0 {
            return Err(refused("blocks of the other side", "0", "at least 1"));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let setting = format!("value of {} and {}", own[at], other[at]);
            return Err(refused(setting, values[at].to_string(), "a finite number"));
        }
        let (ids, others) = (unique(own), unique(other));
        let mut counts = vec![0; blocks];
        others.iter().for_each(|&id| counts[block_of(id, blocks)] += 1);
        // The place of each of `others` among `needs`.
        let mut next = starts(&counts);
        let (mut needs, mut places) = (vec![0; others.len()], vec![0u32; others.len()]);
        for (place, &id) in places.iter_mut().zip(&others) {
            let at = &mut next[block_of(id, blocks)];
            (needs[*at], *place) = (id, *at as u32);
            *at += 1;
        }
        let find = |ids: &[i32], id: i32| ids.binary_search(&id).expect("the id is one of its column") as u32;
        let rows: Vec<u32> = own.par_iter().map(|&id| find(&ids, id)).collect();
        let cols: Vec<u32> = other.par_iter().map(|&id| find(&others, id)).collect();
        let mut sizes = vec![0; ids.len()];
        rows.iter().for_each(|&row| sizes[row as usize] += 1);
        let mut next = starts(&sizes);
        let offsets = next.clone();
        let mut entries = vec![(0u32, 0.0f32); own.len()];
        for ((&row, &col), &value) in rows.iter().zip(&cols).zip(values) {
            let at = &mut next[row as usize];
            entries[*at] = (col, value);
            *at += 1;
        }
        drop((rows, cols));
        slices(&mut entries, &offsets).into_par_iter().for_each(|row| {
            row.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        });
        let (cols, values) = entries.into_iter().map(|(col, value)| (places[col as usize], value)).unzip();
        Ok(Self { ids, offsets, cols, values, needs, counts })
    }
}

/// The entries of a block, as they are sent and kept.
#[derive(Clone, Copy, Debug)]
pub struct BlockRows<'a> {
    /// [`Block::offsets`]
    pub offsets: &'a [usize],
    /// [`Block::cols`]
    pub cols: &'a [u32],
    /// [`Block::values`]
    pub values: &'a [f32],
}

/// The whole other side, of which a block sees a part.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// `[dim, dim]`: the sum of [`gram`] over its blocks. Explicit feedback reads it only by `solver = "cg"`.
    pub gram: &'a [f64],
    /// The number of its rows.
    pub rows: usize,
}

impl BlockRows<'_> {
    /// Solves the rows into `x`, `[rows, dim]`, which holds their current factors where the solver improves a row. `needs`,
    /// `[needs, dim]`, are the factors of [`Block::needs`] in that order.
    ///
    /// # Errors
    /// When a setting, a length or an entry is not what the others ask for, or a row's solution is not finite.
    pub fn solve(&self, config: &AlsConfig, needs: &[f32], whole: Whole<'_>, x: &mut [f32]) -> Result<()> {
        config.validate()?;
        if config.biases {
            return Err(Error::config("biases", true, "false where rows are solved in blocks"));
        }
        let (rows, dim) = (self.check(needs.len() / config.dim)?, config.dim);
        let lengths = [
            ("factors that a block needs", needs.len(), needs.len() / dim * dim),
            ("factors of a block's rows", x.len(), rows * dim),
            ("Gram matrix", whole.gram.len(), dim * dim),
        ];
        if let Some((name, found, expected)) =
            lengths.into_iter().find(|(_, found, expected)| found != expected)
        {
            return Err(refused(name, found.to_string(), format!("{expected} values")));
        }
        let entries = Entries { offsets: self.offsets, cols: self.cols, values: self.values, by: None };
        RowSolver::of_part(config, needs, whole.gram, whole.rows).solve_entries(needs, entries, x, &|_| {});
        match x.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(at) => {
                let found = format!("{} in row {}", x[at], at / dim);
                Err(refused("factors of a block", found, "finite numbers; a larger reg may help"))
            }
        }
    }

    /// Returns the number of rows, where the entries belong together and to `n_needs` rows of the other side.
    fn check(&self, n_needs: usize) -> Result<usize> {
        let Self { offsets, cols, values } = *self;
        let ends = (offsets.first().copied(), offsets.last().copied());
        if ends != (Some(0), Some(cols.len())) || cols.len() != values.len() || !offsets.is_sorted() {
            let found = format!("{ends:?} with {} columns and {} values", cols.len(), values.len());
            return Err(refused("entries of a block", found, "offsets from 0 to their number"));
        }
        match cols.iter().max() {
            Some(&col) if col as usize >= n_needs => {
                let expected = format!("less than {n_needs}, the rows of the factors received");
                Err(refused("column of a block", col.to_string(), expected))
            }
            _ => Ok(offsets.len() - 1),
        }
    }
}

/// Returns whether a solver reads [`Whole::gram`], so that an engine need not sum it up where none does.
pub fn needs_gram(config: &AlsConfig) -> bool {
    config.feedback == Feedback::Implicit || improves(config)
}

/// Returns whether a solver starts from a row's current factors, so that an engine must keep them.
pub fn improves(config: &AlsConfig) -> bool {
    config.nonnegative || config.solver != super::Solver::Cholesky
}

/// Returns the factors of the rows `wanted` of a block, `[wanted, dim]`, in that order. `ids` are those of its rows, ascending,
/// and `factors`, `[rows, dim]`, theirs.
///
/// # Errors
/// When the block does not have one of them, or factors for each id.
pub fn pick(ids: &[i32], factors: &[f32], wanted: &[i32], dim: usize) -> Result<Vec<f32>> {
    if factors.len() != ids.len() * dim {
        let expected = format!("{}, {dim} for each of {} ids", ids.len() * dim, ids.len());
        return Err(refused("factors of a block", factors.len().to_string(), expected));
    }
    let mut out = vec![0.0; wanted.len() * dim];
    out.par_chunks_mut(dim.max(1)).zip(wanted).try_for_each(|(out, id)| -> Result<()> {
        let row = ids.binary_search(id).map_err(|_| {
            let expected = format!("one of the {} ids of the block", ids.len());
            refused("id asked of a block", id.to_string(), expected)
        })?;
        out.copy_from_slice(&factors[row * dim..(row + 1) * dim]);
        Ok(())
    })?;
    Ok(out)
}

/// Returns the Gram matrix of a block's factors `[rows, dim]`, `[dim, dim]`. Products and sums are in f64.
pub fn gram(factors: &[f32], dim: usize) -> Vec<f64> {
    let mut sum = gram_by_parts(factors, dim);
    for i in 0..dim {
        for j in 0..i {
            sum[i * dim + j] = sum[j * dim + i];
        }
    }
    sum
}

/// Draws the first factors of a block's rows, `[ids.len(), dim]`: those that a run on one machine draws with this seed for the
/// users whose indices are these ids.
pub fn first(config: &AlsConfig, seed: u64, ids: &[i32]) -> Vec<f32> {
    let rows: Vec<u32> = ids.iter().map(|id| id.cast_unsigned()).collect();
    let mut factors = initial_rows(seed, &rows, config.dim, config.init_std);
    if config.nonnegative {
        factors.iter_mut().for_each(|x| *x = x.abs());
    }
    factors
}

/// Returns the different ids, ascending.
fn unique(ids: &[i32]) -> Vec<i32> {
    let mut ids = ids.to_vec();
    ids.par_sort_unstable();
    ids.dedup();
    ids
}

/// Returns where each of some parts of these sizes starts and, last, where they end.
fn starts(sizes: &[usize]) -> Vec<usize> {
    let mut starts = vec![0];
    starts.extend(sizes.iter().scan(0, |sum, size| {
        *sum += size;
        Some(*sum)
    }));
    starts
}

/// Cuts entries into rows.
fn slices<'a, T>(mut entries: &'a mut [T], offsets: &[usize]) -> Vec<&'a mut [T]> {
    let mut rows = Vec::with_capacity(offsets.len() - 1);
    for ends in offsets.windows(2) {
        let (row, rest) = entries.split_at_mut(ends[1] - ends[0]);
        rows.push(row);
        entries = rest;
    }
    rows
}

fn refused(what: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Error {
    DataError::setting(what, found, expected).into()
}
