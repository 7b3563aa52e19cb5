//! What the host prepares for the rows of one side: the weights of their entries, and the tasks that sum and solve them.

use burnrec_data::Csr;
use cubecl::prelude::Client;

use super::normal::TASK;
use crate::als::cg::{ROUNDING, RowWeights, Spectrum, energy};
use crate::als::normal::Shared;
use crate::als::{AlsConfig, Solver};
use crate::nn::gpu::buffer::Buffer;

/// Rows of up to so many entries are short.
const SHORT: usize = 32;

/// The least entries in a piece of a long row; a row with more than two pieces is long.
const PIECE: usize = 1024;

/// Pieces are longer where all entries together would make more of them.
const MOST_PIECES: usize = 8192;

/// The least and the most rows of the fixed side in a piece of the Gram matrix.
const GRAM_PIECE: [usize; 2] = [64, 4096];

/// Tasks `[n, 3]` on the device.
pub struct Tasks {
    /// Their words.
    pub words: Buffer,
    /// Their number.
    pub n: usize,
}

impl Tasks {
    /// Puts tasks on the device, the longest first.
    fn new(client: &Client, mut tasks: Vec<[u32; TASK]>) -> Self {
        tasks.sort_by_key(|&[_, n, _]| std::cmp::Reverse(n));
        Self { words: Buffer::of(client, tasks.as_flattened()), n: tasks.len() }
    }
}

/// The tasks `[n, 3]` into which the rows of one side are cut.
pub struct RowTasks {
    /// Pieces of the Gram matrix of the fixed side.
    gram: Vec<[u32; TASK]>,
    /// Rows with few entries; for Cholesky's method these are all but the long ones.
    short: Vec<[u32; TASK]>,
    /// Rows with more.
    medium: Vec<[u32; TASK]>,
    /// Pieces of the long rows.
    pieces: Vec<[u32; TASK]>,
    /// The sum of the pieces of each long row.
    reduced: Vec<[u32; TASK]>,
    /// The long rows.
    long: Vec<[u32; TASK]>,
}

impl RowTasks {
    /// Cuts the rows of a matrix `[n_rows, n_fixed]`, for factors with padded length `ld`.
    pub fn new(config: &AlsConfig, matrix: &Csr, ld: usize) -> Self {
        let offsets = matrix.offsets();
        let count = |row: usize| offsets[row + 1] - offsets[row];
        let whole = |row: usize| [offsets[row] as u32, count(row) as u32, row as u32];
        let piece = PIECE.max(matrix.nnz() / MOST_PIECES);
        let mut rows = Self {
            gram: gram_pieces(matrix.n_cols()),
            short: Vec::new(),
            medium: Vec::new(),
            pieces: Vec::new(),
            reduced: Vec::new(),
            long: Vec::new(),
        };
        for row in 0..matrix.n_rows() {
            if count(row) > 2 * piece {
                let (first, place) = (rows.pieces.len() as u32, rows.long.len() as u32);
                for start in (offsets[row]..offsets[row + 1]).step_by(piece) {
                    let n = piece.min(offsets[row + 1] - start);
                    rows.pieces.push([start as u32, n as u32, rows.pieces.len() as u32]);
                }
                rows.reduced.push([first, rows.pieces.len() as u32 - first, place]);
                rows.long.push([place, ld as u32, row as u32]);
            } else if config.solver == Solver::Cg && count(row) > SHORT {
                rows.medium.push(whole(row));
            } else {
                rows.short.push(whole(row));
            }
        }
        rows
    }

    /// Returns the most pieces that a launch sums.
    pub fn n_pieces(&self) -> usize {
        self.gram.len().max(self.pieces.len())
    }

    /// Returns the number of long rows.
    pub fn n_long(&self) -> usize {
        self.long.len()
    }

    /// Returns the number of tasks.
    pub fn n_tasks(&self) -> usize {
        let Self { gram, short, medium, pieces, reduced, long } = self;
        [gram, short, medium, pieces, reduced, long].into_iter().map(Vec::len).sum()
    }
}

