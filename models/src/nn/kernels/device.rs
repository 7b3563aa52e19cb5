//! The kernels out of Burn's tensor operations, for tensors that are not on the host. Everything moves by gathering:
//! scattering with sums has one thread for a whole column on a GPU.

use burn_tensor::activation::relu;
use burn_tensor::{Distribution, Tensor};

use super::Hidden;
use crate::nn::batch::Batch;

/// The rows of both sides for each sample: `[samples, width]`.
pub fn spread(of_user: Tensor<2>, of_item: Tensor<2>, batch: &Batch) -> [Tensor<2>; 2] {
    let [_, width] = of_user.dims();
    let of_user = of_user.select(0, batch.users.device_places()); // [rows, width]
    let of_user = of_user.unsqueeze_dim::<3>(1).expand([batch.rows(), batch.per_row, width]);
    [of_user.reshape([batch.samples(), width]), of_item.select(0, batch.items.device_places())]
}

/// Sums `values` `[samples, width]` by user and by item.
pub fn sums_by_side(values: Tensor<2>, batch: &Batch) -> [Tensor<2>; 2] {
    let [_, width] = values.dims();
    let by_row = values.clone().reshape([batch.rows(), batch.per_row, width]).sum_dim(1);
    let by_row = by_row.reshape([batch.rows(), width]);
    [batch.users.device_sums(by_row), batch.items.device_sums(values)]
}

pub fn pair_sums(of_user: Tensor<2>, of_item: Tensor<2>, batch: &Batch, hidden: Hidden) -> Tensor<2> {
    let [of_user, of_item] = spread(of_user, of_item, batch);
    rectify(of_user + of_item, hidden)
}

pub fn rectify(sums: Tensor<2>, hidden: Hidden) -> Tensor<2> {
    let kept = relu(sums);
    if hidden.dropout == 0.0 {
        return kept;
    }
    let mask = Tensor::random(kept.dims(), Distribution::Bernoulli(1.0 - hidden.dropout), &kept.device());
    kept * mask.mul_scalar(hidden.scale())
}

/// A unit that is 0 was cut off or dropped: neither has a slope.
pub fn rectify_back(slopes: Tensor<2>, output: Tensor<2>, hidden: Hidden) -> Tensor<2> {
    slopes * output.greater_elem(0.0).float().mul_scalar(hidden.scale())
}

pub fn dots(p: &Tensor<2>, q: &Tensor<2>, weight: Option<&Tensor<2>>, batch: &Batch) -> Tensor<2> {
    let p = weighted(p, weight);
    let [p, q] = spread(p, q.clone(), batch);
    (p * q).sum_dim(1)
}

pub fn dots_back(
    slopes: &Tensor<2>,
    p: &Tensor<2>,
    q: &Tensor<2>,
    weight: Option<&Tensor<2>>,
    batch: &Batch,
) -> [Tensor<2>; 3] {
    let [p_each, q_each] = spread(p.clone(), q.clone(), batch);
    let [by_user, _] = sums_by_side(q_each * slopes.clone(), batch);
    let [_, by_item] = sums_by_side(p_each * slopes.clone(), batch);
    let of_weight = (p.clone() * by_user.clone()).sum_dim(0).transpose(); // [dim, 1]
    [weighted(&by_user, weight), weighted(&by_item, weight), of_weight]
}

/// Rows times `weight` `[dim, 1]`.
fn weighted(rows: &Tensor<2>, weight: Option<&Tensor<2>>) -> Tensor<2> {
    match weight {
        Some(weight) => rows.clone() * weight.clone().transpose(),
        None => rows.clone(),
    }
}
