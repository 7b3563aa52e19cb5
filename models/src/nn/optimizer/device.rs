//! An optimiser step written with Burn's tensor operations, for tensors that are not on the host.

use burn_tensor::{IndexingUpdateOp, Int, Tensor};

use super::{BETA_1, BETA_2, StepSizes, TouchedRows};
use crate::nn::training::Optimizer;

/// Returns the weight and the optimiser's state after a step.
pub fn updated(
    weight: Tensor<2>,
    state: Vec<Tensor<2>>,
    grad: Tensor<2>,
    touched: TouchedRows<'_>,
    sizes: StepSizes,
) -> (Tensor<2>, Vec<Tensor<2>>) {
    match touched {
        TouchedRows::All => step(weight, state, grad, sizes),
        TouchedRows::OfBatch { lookup, lazy: false } => {
            let rows = lookup.device_unique().reshape([lookup.n_unique(), 1]);
            let grad = put(Tensor::zeros(weight.dims(), &weight.device()), rows, grad);
            step(weight, state, grad, sizes)
        }
        TouchedRows::OfBatch { lookup, lazy: true } => {
            let rows = lookup.device_unique();
            let at = |table: &Tensor<2>| table.clone().select(0, rows.clone());
            let (new, new_state) = step(at(&weight), state.iter().map(at).collect(), grad, sizes);
            let rows = rows.clone().reshape([lookup.n_unique(), 1]);
            let state = state.into_iter().zip(new_state).map(|(table, new)| put(table, rows.clone(), new));
            (put(weight, rows.clone(), new), state.collect())
        }
    }
}

/// Replaces rows of a table, each by a thread of its own on a GPU.
fn put(table: Tensor<2>, rows: Tensor<2, Int>, values: Tensor<2>) -> Tensor<2> {
    table.scatter_nd(rows, values, IndexingUpdateOp::Assign)
}

/// Updates all rows of a weight and of its state.
fn step(
    weight: Tensor<2>,
    mut state: Vec<Tensor<2>>,
    grad: Tensor<2>,
    sizes: StepSizes,
) -> (Tensor<2>, Vec<Tensor<2>>) {
    let direction = match sizes.optimizer {
        Optimizer::Sgd => grad,
        Optimizer::Adagrad => {
            let squares = state.remove(0) + grad.clone().square();
            state.push(squares.clone());
            grad / squares.sqrt().add_scalar(sizes.epsilon)
        }
        Optimizer::Adam => {
            let second = state.remove(1).mul_scalar(BETA_2) + grad.clone().square().mul_scalar(1.0 - BETA_2);
            let first = state.remove(0).mul_scalar(BETA_1) + grad.mul_scalar(1.0 - BETA_1);
            state.extend([first.clone(), second.clone()]);
            first / second.sqrt().add_scalar(sizes.epsilon)
        }
    };
    (weight.mul_scalar(sizes.decay) - direction.mul_scalar(sizes.step_size), state)
}
