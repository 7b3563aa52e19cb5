//! Kernels: the steps of a network between and around its matrix products, forward and backward.
//!
//! Each kernel is written twice: with Burn's tensor operations, for every device, and as one pass over the memory of
//! tensors on the host, spread over the threads. The two are tested against each other. A pass on the host is cut into
//! pieces by size alone, so that no sum depends on the number of threads.
//!
//! "User side" and "item side" are values for each *unique* user or item of a batch, `[unique users, width]` and
//! `[unique items, width]`, as [`gather`] makes them; a kernel that makes values for each sample looks them up by the
//! inverse indices ([`Lookup`]), and its backward kernel sums over the segments.

mod device;
mod host;

use burn_dispatch::backends::Flex;
use burn_dispatch::backends::flex::FlexTensor;
use burn_tensor::{Device, Tensor, TensorData};
use burnrec_data::draws::{Key, mixed, philox};

use crate::nn::batch::{Batch, Lookup};

/// ReLU with inverted dropout, the activation of hidden layers: `max(x, 0)`, and in training each unit is set to 0 with
/// the probability `dropout` and divided by `1 - dropout` otherwise (Srivastava et al. 2014), so that scoring needs no
/// scaling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReluDropout {
    /// The probability to drop a unit; 0 in scoring.
    pub dropout: f64,
    /// The key of the dropout masks of an epoch.
    pub key: Key,
    /// The number of the batch in the epoch.
    pub batch: u32,
    /// The number of the hidden layer.
    pub layer: u32,
}

impl ReluDropout {
    /// ReLU alone.
    pub const WITHOUT_DROPOUT: Self = Self { dropout: 0.0, key: [0; 2], batch: 0, layer: 0 };

    /// Returns the same for a layer of its own, which gets a mask of its own.
    pub fn for_layer(self, layer: usize) -> Self {
        Self { layer: layer as u32, ..self }
    }

    /// Returns the factor of the units that are kept.
    fn scale(self) -> f32 {
        threshold_and_scale(self.dropout).map_or(1.0, |(_, scale)| scale)
    }

    /// Returns the dropout mask; `None` where nothing is dropped.
    fn mask(self) -> Option<Mask> {
        Mask::new(self.dropout, self.key, self.batch, self.layer)
    }
}

/// Returns the word below which a unit is dropped with this probability, and the factor of the units that are kept; `None`
/// where nothing is dropped.
pub fn threshold_and_scale(dropout: f64) -> Option<(u32, f32)> {
    (dropout > 0.0).then(|| ((dropout * f64::from(u32::MAX)) as u32, (1.0 / (1.0 - dropout)) as f32))
}

/// A dropout mask: which units are dropped follows from their indices and the seeds of batch and layer.
#[derive(Clone, Copy)]
pub struct Mask {
    scale: f32,
    below: u32,
    seeds: [u32; 2],
}

impl Mask {
    /// Returns the mask of a layer in a batch of the epoch with this key; `None` where nothing is dropped.
    pub fn new(dropout: f64, key: Key, batch: u32, layer: u32) -> Option<Self> {
        let [a, b, ..] = philox(key, [batch, layer, 0, 0]);
        threshold_and_scale(dropout).map(|(below, scale)| Self { scale, below, seeds: [a, b] })
    }

    /// Returns the factor of the unit at this index in the layer's output `[samples, width]`: 0 or the scale.
    #[inline(always)]
    pub fn factor(self, index: u32) -> f32 {
        let drawn = mixed(mixed(index ^ self.seeds[0]).wrapping_add(self.seeds[1]));
        if drawn < self.below { 0.0 } else { self.scale }
    }
}

/// Returns the unique rows of a table that a batch reads: `[unique, width]`.
pub fn gather(table: &Tensor<2>, lookup: &Lookup) -> Tensor<2> {
    let [_, width] = table.dims();
    match host(table) {
        Some(table) => host_tensor(host::gather(as_slice(&table), width, &lookup.unique), width),
        None => table.clone().select(0, lookup.device_unique()),
    }
}

/// Returns `a b`.
pub fn matmul(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    matmul_with(a, false, b, false)
}

/// Returns `a^T b`, for `a` and `b` with the same number of rows.
pub fn matmul_tn(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    matmul_with(a, true, b, false)
}

/// Returns `a b^T`, for `a` and `b` with the same number of columns.
pub fn matmul_nt(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    matmul_with(a, false, b, true)
}

/// Multiplies with either factor transposed or not. On the host this does not go by way of Burn, whose product there
/// fills its output with zeros and copies it before it begins.
fn matmul_with(a: &Tensor<2>, a_transposed: bool, b: &Tensor<2>, b_transposed: bool) -> Tensor<2> {
    let oriented = |tensor: &Tensor<2>, transposed| {
        if transposed { tensor.clone().transpose() } else { tensor.clone() }
    };
    match (host(a), host(b)) {
        (Some(left), Some(right)) => {
            let left = host::Matrix::new(as_slice(&left), a.dims(), a_transposed);
            let right = host::Matrix::new(as_slice(&right), b.dims(), b_transposed);
            host_tensor(host::matmul(&left, &right), right.cols)
        }
        _ => oriented(a, a_transposed).matmul(oriented(b, b_transposed)),
    }
}

