//! The inverse of a symmetric positive definite matrix, in f64, in place, in tiles of its lower triangle.
//!
//! It is found by block Gauss-Jordan elimination, the sweep operator (Dempster 1969; Goodnight 1979): the step of a block `K` of
//! rows and columns, with `D = A_KK^-1` and `R` all others, sets
//!
//! ```text
//! A_RR <- A_RR - A_RK D A_KR      A_RK <- A_RK D      A_KK <- -D
//! ```
//!
//! and after the steps of all blocks `A` is the negative inverse. It takes `n^3` operations, as many as a Cholesky
//! factorisation and the inverse from it; but nearly all of them are products of tiles that depend on nothing else of the
//! step, so that all threads are busy in each, and a symmetric half is all that is stored. Each tile is computed by one
//! thread in one order, so that the bits do not depend on the number of threads.

use std::iter;

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use crate::Result;
use crate::progress::Progress;
use crate::simd::vectorised;

/// The rows and columns of a tile: a product of two of them stays in a second-level cache.
const TILE: usize = 128;

/// The values of a tile.
const AREA: usize = TILE * TILE;

/// A symmetric matrix by the tiles of its lower triangle; beyond its last row it is the identity.
pub struct SymmetricTiles {
    n: usize,
    /// For each row of tiles those up to the diagonal, one after the other, each row-major.
    rows: Vec<Vec<f64>>,
}

impl SymmetricTiles {
    /// Returns the bytes that a matrix of `n` rows takes with what its inversion needs beside it.
    pub fn bytes(n: usize) -> u64 {
        let tiles = n.div_ceil(TILE) as u64;
        let area = (AREA * size_of::<f64>()) as u64;
        (tiles.saturating_mul(tiles + 1) / 2).saturating_add(2 * tiles).saturating_mul(area)
    }

    /// Makes a matrix of `n` rows. `fill` is given the index of a row and its values up to the diagonal, all 0.
    ///
    /// # Errors
    /// When `progress` says to stop.
    pub fn new(n: usize, fill: impl Fn(usize, &mut [f64]) + Sync, progress: &dyn Progress) -> Result<Self> {
        let tile_row = |top: usize| {
            progress.check()?;
            let mut tiles = vec![0.0; (top + 1) * AREA];
            let mut values = vec![0.0; (top + 1) * TILE];
            for row in 0..TILE {
                let at = top * TILE + row;
                values.fill(0.0);
                match at < n {
                    true => fill(at, &mut values[..=at]),
                    false => values[at] = 1.0,
                }
                for (tile, values) in tiles.chunks_exact_mut(AREA).zip(values.chunks_exact(TILE)) {
                    tile[row * TILE..(row + 1) * TILE].copy_from_slice(values);
                }
            }
            mirror(&mut tiles[top * AREA..]);
            Ok(tiles)
        };
        let rows = (0..n.div_ceil(TILE)).into_par_iter().map(tile_row).collect::<Result<_>>()?;
        Ok(Self { n, rows })
    }

    /// Replaces the matrix by its negative inverse; returns whether it is positive definite, without which it has none here.
    ///
    /// # Errors
    /// When `progress` says to stop.
    pub fn invert(&mut self, progress: &dyn Progress) -> Result<bool> {
        let n_tiles = self.rows.len();
        progress.begin("blocks of the inverse", n_tiles as u64);
        let (mut column, mut scaled) = (vec![0.0; n_tiles * AREA], vec![0.0; n_tiles * AREA]);
        for pivot in 0..n_tiles {
            progress.check()?;
            if !self.step(pivot, &mut column, &mut scaled) {
                return Ok(false);
            }
            progress.advance(1);
        }
        progress.end();
        Ok(true)
    }

    /// Does the step of one block: `column` is room for `A_RK` and `scaled` for `A_RK D`.
    fn step(&mut self, pivot: usize, column: &mut [f64], scaled: &mut [f64]) -> bool {
        let mut inverse = self.rows[pivot][pivot * AREA..].to_vec();
        if !vectorised(|| invert_tile(&mut inverse)) {
            return false;
        }
        let (inverse, rows) = (&inverse, &self.rows);
        let both = column.par_chunks_exact_mut(AREA).zip(scaled.par_chunks_exact_mut(AREA));
        both.enumerate().filter(|(at, _)| *at != pivot).for_each(|(at, (column, scaled))| {
            match at > pivot {
                true => column.copy_from_slice(tile(&rows[at], pivot)),
                false => transpose(tile(&rows[pivot], at), column),
            }
            // `inverse` is negative.
            subtract_product(scaled, false, column, inverse, false);
        });
        let (column, scaled) = (&*column, &*scaled);
        let tiles = self.rows.par_iter_mut().enumerate().flat_map(|(top, row)| {
            row.par_chunks_exact_mut(AREA).enumerate().map(move |(left, out)| (top, left, out))
        });
        tiles.for_each(|(top, left, out)| match (top == pivot, left == pivot) {
            (true, true) => out.copy_from_slice(inverse),
            (false, true) => out.copy_from_slice(tile(scaled, top)),
            (true, false) => transpose(tile(scaled, left), out),
            (false, false) => subtract_product(out, true, tile(scaled, top), tile(column, left), true),
        });
        true
    }

