//! What the jobs of all kernels share: their grids, the sizes that they follow from, and the accumulators.

use super::kernels::compact;
use super::kernels::shared::NONE;
use crate::scorer::Shape;

/// Units of a cube, where a kernel does not say otherwise.
pub const UNITS: usize = 256;

/// Jobs of one launch, with its grid.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// The words of all jobs.
    pub words: Vec<u32>,
    /// The number of jobs.
    pub count: usize,
    /// The cubes of the launch.
    pub cubes: [usize; 3],
}

/// Where the accumulators begin, in values: those of users, then of items.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accumulators {
    /// Of the gradients by the vectors of the dot product.
    pub dot: [usize; 2],
    /// Of the gradients by the biases.
    pub biases: [usize; 2],
    /// Of the gradients by the products of the embeddings with the first layer.
    pub hidden: [usize; 2],
    /// Their number.
    pub len: usize,
}

impl Accumulators {
    /// Takes room for values, rounded up to whole vectors, and returns where it begins.
    pub fn take(&mut self, len: usize) -> usize {
        let start = self.len;
        self.len += len.next_multiple_of(4);
        start
    }
}

/// What a plan depends on beside the score.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The number of users and of items.
    pub shape: Shape,
    /// Training rows in a batch.
    pub rows: usize,
    /// Samples in a training row.
    pub per_row: usize,
    /// Whether only touched rows are updated of tables of users, and of items.
    pub lazy: [bool; 2],
}

impl Sizes {
    /// Returns users and items.
    pub fn n(&self) -> [usize; 2] {
        [self.shape.n_users, self.shape.n_items]
    }

    /// Returns whether the touched rows of a side are listed.
    pub fn lists(&self) -> bool {
        self.lazy.contains(&true)
    }

    /// Returns the most blocks of a side in which touched rows are counted.
    pub fn blocks(&self) -> usize {
        most(self.n().into_iter()).div_ceil(compact::BLOCK)
    }

    /// Returns where the counts of a side begin.
    pub fn count(&self, side: usize) -> usize {
        side * self.shape.n_users
    }

    /// Returns where the list of a side's touched rows begins, where its tables are updated by it.
    pub fn list(&self, side: usize) -> usize {
        if self.lazy[side] { self.count(side) } else { NONE as usize }
    }

    /// Returns the most rows of a side's tables that a batch works on.
    pub fn most_rows(&self, side: usize) -> usize {
        let entries = if side == 0 { self.rows } else { self.rows * self.per_row };
        if self.lazy[side] { self.n()[side].min(entries) } else { self.n()[side] }
    }

    /// Returns how often a sample is in what one entry of a side adds: a user's part is summed over a training row.
    pub fn samples_of_entry(&self, side: usize) -> usize {
        if side == 0 { self.per_row } else { 1 }
    }
}

/// Puts the cubes of jobs in a row: each job's words begin with its first cube.
pub fn in_a_row<const N: usize>(jobs: &[[usize; N]], cubes: impl Fn(&[usize; N]) -> usize) -> Jobs {
    let mut words = Vec::new();
    let mut first = 0;
    for job in jobs {
        words.push(first as u32);
        words.extend(job.iter().map(|&word| word as u32));
        first += cubes(job);
    }
    Jobs { words, count: jobs.len(), cubes: [first, 1, 1] }
}

/// Returns the largest of these, at least 1.
pub fn most(values: impl Iterator<Item = usize>) -> usize {
    values.max().unwrap_or(1)
}
