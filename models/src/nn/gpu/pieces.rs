//! Sums over many rows are left in pieces, which one launch then adds up: where the pieces stand, and the jobs of the
//! kernels that write and add them.

use super::jobs::{Jobs, Sizes, in_a_row, most};
use super::kernels::score::{self, Parts};
use super::kernels::shared::NONE;
use super::kernels::{columns, reduce};
use super::layout::{Layer, Layout, Table};

/// Products along many rows of one launch.
#[derive(Clone, Debug)]
pub struct ColumnProducts {
    /// Their jobs.
    pub jobs: Jobs,
    /// The columns of `a` that a cube works on.
    pub tile: usize,
}

/// What the reduction sums: the words of its jobs but the first cube.
#[derive(Default)]
pub struct Pieces {
    sums: Vec<[usize; reduce::job::LEN - 1]>,
    /// Values of all pieces.
    pub len: usize,
}

impl Pieces {
    fn take(&mut self, len: usize) -> usize {
        let start = self.len;
        self.len += len.next_multiple_of(4);
        start
    }

    /// Adds the loss, and the gradients by the output's bias and by the tower's part of its weight.
    pub fn of_score(
        &mut self,
        layout: &Layout,
        parts: Parts,
        hidden: &[[usize; 2]],
        cubes: usize,
        dim: usize,
    ) {
        let last = hidden.last().map_or(0, |width| width[0]);
        let stride = score::SUMS + last;
        let start = self.take(cubes * stride);
        self.sums.push([1, cubes, start, stride, NONE as usize, NONE as usize]);
        if parts.weighted || parts.tower {
            let [bias, negative] = classes(parts, layout.output_bias, 4);
            self.sums.push([1, cubes, start + 1, stride, bias, negative]);
        }
        if parts.tower {
            let [weight, negative] = classes(parts, layout.output + dim, layout.output_rows);
            self.sums.push([last, cubes, start + score::SUMS, stride, weight, negative]);
        }
    }

    /// Adds the gradient by the weights of the dot product.
    pub fn of_dot(&mut self, layout: &Layout, parts: Parts, cubes: usize, dim: usize) {
        let start = self.take(cubes * dim);
        let [weight, negative] = classes(parts, layout.output, layout.output_rows);
        self.sums.push([dim, cubes, start, dim, weight, negative]);
    }

    /// Adds the gradients by a layer's weight and bias.
    pub fn of_layer(&mut self, layer: &Layer, sizes: Sizes) -> ColumnProducts {
        let mut job = [0; columns::job::LEN];
        job[columns::job::ROWS] = sizes.per_row;
        job[columns::job::PER_ROW] = 1;
        job[columns::job::LIST] = NONE as usize;
        let samples = sizes.rows * sizes.per_row;
        let start = self.of_columns(&mut job, samples, layer.input, layer.output);
        self.of_weight(&job, start, layer, true);
        column_grid(&[job])
    }

    /// Adds the gradients by the part of the first layer's weight that one side's embeddings are multiplied by.
    pub fn of_first_layer(
        &mut self,
        first: [Layer; 2],
        table: Table,
        side: usize,
        accumulators: usize,
        sizes: Sizes,
    ) -> [usize; columns::job::LEN] {
        let mut job = [0; columns::job::LEN];
        job[columns::job::ROWS] = table.rows;
        job[columns::job::A] = table.start / 4;
        job[columns::job::B] = accumulators / 4;
        job[columns::job::COUNT] = sizes.count(side);
        job[columns::job::FACTOR] = sizes.samples_of_entry(side);
        job[columns::job::LIST] = sizes.list(side);
        job[columns::job::SIDE] = side;
        let start = self.of_columns(&mut job, sizes.most_rows(side), table.width, first[side].output);
        self.of_weight(&job, start, &first[side], side == 0);
        job
    }

    /// Completes a job over so many rows at most, and returns where its pieces begin.
    fn of_columns(&mut self, job: &mut [usize; columns::job::LEN], rows: usize, a: usize, b: usize) -> usize {
        let piece = columns::rows_of_piece(rows, columns::tiles(a, b, columns::MOST_TILE_A));
        let n_pieces = rows.div_ceil(piece);
        let start = self.take(n_pieces * (a + 1) * b);
        job[columns::job::A4] = a / 4;
        job[columns::job::B4] = b / 4;
        job[columns::job::OUT] = start / 4;
        job[columns::job::PIECE] = piece;
        job[columns::job::PIECES] = n_pieces;
        start
    }

    fn of_weight(&mut self, job: &[usize; columns::job::LEN], start: usize, layer: &Layer, with_bias: bool) {
        let (len, pieces) = (layer.input * layer.output, job[columns::job::PIECES]);
        let stride = (layer.input + 1) * layer.output;
        self.sums.push([len, pieces, start, stride, layer.weight, NONE as usize]);
        if with_bias {
            self.sums.push([layer.output, pieces, start + len, stride, layer.bias, NONE as usize]);
        }
    }

    /// Returns the jobs of the reduction.
    pub fn jobs(&self) -> Jobs {
        in_a_row(&self.sums, |sum| sum[0].div_ceil(reduce::COLUMNS))
    }
}

/// Where a sum goes for the last class, and where its negative goes for the first of two.
fn classes(parts: Parts, start: usize, length: usize) -> [usize; 2] {
    if parts.two_classes { [start + length, start] } else { [start, NONE as usize] }
}

/// Returns the column products of a launch, with their grid.
pub fn column_grid(jobs: &[[usize; columns::job::LEN]]) -> ColumnProducts {
    let tiles = |job: &[usize; columns::job::LEN], tile: usize| {
        columns::tiles(4 * job[columns::job::A4], 4 * job[columns::job::B4], tile)
    };
    let pieces = |job: &[usize; columns::job::LEN]| job[columns::job::PIECES];
    let widest = most(jobs.iter().map(|job| 4 * job[columns::job::A4]));
    let cubes = jobs.iter().map(|job| pieces(job) * tiles(job, columns::MOST_TILE_A)).sum();
    let tile = columns::tile(widest, cubes);
    let cubes = [most(jobs.iter().map(|job| tiles(job, tile))), most(jobs.iter().map(pieces)), jobs.len()];
    let words = jobs.as_flattened().iter().map(|&word| word as u32).collect();
    ColumnProducts { jobs: Jobs { words, count: jobs.len(), cubes }, tile }
}