/// Returns `activation(user side + item side)` for each sample, `[samples, width]`: the first hidden layer, whose
/// product with the concatenated embeddings is the sum of a product with each.
pub fn pair_relu(
    user_side: Tensor<2>,
    item_side: Tensor<2>,
    batch: &Batch,
    activation: ReluDropout,
) -> Tensor<2> {
    let [_, width] = user_side.dims();
    match (host(&user_side), host(&item_side)) {
        (Some(p), Some(q)) => {
            host_tensor(host::pair_relu(as_slice(&p), as_slice(&q), width, batch, activation), width)
        }
        _ => device::pair_relu(user_side, item_side, batch, activation),
    }
}

/// Returns `relu(user + item)` for each pair of `users` `[users, width]` and `items` `[items, width]`, without dropout:
/// `[users * items, width]`.
pub fn catalog_relu(users: &Tensor<2>, items: &Tensor<2>) -> Tensor<2> {
    let ([n_users, width], [n_items, _]) = (users.dims(), items.dims());
    match (host(users), host(items)) {
        (Some(p), Some(q)) => host_tensor(host::catalog_relu(as_slice(&p), as_slice(&q), width), width),
        _ => {
            let sums = users.clone().unsqueeze_dim::<3>(1) + items.clone().unsqueeze_dim::<3>(0);
            device::relu_dropout(sums.reshape([n_users * n_items, width]), ReluDropout::WITHOUT_DROPOUT)
        }
    }
}

/// Sums `values` `[samples, width]` over the segments of the users and of the items:
/// `[unique users, width]` and `[unique items, width]`.
pub fn segment_sums(values: Tensor<2>, batch: &Batch) -> [Tensor<2>; 2] {
    let [_, width] = values.dims();
    match host(&values) {
        Some(on_host) => {
            host::segment_sums(as_slice(&on_host), width, batch).map(|sums| host_tensor(sums, width))
        }
        None => device::segment_sums(values, batch),
    }
}

/// Returns `activation(x + bias)`, `[samples, width]`, with `bias` `[1, width]`.
pub fn bias_relu(x: Tensor<2>, bias: &Tensor<2>, activation: ReluDropout) -> Tensor<2> {
    match host(bias) {
        Some(bias) => in_place(x, |x| host::bias_relu(x, as_slice(&bias), activation)).0,
        None => device::relu_dropout(x + bias.clone(), activation),
    }
}

/// Returns the gradients of [`bias_relu`] by its input, `[samples, width]`, and by its bias, `[1, width]`, from the
/// gradient by its `output`.
pub fn bias_relu_backward(
    grad: Tensor<2>,
    output: Tensor<2>,
    activation: ReluDropout,
) -> (Tensor<2>, Tensor<2>) {
    let [_, width] = grad.dims();
    match host(&output) {
        Some(output) => {
            let (grad, bias) =
                in_place(grad, |grad| host::bias_relu_backward(grad, as_slice(&output), width, activation));
            (grad, host_tensor(bias, width))
        }
        None => {
            let grad = device::relu_backward(grad, output, activation);
            (grad.clone(), grad.sum_dim(0))
        }
    }
}

/// Runs the backward pass through the output layer and the activation before it. From the gradient by the scores
/// `[samples, 1]`, with `scores = output * weight` and `output = activation(x + bias)`, it returns those by `x`
/// `[samples, width]`, by `bias` `[1, width]` and by `weight` `[width, 1]`.
pub fn output_backward(
    grad: &Tensor<2>,
    output: Tensor<2>,
    weight: &Tensor<2>,
    activation: ReluDropout,
) -> [Tensor<2>; 3] {
    let [_, width] = output.dims();
    match (host(grad), host(&output), host(weight)) {
        (Some(grad), Some(output), Some(weight)) => {
            let [x, bias, weight] =
                host::output_backward(as_slice(&grad), as_slice(&output), as_slice(&weight), activation);
            [host_tensor(x, width), host_tensor(bias, width), host_tensor(weight, 1)]
        }
        _ => {
            let grad_weight = output.clone().transpose().matmul(grad.clone());
            let grad_output = grad.clone().matmul(weight.clone().transpose());
            let grad_x = device::relu_backward(grad_output, output, activation);
            [grad_x.clone(), grad_x.sum_dim(0), grad_weight]
        }
    }
}

