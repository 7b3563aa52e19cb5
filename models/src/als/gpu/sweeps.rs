//! The half sweeps of an epoch as launches over buffers that stay on the device.

use burn_dispatch::DispatchDevice;
use burnrec_data::Csr;
use cubecl::prelude::*;

use super::basis::Basis;
use super::cg::{Layout, cg};
use super::check::{check, clear};
use super::normal::{Source, normal, tasks_of_cube, width};
use super::reduce::{COLUMNS, reduce};
use super::refusal;
use super::rotate::{ROWS, rotate};
use super::sizes::Sizes;
use super::tasks::{RowTasks, Side, Tasks};
use crate::Result;
use crate::als::{AlsConfig, Feedback, Solver};
use crate::device::OpenDevice;
use crate::nn::gpu::buffer::Buffer;
use crate::nn::gpu::grid::in_a_row;

/// Factors of users and items on a device, and the epochs that improve them.
pub struct GpuSweeps {
    client: Client,
    config: AlsConfig,
    /// Vectors in a padded row.
    ld4: usize,
    /// The users' rows, and the items'.
    sides: [Side; 2],
    /// `[n_users, 4 ld4]` and `[n_items, 4 ld4]`.
    factors: [Buffer; 2],
    scratch: Scratch,
}

/// What the launches of a half sweep pass on to each other.
struct Scratch {
    /// `[pieces, 4 ld4 + 1, 4 ld4]`: of the Gram matrix, and then of long rows.
    pieces: Buffer,
    /// `[1, 4 ld4 + 1, 4 ld4]`
    gram: Buffer,
    /// One job: all pieces of the Gram matrix, for each side as the solved one.
    gram_jobs: [Buffer; 2],
    /// `[long rows, 4 ld4 + 1, 4 ld4]`
    sums: Buffer,
    /// Factors of either side in the basis of the eigenvectors; the first of these has the fixed side's.
    rotated: [Buffer; 2],
    /// One word: whether a factor is not finite, or a row's solution is not held.
    found: Buffer,
    /// Stands for a buffer that a launch does not read.
    none: Buffer,
}

/// The users' side, and the items'.
const SIDES: [usize; 2] = [0, 1];

impl GpuSweeps {
    /// Puts a weighted training matrix `[n_users, n_items]`, its transpose and factors `[n_users, dim]` and
    /// `[n_items, dim]` on a device, and returns when they are there.
    ///
    /// # Errors
    /// The reason why the device cannot train with them, where it cannot.
    pub fn new(
        device: &OpenDevice,
        config: &AlsConfig,
        train: &Csr,
        transposed: &Csr,
        factors: [&[f32]; 2],
    ) -> std::result::Result<Self, String> {
        let DispatchDevice::Cube(cube) = device.device.as_dispatch() else {
            return Err("the device does not run kernels".to_owned());
        };
        let client = cube.client();
        if let Some(refusal) = refusal(config) {
            return Err(refusal);
        }
        let ld = config.dim.next_multiple_of(4);
        let matrices = [train, transposed];
        let tasks = matrices.map(|matrix| RowTasks::new(config, matrix, ld));
        let sizes = Sizes::new(config, matrices, &tasks);
        let largest = client.properties().memory.max_page_size;
        sizes.check(device, device.largest_buffer.map_or(largest, |most| most.min(largest)))?;
        let Sizes { n_pieces, n_long, in_basis, .. } = sizes;
        let len = (ld + 1) * ld;
        let [of_users, of_items] = tasks;
        let sides = [(train, of_users), (transposed, of_items)]
            .map(|(matrix, tasks)| Side::new(&client, config, matrix, tasks));
        let empty = |len| Buffer::empty(&client, len);
        let scratch = Scratch {
            pieces: empty(n_pieces * len),
            gram: empty(len),
            gram_jobs: SIDES.map(|side| Buffer::of(&client, &[0, sides[side].gram.n as u32, 0])),
            sums: empty(n_long * len),
            rotated: [(); 2].map(|()| empty(in_basis)),
            found: empty(1),
            none: empty(1),
        };
        let factors = factors.map(|factors| padded(&client, factors, config.dim));
        cubecl::future::block_on(client.sync()).map_err(|error| error.to_string())?;
        Ok(Self { client, config: config.clone(), ld4: ld / 4, sides, factors, scratch })
    }

