//! A step in one pass over the numbers of tensors in the memory of the host.

use crate::nn::kernels::{host, in_place, numbers};
use crate::simd::vectorised;
use burn_tensor::Tensor;
use rayon::prelude::*;

use super::{BETA_1, BETA_2, Met, Rates};

/// About how many numbers of a weight a thread takes at a time.
const PIECE: usize = 8 * 1024;

/// In how many pieces a table is cut at most where few of its rows move.
const MOST_LAZY_PIECES: usize = 64;

/// The weight and the optimiser's state after a step.
pub fn moved(
    weight: Tensor<2>,
    mut state: Vec<Tensor<2>>,
    slopes: &Tensor<2>,
    met: Met<'_>,
    rates: Rates,
) -> (Tensor<2>, Vec<Tensor<2>>) {
    let [_, width] = weight.dims();
    let slopes = host(slopes).expect("slopes are where their weights are");
    let table = Table { width, slopes: numbers(&slopes), met };
    let second = state.pop();
    let first = state.pop();
    let (weight, state) = in_place(weight, |weight| match (first, second) {
        (Some(first), Some(second)) => {
            let (first, second) = in_place(first, |first| {
                let adam = |second: &mut [f32]| table.walk(weight, first, second, |row| adam(row, rates));
                in_place(second, adam).0
            });
            vec![first, second]
        }
        (None, Some(squares)) => {
            let adagrad =
                |squares: &mut [f32]| table.walk(weight, squares, &mut [], |row| adagrad(row, rates));
            vec![in_place(squares, adagrad).0]
        }
        _ => {
            table.walk(weight, &mut [], &mut [], |row| sgd(row, rates));
            vec![]
        }
    });
    (weight, state)
}

/// A piece of a weight and of both its states.
type Parts<'a> = ((&'a mut [f32], &'a mut [f32]), &'a mut [f32]);

struct Table<'a> {
    width: usize,
    slopes: &'a [f32],
    met: Met<'a>,
}

/// Some numbers of a weight with what belongs to them.
struct Row<'a> {
    weight: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    /// `None`: all 0.
    slopes: Option<&'a [f32]>,
}

impl Table<'_> {
    /// Calls `step` with all numbers that move. An optimiser that has no state, or one of it, leaves the rest empty.
    fn walk(&self, weight: &mut [f32], first: &mut [f32], second: &mut [f32], step: impl Fn(Row<'_>) + Sync) {
        // Of a table that is hardly met, a piece is long enough to hold some of the rows that are.
        let least = match self.met {
            Met::Rows { lazy: true, .. } => weight.len() / self.width / MOST_LAZY_PIECES,
            _ => 0,
        };
        let rows = (PIECE / self.width).max(1).max(least);
        let size = rows * self.width;
        let pieces = weight.len().div_ceil(size);
        let piece = |(piece, ((weight, first), second)): (usize, Parts<'_>)| {
            vectorised(|| self.piece(piece * rows, weight, first, second, &step));
        };
        if pieces == 1 {
            return piece((0, ((weight, first), second)));
        }
        let weights = weight.par_chunks_mut(size);
        let firsts = parts(first, size, pieces);
        let seconds = parts(second, size, pieces);
        weights.zip(firsts).zip(seconds).enumerate().for_each(piece);
    }

    #[inline(always)]
    fn piece(
        &self,
        from: usize,
        weight: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        step: &(impl Fn(Row<'_>) + Sync),
    ) {
        let (width, n_rows) = (self.width, weight.len() / self.width);
        let (side, lazy) = match self.met {
            Met::Whole => {
                let slopes = Some(&self.slopes[from * width..from * width + weight.len()]);
                return step(Row { weight, first, second, slopes });
            }
            Met::Rows { side, lazy } => (side, lazy),
        };
        let start = side.rows.partition_point(|&row| (row as usize) < from);
        let met = side.rows[start..].iter().take_while(|&&row| (row as usize) < from + n_rows);
        let mut met = (start..).zip(met.map(|&row| row as usize - from)).peekable();
        let mut at = |row: usize, slopes: Option<&[f32]>| {
            let range = row * width..(row + 1) * width;
            step(Row {
                weight: &mut weight[range.clone()],
                first: of_row(first, &range),
                second: of_row(second, &range),
                slopes,
            });
        };
        if lazy {
            met.for_each(|(place, row)| at(row, Some(&self.slopes[place * width..(place + 1) * width])));
            return;
        }
        for row in 0..n_rows {
            let place = met.next_if(|&(_, next)| next == row).map(|(place, _)| place);
            at(row, place.map(|place| &self.slopes[place * width..(place + 1) * width]));
        }
    }
}

#[inline(always)]
fn of_row<'a>(values: &'a mut [f32], range: &std::ops::Range<usize>) -> &'a mut [f32] {
    if values.is_empty() { values } else { &mut values[range.clone()] }
}

/// The parts of a state, or as many empty ones.
fn parts(values: &mut [f32], size: usize, pieces: usize) -> Vec<&mut [f32]> {
    match values.is_empty() {
        true => (0..pieces).map(|_| Default::default()).collect(),
        false => values.chunks_mut(size).collect(),
    }
}

#[inline(always)]
fn adam(row: Row<'_>, rates: Rates) {
    let Rates { keep, length, epsilon, .. } = rates;
    let means = row.first.iter_mut().zip(row.second);
    let weights = row.weight.iter_mut().zip(means);
    let step = |(weight, (first, second)): (&mut f32, (&mut f32, &mut f32)), slope: f32| {
        *first = BETA_1 * *first + (1.0 - BETA_1) * slope;
        *second = BETA_2 * *second + (1.0 - BETA_2) * slope * slope;
        *weight = keep * *weight - length * *first / (second.sqrt() + epsilon);
    };
    match row.slopes {
        Some(slopes) => weights.zip(slopes).for_each(|(weight, slope)| step(weight, *slope)),
        None => weights.for_each(|weight| step(weight, 0.0)),
    }
}

#[inline(always)]
fn adagrad(row: Row<'_>, rates: Rates) {
    let Rates { keep, length, epsilon, .. } = rates;
    match row.slopes {
        Some(slopes) => {
            for ((weight, squares), slope) in row.weight.iter_mut().zip(row.first).zip(slopes) {
                *squares += slope * slope;
                *weight = keep * *weight - length * slope / (squares.sqrt() + epsilon);
            }
        }
        None => row.weight.iter_mut().for_each(|weight| *weight *= keep),
    }
}

#[inline(always)]
fn sgd(row: Row<'_>, Rates { keep, length, .. }: Rates) {
    match row.slopes {
        Some(slopes) => {
            row.weight
                .iter_mut()
                .zip(slopes)
                .for_each(|(weight, slope)| *weight = keep * *weight - length * slope);
        }
        None => row.weight.iter_mut().for_each(|weight| *weight *= keep),
    }
}
