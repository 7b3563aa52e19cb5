//! A step out of Burn's tensor operations, for tensors that are not on the host.

use burn_tensor::{IndexingUpdateOp, Int, Tensor};

use super::{BETA_1, BETA_2, Met, Rates};
use crate::nn::training::Optimizer;

/// The weight and the optimiser's state after a step.
pub fn moved(
    weight: Tensor<2>,
    state: Vec<Tensor<2>>,
    slopes: Tensor<2>,
    met: Met<'_>,
    rates: Rates,
) -> (Tensor<2>, Vec<Tensor<2>>) {
    match met {
        Met::Whole => stepped(weight, state, slopes, rates),
        Met::Rows { side, lazy: false } => {
            let rows = side.device_rows().reshape([side.distinct(), 1]);
            let slopes = put(Tensor::zeros(weight.dims(), &weight.device()), rows, slopes);
            stepped(weight, state, slopes, rates)
        }
        Met::Rows { side, lazy: true } => {
            let rows = side.device_rows();
            let at = |table: &Tensor<2>| table.clone().select(0, rows.clone());
            let (new, new_state) = stepped(at(&weight), state.iter().map(at).collect(), slopes, rates);
            let rows = rows.clone().reshape([side.distinct(), 1]);
            let state = state.into_iter().zip(new_state).map(|(table, new)| put(table, rows.clone(), new));
            (put(weight, rows.clone(), new), state.collect())
        }
    }
}

/// A table with these rows replaced, each by a thread of its own on a GPU.
fn put(table: Tensor<2>, rows: Tensor<2, Int>, values: Tensor<2>) -> Tensor<2> {
    table.scatter_nd(rows, values, IndexingUpdateOp::Assign)
}

fn stepped(
    weight: Tensor<2>,
    mut state: Vec<Tensor<2>>,
    slopes: Tensor<2>,
    rates: Rates,
) -> (Tensor<2>, Vec<Tensor<2>>) {
    let delta = match rates.optimizer {
        Optimizer::Sgd => slopes,
        Optimizer::Adagrad => {
            let squares = state.remove(0) + slopes.clone().square();
            state.push(squares.clone());
            slopes / squares.sqrt().add_scalar(rates.epsilon)
        }
        Optimizer::Adam => {
            let second =
                state.remove(1).mul_scalar(BETA_2) + slopes.clone().square().mul_scalar(1.0 - BETA_2);
            let first = state.remove(0).mul_scalar(BETA_1) + slopes.mul_scalar(1.0 - BETA_1);
            state.extend([first.clone(), second.clone()]);
            first / second.sqrt().add_scalar(rates.epsilon)
        }
    };
    (weight.mul_scalar(rates.keep) - delta.mul_scalar(rates.length), state)
}