    /// Solves the items, or the users; returns whether f32 holds the solutions. Where it does not, the factors of this side are
    /// of no use. Syncs with the device: by conjugate gradients to decompose the Gram matrix, else at the end.
    ///
    /// # Errors
    /// When the device fails.
    pub fn solve(&self, side: Solved) -> Result<bool> {
        let solved = side as usize;
        let (rows, fixed) = (&self.sides[solved], &self.factors[1 - solved]);
        if self.config.solver == Solver::Cholesky {
            if self.config.feedback == Feedback::Implicit {
                self.gram(solved);
            }
            self.sum_long_rows(rows, fixed);
            let out = &self.factors[solved];
            self.clear_found();
            self.normal(rows, fixed, &rows.short, Source::Entries, true, out);
            self.normal(rows, fixed, &rows.long, Source::Sums, true, out);
            return self.found_nothing();
        }
        self.gram(solved);
        let gram = self.scratch.gram.values(&self.client)?;
        let basis = Basis::of(&self.client, &gram, self.config.dim);
        if !rows.suit(&self.config, basis.spectrum) {
            return Ok(false);
        }
        let [fixed_rotated, y] = &self.scratch.rotated;
        self.rotate(fixed, &basis.columns, fixed_rotated, self.sides[1 - solved].n_rows);
        self.rotate(&self.factors[solved], &basis.columns, y, rows.n_rows);
        self.sum_long_rows(rows, fixed_rotated);
        self.cg(rows, &rows.long, &basis, Layout::new(self.ld4, 256, true));
        self.cg(rows, &rows.medium, &basis, Layout::new(self.ld4, 256, false));
        self.cg(rows, &rows.short, &basis, Layout::new(self.ld4, 64, false));
        self.rotate(y, &basis.rows, &self.factors[solved], rows.n_rows);
        Ok(true)
    }

