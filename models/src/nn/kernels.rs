//! The steps of a network between its matrix products, forward and backward.
//!
//! Each is written twice: out of Burn's tensor operations, for every device, and as one pass over the numbers of
//! tensors on the host, spread over the threads. Both are tested against each other. A pass on the host is cut into
//! pieces by size alone, so that no sum depends on the number of threads.

mod device;
mod host;

use burn_dispatch::backends::Flex;
use burn_dispatch::backends::flex::FlexTensor;
use burn_tensor::{Device, Tensor, TensorData};

use crate::nn::batch::{Batch, Side};

/// What becomes of the sums of a hidden layer: negative ones are cut off, and in training units are dropped at random
/// (Srivastava et al. 2014) and the others scaled up for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hidden {
    /// The probability to drop a unit; 0 in scoring.
    pub dropout: f64,
    /// Says which are dropped, on the host.
    pub seed: u64,
}

impl Hidden {
    /// Nothing is dropped.
    pub const WHOLE: Self = Self { dropout: 0.0, seed: 0 };

    /// The same with other units dropped, for another layer.
    pub fn of_layer(self, layer: usize) -> Self {
        Self {
            seed: self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(layer as u64 + 1)),
            ..self
        }
    }

    /// What the kept units are multiplied with.
    fn scale(self) -> f32 {
        (1.0 / (1.0 - self.dropout)) as f32
    }
}

/// The table rows that a batch meets: `[distinct, width]`.
pub fn gather(table: &Tensor<2>, side: &Side) -> Tensor<2> {
    let [_, width] = table.dims();
    match host(table) {
        Some(table) => made(host::gather(numbers(&table), width, &side.rows), width),
        None => table.clone().select(0, side.device_rows()),
    }
}

/// `a b`.
pub fn product(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    multiplied(a, false, b, false)
}

/// `a^T b`, with `a` and `b` as long as each other.
pub fn product_of_columns(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    multiplied(a, true, b, false)
}

/// `a b^T`, with `a` and `b` as wide as each other.
pub fn product_of_rows(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    multiplied(a, false, b, true)
}

/// On the host not by way of Burn, whose product there fills its output with zeros and copies it before it begins.
fn multiplied(a: &Tensor<2>, a_turned: bool, b: &Tensor<2>, b_turned: bool) -> Tensor<2> {
    let turned =
        |tensor: &Tensor<2>, turned| if turned { tensor.clone().transpose() } else { tensor.clone() };
    match (host(a), host(b)) {
        (Some(left), Some(right)) => {
            let left = host::Matrix::new(numbers(&left), a.dims(), a_turned);
            let right = host::Matrix::new(numbers(&right), b.dims(), b_turned);
            made(host::product(&left, &right), right.cols)
        }
        _ => turned(a, a_turned).matmul(turned(b, b_turned)),
    }
}

/// The first hidden layer of each sample, `[samples, width]`: its user's row of `of_user` `[distinct users, width]`
/// plus its item's row of `of_item` `[distinct items, width]`, rectified.
pub fn pair_sums(of_user: Tensor<2>, of_item: Tensor<2>, batch: &Batch, hidden: Hidden) -> Tensor<2> {
    let [_, width] = of_user.dims();
    match (host(&of_user), host(&of_item)) {
        (Some(p), Some(q)) => made(host::pair_sums(numbers(&p), numbers(&q), width, batch, hidden), width),
        _ => device::pair_sums(of_user, of_item, batch, hidden),
    }
}

/// The first hidden layer of each of `of_user` `[users, width]` with each of `of_item` `[items, width]`, without dropout:
/// `[users * items, width]`.
pub fn catalog_sums(of_user: &Tensor<2>, of_item: &Tensor<2>) -> Tensor<2> {
    let ([users, width], [items, _]) = (of_user.dims(), of_item.dims());
    match (host(of_user), host(of_item)) {
        (Some(p), Some(q)) => made(host::catalog_sums(numbers(&p), numbers(&q), width), width),
        _ => {
            let sums = of_user.clone().unsqueeze_dim::<3>(1) + of_item.clone().unsqueeze_dim::<3>(0);
            device::rectify(sums.reshape([users * items, width]), Hidden::WHOLE)
        }
    }
}

/// Sums `values` `[samples, width]` by user and by item: `[distinct users, width]` and `[distinct items, width]`.
pub fn sums_by_side(values: Tensor<2>, batch: &Batch) -> [Tensor<2>; 2] {
    let [_, width] = values.dims();
    match host(&values) {
        Some(on_host) => host::sums_by_side(numbers(&on_host), width, batch).map(|sums| made(sums, width)),
        None => device::sums_by_side(values, batch),
    }
}

/// `sums + bias`, rectified: `[samples, width]`, with `bias` `[1, width]`.
pub fn rectified(sums: Tensor<2>, bias: &Tensor<2>, hidden: Hidden) -> Tensor<2> {
    match host(bias) {
        Some(bias) => in_place(sums, |sums| host::rectify(sums, numbers(&bias), hidden)).0,
        None => device::rectify(sums + bias.clone(), hidden),
    }
}

/// From the slopes of [`rectified`]'s output to those of its sums, `[samples, width]`, and of its bias, `[1, width]`.
pub fn rectified_back(slopes: Tensor<2>, output: Tensor<2>, hidden: Hidden) -> (Tensor<2>, Tensor<2>) {
    let [_, width] = slopes.dims();
    match host(&output) {
        Some(output) => {
            let (slopes, bias) =
                in_place(slopes, |slopes| host::rectify_back(slopes, numbers(&output), width, hidden));
            (slopes, made(bias, width))
        }
        None => {
            let slopes = device::rectify_back(slopes, output, hidden);
            (slopes.clone(), slopes.sum_dim(0))
        }
    }
}

