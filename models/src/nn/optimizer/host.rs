//! An optimiser step in one pass over the memory of tensors on the host.

use crate::nn::kernels::{as_slice, host, in_place};
use crate::simd::vectorised;
use burn_tensor::Tensor;
use rayon::prelude::*;

use super::{BETA_1, BETA_2, StepSizes, TouchedRows};

/// About how many values of a weight a thread takes at a time.
const PIECE: usize = 8 * 1024;

/// The most pieces that a table is cut into for a lazy step.
const MOST_LAZY_PIECES: usize = 64;

/// Returns the weight and the optimiser's state after a step.
pub fn updated(
    weight: Tensor<2>,
    mut state: Vec<Tensor<2>>,
    grad: &Tensor<2>,
    touched: TouchedRows<'_>,
    sizes: StepSizes,
) -> (Tensor<2>, Vec<Tensor<2>>) {
    let [_, width] = weight.dims();
    let grad = host(grad).expect("gradients are where their weights are");
    let table = Table { width, grad: as_slice(&grad), touched };
    let second = state.pop();
    let first = state.pop();
    let (weight, state) = in_place(weight, |weight| match (first, second) {
        (Some(first), Some(second)) => {
            let (first, second) = in_place(first, |first| {
                let adam = |second: &mut [f32]| table.walk(weight, first, second, |row| adam(row, sizes));
                in_place(second, adam).0
            });
            vec![first, second]
        }
        (None, Some(squares)) => {
            let adagrad =
                |squares: &mut [f32]| table.walk(weight, squares, &mut [], |row| adagrad(row, sizes));
            vec![in_place(squares, adagrad).0]
        }
        _ => {
            table.walk(weight, &mut [], &mut [], |row| sgd(row, sizes));
            vec![]
        }
    });
    (weight, state)
}

/// A piece of a weight and of both its states.
type Piece<'a> = ((&'a mut [f32], &'a mut [f32]), &'a mut [f32]);

struct Table<'a> {
    width: usize,
    grad: &'a [f32],
    touched: TouchedRows<'a>,
}

/// A row of a weight, or several at once, with its state and its gradient.
struct Row<'a> {
    weight: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    /// `None` where the gradient is 0: the row is untouched.
    grad: Option<&'a [f32]>,
}

impl Table<'_> {
    /// Calls `step` for all rows that are updated. A state that the optimiser does not have is an empty slice.
    fn walk(&self, weight: &mut [f32], first: &mut [f32], second: &mut [f32], step: impl Fn(Row<'_>) + Sync) {
        // In a lazy step pieces are longer, so that each holds some touched rows.
        let least = match self.touched {
            TouchedRows::OfBatch { lazy: true, .. } => weight.len() / self.width / MOST_LAZY_PIECES,
            _ => 0,
        };
        let rows = (PIECE / self.width).max(1).max(least);
        let size = rows * self.width;
        let pieces = weight.len().div_ceil(size);
        let piece = |(piece, ((weight, first), second)): (usize, Piece<'_>)| {
            vectorised(|| self.piece(piece * rows, weight, first, second, &step));
        };
        if pieces == 1 {
            return piece((0, ((weight, first), second)));
        }
        let weights = weight.par_chunks_mut(size);
        let firsts = pieces_of(first, size, pieces);
        let seconds = pieces_of(second, size, pieces);
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
        let (lookup, lazy) = match self.touched {
            TouchedRows::All => {
                let grad = Some(&self.grad[from * width..from * width + weight.len()]);
                return step(Row { weight, first, second, grad });
            }
            TouchedRows::OfBatch { lookup, lazy } => (lookup, lazy),
        };
        let start = lookup.unique.partition_point(|&row| (row as usize) < from);
        let touched = lookup.unique[start..].iter().take_while(|&&row| (row as usize) < from + n_rows);
        let mut touched = (start..).zip(touched.map(|&row| row as usize - from)).peekable();
        let mut at = |row: usize, grad: Option<&[f32]>| {
            let range = row * width..(row + 1) * width;
            step(Row {
                weight: &mut weight[range.clone()],
                first: of_row(first, &range),
                second: of_row(second, &range),
                grad,
            });
        };
        if lazy {
            touched.for_each(|(k, row)| at(row, Some(&self.grad[k * width..(k + 1) * width])));
            return;
        }
        for row in 0..n_rows {
            let k = touched.next_if(|&(_, next)| next == row).map(|(k, _)| k);
            at(row, k.map(|k| &self.grad[k * width..(k + 1) * width]));
        }
    }
}

#[inline(always)]
fn of_row<'a>(values: &'a mut [f32], range: &std::ops::Range<usize>) -> &'a mut [f32] {
    if values.is_empty() { values } else { &mut values[range.clone()] }
}

/// Cuts a state into pieces; an empty state becomes as many empty pieces.
fn pieces_of(values: &mut [f32], size: usize, pieces: usize) -> Vec<&mut [f32]> {
    match values.is_empty() {
        true => (0..pieces).map(|_| Default::default()).collect(),
        false => values.chunks_mut(size).collect(),
    }
}

#[inline(always)]
fn adam(row: Row<'_>, sizes: StepSizes) {
    let StepSizes { decay, step_size, epsilon, .. } = sizes;
    let moments = row.first.iter_mut().zip(row.second);
    let weights = row.weight.iter_mut().zip(moments);
    let step = |(weight, (first, second)): (&mut f32, (&mut f32, &mut f32)), grad: f32| {
        *first = BETA_1 * *first + (1.0 - BETA_1) * grad;
        *second = BETA_2 * *second + (1.0 - BETA_2) * grad * grad;
        *weight = decay * *weight - step_size * *first / (second.sqrt() + epsilon);
    };
    match row.grad {
        Some(grad) => weights.zip(grad).for_each(|(weight, grad)| step(weight, *grad)),
        None => weights.for_each(|weight| step(weight, 0.0)),
    }
}

#[inline(always)]
fn adagrad(row: Row<'_>, sizes: StepSizes) {
    let StepSizes { decay, step_size, epsilon, .. } = sizes;
    match row.grad {
        Some(grad) => {
            for ((weight, squares), grad) in row.weight.iter_mut().zip(row.first).zip(grad) {
                *squares += grad * grad;
                *weight = decay * *weight - step_size * grad / (squares.sqrt() + epsilon);
            }
        }
        None => row.weight.iter_mut().for_each(|weight| *weight *= decay),
    }
}

#[inline(always)]
fn sgd(row: Row<'_>, StepSizes { decay, step_size, .. }: StepSizes) {
    match row.grad {
        Some(grad) => {
            row.weight
                .iter_mut()
                .zip(grad)
                .for_each(|(weight, grad)| *weight = decay * *weight - step_size * grad);
        }
        None => row.weight.iter_mut().for_each(|weight| *weight *= decay),
    }
}