    /// Returns the diagonal.
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.n).map(|at| self.rows[at / TILE][at / TILE * AREA + at % TILE * (TILE + 1)]).collect()
    }

    /// Returns the whole matrix `[n, n]`, row-major, each value changed by `f` of its row, its column and itself.
    pub fn to_dense(&self, f: impl Fn(usize, usize, f64) -> f32 + Sync) -> Vec<f32> {
        let n = self.n;
        let mut out = vec![0.0; n * n];
        out.par_chunks_mut((TILE * n).max(1)).enumerate().for_each(|(top, out)| {
            let mut turned = vec![0.0; AREA];
            for left in 0..self.rows.len() {
                let values = match left <= top {
                    true => tile(&self.rows[top], left),
                    false => {
                        transpose(tile(&self.rows[left], top), &mut turned);
                        &turned
                    }
                };
                for (row, out) in out.chunks_exact_mut(n).enumerate() {
                    let columns = left * TILE..((left + 1) * TILE).min(n);
                    let values = &values[row * TILE..];
                    for ((column, out), value) in columns.clone().zip(&mut out[columns]).zip(values) {
                        *out = f(top * TILE + row, column, *value);
                    }
                }
            }
        });
        out
    }
}

/// Returns one of a row of tiles.
fn tile(tiles: &[f64], at: usize) -> &[f64] {
    &tiles[at * AREA..(at + 1) * AREA]
}

/// Replaces a positive definite tile by its negative inverse, one row and column after the other; returns whether it is
/// positive definite.
#[inline(always)]
fn invert_tile(tile: &mut [f64]) -> bool {
    let mut pivot_row = [0.0; TILE];
    for pivot in 0..TILE {
        pivot_row.copy_from_slice(&tile[pivot * TILE..(pivot + 1) * TILE]);
        let diagonal = pivot_row[pivot];
        if !(diagonal > 0.0 && diagonal.is_finite()) {
            return false;
        }
        pivot_row[pivot] = 0.0;
        for (at, row) in tile.chunks_exact_mut(TILE).enumerate() {
            let factor = pivot_row[at] / diagonal;
            row.iter_mut().zip(&pivot_row).for_each(|(value, pivot)| *value -= factor * pivot);
            row[pivot] = factor;
        }
        let row = &mut tile[pivot * TILE..(pivot + 1) * TILE];
        row.iter_mut().zip(&pivot_row).for_each(|(value, pivot)| *value = pivot / diagonal);
        row[pivot] = -1.0 / diagonal;
    }
    true
}

/// Computes `out = keep * out - a b`, or with `turned` `- a b^T`, of tiles on one thread.
fn subtract_product(out: &mut [f64], keep: bool, a: &[f64], b: &[f64], turned: bool) {
    assert!([out.len(), a.len(), b.len()] == [AREA; 3], "three whole tiles");
    let width = TILE as isize;
    let (b_column, b_row) = if turned { (width, 1) } else { (1, width) };
    // SAFETY: all three tiles have `TILE` rows and columns, which are the sizes given.
    unsafe {
        gemm(
            TILE,
            TILE,
            TILE,
            out.as_mut_ptr(),
            1,
            width,
            keep,
            a.as_ptr(),
            1,
            width,
            b.as_ptr(),
            b_column,
            b_row,
            1.0,
            -1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Writes the transpose of a tile to another, in pieces of cache lines.
fn transpose(from: &[f64], to: &mut [f64]) {
    const LINE: usize = 8;
    for (top, left) in (0..TILE).step_by(LINE).flat_map(|top| iter::repeat(top).zip((0..TILE).step_by(LINE)))
    {
        for row in top..top + LINE {
            for column in left..left + LINE {
                to[column * TILE + row] = from[row * TILE + column];
            }
        }
    }
}

/// Copies the lower triangle of a tile to the upper one.
fn mirror(tile: &mut [f64]) {
    for row in 0..TILE {
        for column in row + 1..TILE {
            tile[row * TILE + column] = tile[column * TILE + row];
        }
    }
}