/// The rows of one side, on the device.
pub struct Side {
    /// The number of rows.
    pub n_rows: usize,
    /// `[entries]`: the row of the fixed side.
    pub cols: Buffer,
    /// `[entries]`: `a_ui`.
    pub add: Buffer,
    /// `[entries]`: `b_ui`.
    pub pull: Buffer,
    /// `[rows, 3]`: the regulariser, the sum of `add` by the rows of the fixed side, and the residual below which all is
    /// rounding.
    pub rows: Buffer,
    /// The weights of the rows that have entries with a target.
    weights: Vec<RowWeights>,
    /// Whether the sums over targets of each row are finite.
    bounded: bool,
    /// Pieces of the Gram matrix of the fixed side.
    pub gram: Tasks,
    /// Short rows, as in [`RowTasks`].
    pub short: Tasks,
    /// Rows that are longer.
    pub medium: Tasks,
    /// Pieces of the long rows.
    pub pieces: Tasks,
    /// The sum of the pieces of each long row.
    pub reduced: Tasks,
    /// The long rows.
    pub long: Tasks,
}

impl Side {
    /// Puts a matrix `[n_rows, n_fixed]` on the device.
    pub fn new(client: &Client, config: &AlsConfig, matrix: &Csr, row_tasks: RowTasks) -> Self {
        let (n_rows, n_fixed) = (matrix.n_rows(), matrix.n_cols());
        let shared = Shared::new(config, n_fixed, &vec![0.0; config.dim * config.dim]);
        let (mut add, mut pull) = (Vec::with_capacity(matrix.nnz()), Vec::with_capacity(matrix.nnz()));
        let (mut rows, mut weights) = (Vec::with_capacity(3 * n_rows), Vec::with_capacity(n_rows));
        let mut bounded = true;
        let (mut of_row, mut pull_of_row) = (Vec::new(), Vec::new());
        for row in 0..n_rows {
            let reg = shared.weigh(matrix.row(row).1, None, &mut of_row, &mut pull_of_row);
            add.extend_from_slice(&of_row);
            pull.extend_from_slice(&pull_of_row);
            pull_of_row.resize(pull_of_row.len().next_multiple_of(8), 0.0);
            of_row.resize(pull_of_row.len(), 0.0);
            let row_weights = RowWeights::of(config, &of_row, reg, n_fixed);
            let rounding = ROUNDING * energy(config, &pull_of_row);
            rows.extend([reg, row_weights.own, rounding]);
            bounded &= rounding.is_finite();
            if rounding > 0.0 {
                weights.push(row_weights);
            }
        }
        let tasks = |tasks| Tasks::new(client, tasks);
        Self {
            n_rows,
            cols: Buffer::of(client, matrix.cols()),
            add: Buffer::of_values(client, &add),
            pull: Buffer::of_values(client, &pull),
            rows: Buffer::of_values(client, &rows),
            weights,
            bounded,
            gram: tasks(row_tasks.gram),
            short: tasks(row_tasks.short),
            medium: tasks(row_tasks.medium),
            pieces: tasks(row_tasks.pieces),
            reduced: tasks(row_tasks.reduced),
            long: tasks(row_tasks.long),
        }
    }

    /// Returns whether conjugate gradients solve all rows.
    pub fn suit(&self, config: &AlsConfig, spectrum: Spectrum) -> bool {
        self.bounded && self.weights.iter().all(|&weights| spectrum.suits(config, weights))
    }
}

/// Cuts the rows of the fixed side into about 512 pieces.
fn gram_pieces(n_fixed: usize) -> Vec<[u32; TASK]> {
    let piece = n_fixed.div_ceil(512).next_multiple_of(32).clamp(GRAM_PIECE[0], GRAM_PIECE[1]);
    let starts = (0..n_fixed).step_by(piece).enumerate();
    starts.map(|(at, start)| [start as u32, piece.min(n_fixed - start) as u32, at as u32]).collect()
}