/// From the slopes `[samples, 1]` of `output * weight` to those of the sums behind the rectified `output`
/// `[samples, width]`, of its bias `[1, width]` and of `weight` `[width, 1]`.
pub fn last_back(
    slopes: &Tensor<2>,
    output: Tensor<2>,
    weight: &Tensor<2>,
    hidden: Hidden,
) -> [Tensor<2>; 3] {
    let [_, width] = output.dims();
    match (host(slopes), host(&output), host(weight)) {
        (Some(slopes), Some(output), Some(weight)) => {
            let [sums, bias, weights] =
                host::last_back(numbers(&slopes), numbers(&output), numbers(&weight), hidden);
            [made(sums, width), made(bias, width), made(weights, 1)]
        }
        _ => {
            let of_weight = output.clone().transpose().matmul(slopes.clone());
            let sums = slopes.clone().matmul(weight.clone().transpose());
            let sums = device::rectify_back(sums, output, hidden);
            [sums.clone(), sums.sum_dim(0), of_weight]
        }
    }
}

/// For each sample the sum over `k` of `weight[k] * p[k] * q[k]`, `[samples, 1]`, with `p` its user's row of
/// `[distinct users, dim]`, `q` its item's of `[distinct items, dim]`, and `weight` `[dim, 1]` (all 1 where there is none).
pub fn dots(p: &Tensor<2>, q: &Tensor<2>, weight: Option<&Tensor<2>>, batch: &Batch) -> Tensor<2> {
    match (host(p), host(q)) {
        (Some(p), Some(q)) => {
            let weight = weight.and_then(host);
            made(host::dots(numbers(&p), numbers(&q), weight.as_ref().map(numbers), batch), 1)
        }
        _ => device::dots(p, q, weight, batch),
    }
}

/// From the slopes `[samples, 1]` of [`dots`] to those of `p`, `q` and `weight`.
pub fn dots_back(
    slopes: &Tensor<2>,
    p: &Tensor<2>,
    q: &Tensor<2>,
    weight: Option<&Tensor<2>>,
    batch: &Batch,
) -> [Tensor<2>; 3] {
    let [_, width] = p.dims();
    match (host(slopes), host(p), host(q)) {
        (Some(slopes), Some(p), Some(q)) => {
            let weight = weight.and_then(host);
            let weight = weight.as_ref().map(numbers);
            let [p, q, weight] = host::dots_back(numbers(&slopes), numbers(&p), numbers(&q), weight, batch);
            [made(p, width), made(q, width), made(weight, 1)]
        }
        _ => device::dots_back(slopes, p, q, weight, batch),
    }
}

/// `scores + user bias + item bias + constant` for each sample: `[samples, 1]`, the biases
/// `[distinct users, 1]` and `[distinct items, 1]`.
pub fn biased(
    scores: Tensor<2>,
    of_user: &Tensor<2>,
    of_item: &Tensor<2>,
    constant: f32,
    batch: &Batch,
) -> Tensor<2> {
    match (host(of_user), host(of_item)) {
        (Some(p), Some(q)) => {
            in_place(scores, |scores| host::add_biases(scores, numbers(&p), numbers(&q), constant, batch)).0
        }
        _ => {
            let [of_user, of_item] = device::spread(of_user.clone(), of_item.clone(), batch);
            scores + of_user + of_item + constant
        }
    }
}

/// `slopes + factor * entries * rows`, for each table row by how many of the batch's entries meet it, and the sum of
/// `entries * rows^2`: what `factor / 2` times the squared norm of every sample's vectors adds to its slopes.
/// `per_entry` is how many samples an entry of the side stands for.
pub fn decayed(
    slopes: Tensor<2>,
    rows: &Tensor<2>,
    factor: f32,
    per_entry: usize,
    side: &Side,
) -> (Tensor<2>, Tensor<1>) {
    let [_, width] = rows.dims();
    match host(rows) {
        Some(rows) => {
            let decay =
                |slopes: &mut [f32]| host::decay(slopes, numbers(&rows), width, factor, per_entry, side);
            let (slopes, sum) = in_place(slopes, decay);
            (slopes, Tensor::from_data(TensorData::new(vec![sum], [1]), &Device::flex()))
        }
        None => {
            let weighted = rows.clone() * side.device_counts().mul_scalar(per_entry as f32);
            let sum = (weighted.clone() * rows.clone()).sum();
            (slopes + weighted.mul_scalar(factor), sum)
        }
    }
}

/// A tensor in the memory of the host, if it is one, with its numbers in their order.
pub fn host(tensor: &Tensor<2>) -> Option<FlexTensor> {
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    Some(tensor.to_contiguous())
}

/// The numbers of a tensor on the host, row-major.
pub fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("tensors of this crate are f32, and `host` made it contiguous")
}

/// Lets `work` write over the numbers of a tensor on the host, in place where nobody else holds them.
pub fn in_place<R>(tensor: Tensor<2>, work: impl FnOnce(&mut [f32]) -> R) -> (Tensor<2>, R) {
    let mut tensor = tensor.try_into_primitive::<Flex>().expect("the caller saw that it is on the host");
    if tensor.layout().contiguous_offsets() != Some((0, tensor.storage::<f32>().len())) {
        tensor = FlexTensor::from_data(tensor.into_data());
    }
    let out = work(tensor.storage_mut());
    (Tensor::from_primitive::<Flex>(tensor), out)
}

/// A tensor of these rows on the host.
pub fn made(values: Vec<f32>, width: usize) -> Tensor<2> {
    let rows = values.len() / width.max(1);
    Tensor::from_data(TensorData::new(values, [rows, width]), &Device::flex())
}

#[cfg(test)]
mod tests;