    /// Returns whether all factors are finite. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn are_finite(&self) -> Result<bool> {
        self.clear_found();
        for side in SIDES {
            let n = self.sides[side].n_rows * self.ld4;
            // SAFETY: units beyond the `n` vectors read nothing.
            unsafe {
                check::launch_unchecked(
                    &self.client,
                    in_a_row(n.div_ceil(256)),
                    cube_dim(),
                    self.factors[side].arg4(),
                    self.scratch.found.arg(),
                    n as u32,
                );
            }
        }
        self.found_nothing()
    }

    fn clear_found(&self) {
        // SAFETY: one unit writes the word that is there.
        unsafe { clear::launch_unchecked(&self.client, in_a_row(1), cube_dim(), self.scratch.found.arg()) };
    }

    fn found_nothing(&self) -> Result<bool> {
        Ok(self.scratch.found.first_words(&self.client, 1)?[0] == 0)
    }

    /// Returns the factors of users `[n_users, dim]` and items `[n_items, dim]`. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn factors(&self) -> Result<[Vec<f32>; 2]> {
        let (ld, dim) = (4 * self.ld4, self.config.dim);
        let read = |side: usize| -> Result<Vec<f32>> {
            let values = self.factors[side].values(&self.client)?;
            let rows = values.chunks_exact(ld).take(self.sides[side].n_rows);
            Ok(rows.flat_map(|row| &row[..dim]).copied().collect())
        };
        Ok([read(0)?, read(1)?])
    }

    /// Replaces the factors.
    pub fn replace(&mut self, factors: [&[f32]; 2]) {
        self.factors = factors.map(|factors| padded(&self.client, factors, self.config.dim));
    }

    /// The values of a matrix with its vector, padded.
    fn len(&self) -> usize {
        (4 * self.ld4 + 1) * 4 * self.ld4
    }

    fn w0(&self) -> f32 {
        match self.config.feedback {
            Feedback::Explicit => 0.0,
            Feedback::Implicit => self.config.unobserved_weight,
        }
    }

    /// Computes the Gram matrix of the side that is fixed while `solved` is solved.
    fn gram(&self, solved: usize) {
        let (rows, scratch) = (&self.sides[solved], &self.scratch);
        self.normal(rows, &self.factors[1 - solved], &rows.gram, Source::Fixed, false, &scratch.pieces);
        self.reduce(&scratch.gram_jobs[solved], 1, &scratch.gram);
    }

    fn sum_long_rows(&self, rows: &Side, fixed: &Buffer) {
        if rows.long.n > 0 {
            self.normal(rows, fixed, &rows.pieces, Source::Entries, false, &self.scratch.pieces);
            self.reduce(&rows.reduced.words, rows.reduced.n, &self.scratch.sums);
        }
    }

    fn normal(&self, rows: &Side, fixed: &Buffer, tasks: &Tasks, source: Source, solved: bool, out: &Buffer) {
        if tasks.n == 0 {
            return;
        }
        let scratch = &self.scratch;
        let has_gram = solved && self.config.feedback == Feedback::Implicit;
        let gram = if has_gram { &scratch.gram } else { &scratch.none };
        let sums = if source == Source::Sums { &scratch.sums } else { &scratch.none };
        let cubes = tasks.n.div_ceil(tasks_of_cube(width(4 * self.ld4)));
        // SAFETY: the tasks' entries are those of the side, their columns rows of `fixed`, and what they write is there.
        unsafe {
            normal::launch_unchecked(
                &self.client,
                in_a_row(cubes),
                cube_dim(),
                fixed.arg4(),
                rows.cols.arg(),
                rows.add.arg(),
                rows.pull.arg(),
                tasks.words.arg(),
                gram.arg4(),
                sums.arg4(),
                rows.rows.arg(),
                out.arg4(),
                scratch.found.arg(),
                tasks.n as u32,
                self.w0(),
                self.ld4,
                source,
                solved,
                has_gram,
            );
        }
    }

    fn reduce(&self, jobs: &Buffer, n_jobs: usize, out: &Buffer) {
        let len4 = self.len() / 4;
        // There are fewer jobs than pieces, and few of these.
        let cubes = CubeCount::Static(len4.div_ceil(COLUMNS) as u32, n_jobs as u32, 1);
        // SAFETY: the pieces of the jobs and the places of their sums are there.
        unsafe {
            reduce::launch_unchecked(
                &self.client,
                cubes,
                cube_dim(),
                self.scratch.pieces.arg4(),
                jobs.arg(),
                out.arg4(),
                len4 as u32,
            );
        }
    }

    fn rotate(&self, rows: &Buffer, matrix: &Buffer, out: &Buffer, n: usize) {
        // SAFETY: `rows` and `out` have `n` rows at least, and the matrix is `[4 ld4, 4 ld4]`.
        unsafe {
            rotate::launch_unchecked(
                &self.client,
                in_a_row(n.div_ceil(ROWS)),
                cube_dim(),
                rows.arg4(),
                matrix.arg4(),
                out.arg4(),
                n as u32,
                self.ld4,
            );
        }
    }

    fn cg(&self, rows: &Side, tasks: &Tasks, basis: &Basis, layout: Layout) {
        if tasks.n == 0 {
            return;
        }
        let scratch = &self.scratch;
        let [fixed, y] = &scratch.rotated;
        // SAFETY: the tasks' entries are those of the side, their columns rows of `fixed`, and their rows those of `y`.
        unsafe {
            cg::launch_unchecked(
                &self.client,
                in_a_row(tasks.n.div_ceil(layout.rows_of_cube())),
                cube_dim(),
                fixed.arg4(),
                rows.cols.arg(),
                rows.add.arg(),
                rows.pull.arg(),
                tasks.words.arg(),
                basis.values.arg4(),
                scratch.sums.arg4(),
                rows.rows.arg(),
                y.arg4(),
                tasks.n as u32,
                self.w0(),
                self.config.cg_steps as u32,
                layout,
            );
        }
    }
}

/// The side that a half sweep solves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solved {
    /// The users, for the items' factors.
    Users = 0,
    /// The items, for the users' factors.
    Items = 1,
}

/// Puts factors `[rows, dim]` on the device, with rows padded to whole vectors.
fn padded(client: &Client, factors: &[f32], dim: usize) -> Buffer {
    let ld = dim.next_multiple_of(4);
    let mut values = vec![0.0; factors.len() / dim * ld];
    for (to, from) in values.chunks_exact_mut(ld).zip(factors.chunks_exact(dim)) {
        to[..dim].copy_from_slice(from);
    }
    Buffer::of_values(client, &values)
}

/// Returns the size of the cubes of every kernel.
fn cube_dim() -> CubeDim {
    CubeDim::new_1d(256)
}