/// Returns `sum over k of weight[k] * p[k] * q[k]` for each sample, `[samples, 1]`, with `p` its row of the user side
/// `[unique users, dim]`, `q` its row of the item side `[unique items, dim]`, and `weight` `[dim, 1]`, or 1 where there
/// is none.
pub fn pair_dots(p: &Tensor<2>, q: &Tensor<2>, weight: Option<&Tensor<2>>, batch: &Batch) -> Tensor<2> {
    match (host(p), host(q)) {
        (Some(p), Some(q)) => {
            let weight = weight.and_then(host);
            host_tensor(host::pair_dots(as_slice(&p), as_slice(&q), weight.as_ref().map(as_slice), batch), 1)
        }
        _ => device::pair_dots(p, q, weight, batch),
    }
}

/// Returns the gradients of [`pair_dots`] by `p`, `q` and `weight`, each in its shape, from that by its output
/// `[samples, 1]`.
pub fn pair_dots_backward(
    grad: &Tensor<2>,
    p: &Tensor<2>,
    q: &Tensor<2>,
    weight: Option<&Tensor<2>>,
    batch: &Batch,
) -> [Tensor<2>; 3] {
    let [_, width] = p.dims();
    match (host(grad), host(p), host(q)) {
        (Some(grad), Some(p), Some(q)) => {
            let weight = weight.and_then(host);
            let weight = weight.as_ref().map(as_slice);
            let [p, q, weight] =
                host::pair_dots_backward(as_slice(&grad), as_slice(&p), as_slice(&q), weight, batch);
            [host_tensor(p, width), host_tensor(q, width), host_tensor(weight, 1)]
        }
        _ => device::pair_dots_backward(grad, p, q, weight, batch),
    }
}

/// Returns `scores + user bias + item bias + constant` for each sample, `[samples, 1]`; the biases are a user side
/// `[unique users, 1]` and an item side `[unique items, 1]`.
pub fn add_biases(
    scores: Tensor<2>,
    user_bias: &Tensor<2>,
    item_bias: &Tensor<2>,
    constant: f32,
    batch: &Batch,
) -> Tensor<2> {
    match (host(user_bias), host(item_bias)) {
        (Some(p), Some(q)) => {
            in_place(scores, |scores| host::add_biases(scores, as_slice(&p), as_slice(&q), constant, batch)).0
        }
        _ => {
            let [user_bias, item_bias] = device::per_sample(user_bias.clone(), item_bias.clone(), batch);
            scores + user_bias + item_bias + constant
        }
    }
}

/// Adds the gradient of the L2 penalty `factor / 2 * sum over samples of |row|^2` to `grad`, and returns it with the
/// sum `[1]`. `rows` `[unique, width]` are the rows that a batch reads of a table; each counts once for every sample
/// that reads it, and `per_entry` is how many samples an entry of the lookup stands for.
pub fn add_l2(
    grad: Tensor<2>,
    rows: &Tensor<2>,
    factor: f32,
    per_entry: usize,
    lookup: &Lookup,
) -> (Tensor<2>, Tensor<1>) {
    let [_, width] = rows.dims();
    match host(rows) {
        Some(rows) => {
            let add =
                |grad: &mut [f32]| host::add_l2(grad, as_slice(&rows), width, factor, per_entry, lookup);
            let (grad, sum) = in_place(grad, add);
            (grad, Tensor::from_data(TensorData::new(vec![sum], [1]), &Device::flex()))
        }
        None => {
            let weighted = rows.clone() * lookup.device_counts().mul_scalar(per_entry as f32);
            let sum = (weighted.clone() * rows.clone()).sum();
            (grad + weighted.mul_scalar(factor), sum)
        }
    }
}

/// Returns the tensor of the CPU backend, contiguous, if this one is in the memory of the host.
pub fn host(tensor: &Tensor<2>) -> Option<FlexTensor> {
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    Some(tensor.to_contiguous())
}

/// Returns the values of a tensor on the host, row-major.
pub fn as_slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("tensors of this crate are f32, and `host` made it contiguous")
}

/// Lets `work` overwrite the values of a tensor on the host: in place if no other tensor shares them, else in a copy.
pub fn in_place<R>(tensor: Tensor<2>, work: impl FnOnce(&mut [f32]) -> R) -> (Tensor<2>, R) {
    let mut tensor = tensor.try_into_primitive::<Flex>().expect("the caller saw that it is on the host");
    if tensor.layout().contiguous_offsets() != Some((0, tensor.storage::<f32>().len())) {
        tensor = FlexTensor::from_data(tensor.into_data());
    }
    let out = work(tensor.storage_mut());
    (Tensor::from_primitive::<Flex>(tensor), out)
}

/// Makes a tensor on the host of `values`, row-major with rows of `width`.
pub fn host_tensor(values: Vec<f32>, width: usize) -> Tensor<2> {
    let rows = values.len() / width.max(1);
    Tensor::from_data(TensorData::new(values, [rows, width]), &Device::flex())
}

#[cfg(test)]
mod tests;
