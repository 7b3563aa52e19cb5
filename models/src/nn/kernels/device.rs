//! The kernels written with Burn's tensor operations, for tensors that are not on the host. What each computes, and the
//! shapes, are documented at the function of the same name in [`super`].
//!
//! Sums over segments use gathers alone ([`crate::nn::batch::Lookup::device_segment_sums`]), because Burn's scatter-add
//! runs a whole column on one thread on a GPU.

use burn_tensor::activation::relu;
use burn_tensor::{Tensor, TensorData};

use super::ReluDropout;
use crate::nn::batch::Batch;

/// Looks up both sides for each sample: `[samples, width]` each.
pub fn per_sample(user_side: Tensor<2>, item_side: Tensor<2>, batch: &Batch) -> [Tensor<2>; 2] {
    let [_, width] = user_side.dims();
    let users = user_side.select(0, batch.users.device_inverse()); // [rows, width]
    let users = users.unsqueeze_dim::<3>(1).expand([batch.rows(), batch.per_row, width]);
    [users.reshape([batch.samples(), width]), item_side.select(0, batch.items.device_inverse())]
}

pub fn segment_sums(values: Tensor<2>, batch: &Batch) -> [Tensor<2>; 2] {
    let [_, width] = values.dims();
    let by_row = values.clone().reshape([batch.rows(), batch.per_row, width]).sum_dim(1);
    let by_row = by_row.reshape([batch.rows(), width]);
    [batch.users.device_segment_sums(by_row), batch.items.device_segment_sums(values)]
}

pub fn pair_relu(
    user_side: Tensor<2>,
    item_side: Tensor<2>,
    batch: &Batch,
    activation: ReluDropout,
) -> Tensor<2> {
    let [users, items] = per_sample(user_side, item_side, batch);
    relu_dropout(users + items, activation)
}

pub fn relu_dropout(x: Tensor<2>, activation: ReluDropout) -> Tensor<2> {
    let kept = relu(x);
    let Some(mask) = activation.mask() else { return kept };
    let [samples, width] = kept.dims();
    let factors: Vec<f32> = (0..(samples * width) as u32).map(|index| mask.factor(index)).collect();
    let factors = Tensor::from_data(TensorData::new(factors, [samples, width]), &kept.device());
    kept * factors
}

/// Returns the gradient by the input of [`relu_dropout`]: 0 where the output is 0, whether by the ReLU or by the
/// dropout.
pub fn relu_backward(grad: Tensor<2>, output: Tensor<2>, activation: ReluDropout) -> Tensor<2> {
    grad * output.greater_elem(0.0).float().mul_scalar(activation.scale())
}

pub fn pair_dots(p: &Tensor<2>, q: &Tensor<2>, weight: Option<&Tensor<2>>, batch: &Batch) -> Tensor<2> {
    let p = weighted(p, weight);
    let [p, q] = per_sample(p, q.clone(), batch);
    (p * q).sum_dim(1)
}

pub fn pair_dots_backward(
    grad: &Tensor<2>,
    p: &Tensor<2>,
    q: &Tensor<2>,
    weight: Option<&Tensor<2>>,
    batch: &Batch,
) -> [Tensor<2>; 3] {
    let [p_each, q_each] = per_sample(p.clone(), q.clone(), batch);
    let [by_user, _] = segment_sums(q_each * grad.clone(), batch);
    let [_, by_item] = segment_sums(p_each * grad.clone(), batch);
    let grad_weight = (p.clone() * by_user.clone()).sum_dim(0).transpose(); // [dim, 1]
    [weighted(&by_user, weight), weighted(&by_item, weight), grad_weight]
}

/// Multiplies each row by `weight` `[dim, 1]`, element by element.
fn weighted(rows: &Tensor<2>, weight: Option<&Tensor<2>>) -> Tensor<2> {
    match weight {
        Some(weight) => rows.clone() * weight.clone().transpose(),
        None => rows.clone(),
    }
}
