//! The value of each [`Loss`] over a batch, and its gradient by the scores.

use crate::nn::kernels::{as_slice, host, host_tensor};
use crate::nn::loss::Loss;
use burn_tensor::activation::{log_sigmoid, sigmoid, softmax};
use burn_tensor::{Tensor, TensorData};

/// Returns the loss `[1]` summed over its terms, and the gradient of their mean by `scores`, both `[samples, 1]`.
///
/// Each row of `per_row` samples begins with the sample of the training row; `ratings` `[rows]` are the values of the
/// training rows.
pub fn with_gradient(
    loss: Loss,
    scores: Tensor<2>,
    per_row: usize,
    ratings: &[f32],
) -> (Tensor<1>, Tensor<2>) {
    let samples = scores.dims()[0];
    let scale = 1.0 / loss.terms(samples / per_row, per_row) as f32;
    match host(&scores) {
        Some(scores) => {
            let mut grad = vec![0.0; samples];
            let sum = on_host(loss, as_slice(&scores), per_row, ratings, scale, &mut grad);
            let grad = host_tensor(grad, 1);
            (Tensor::from_data(TensorData::new(vec![sum as f32], [1]), &grad.device()), grad)
        }
        None => {
            let scores = scores.reshape([samples / per_row, per_row]);
            let (sum, grad) = on_device(loss, scores, ratings);
            (sum, grad.mul_scalar(scale).reshape([samples, 1]))
        }
    }
}

/// Writes the gradient of the mean by `scores`, with `scale` one over the number of terms, and returns the sum.
fn on_host(loss: Loss, scores: &[f32], per_row: usize, ratings: &[f32], scale: f32, grad: &mut [f32]) -> f64 {
    let mut sum = 0.0;
    for (row, (scores, grad)) in scores.chunks(per_row).zip(grad.chunks_mut(per_row)).enumerate() {
        let (first, others) = (scores[0], &scores[1..]);
        let (grad_first, grad_others) = grad.split_at_mut(1);
        let grad_first = &mut grad_first[0];
        let others = others.iter().zip(grad_others);
        match loss {
            Loss::Mse => {
                let error = first - ratings[row];
                sum += f64::from(error * error);
                *grad_first = 2.0 * scale * error;
            }
            Loss::Bce => {
                let (term, derivative) = logistic(-first);
                sum += f64::from(term);
                *grad_first = -scale * derivative;
                for (score, grad) in others {
                    let (term, derivative) = logistic(*score);
                    sum += f64::from(term);
                    *grad = scale * derivative;
                }
            }
            Loss::Bpr => {
                for (score, grad) in others {
                    let (term, derivative) = logistic(score - first);
                    sum += f64::from(term);
                    *grad = scale * derivative;
                    *grad_first -= scale * derivative;
                }
            }
            Loss::Softmax => {
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let all: f32 = scores.iter().map(|score| (score - most).exp()).sum();
                sum += f64::from(all.ln() + most - first);
                *grad_first = scale * ((first - most).exp() / all - 1.0);
                for (score, grad) in others {
                    *grad = scale * (score - most).exp() / all;
                }
            }
        }
    }
    sum
}

/// Returns `ln(1 + e^x)` and its derivative.
fn logistic(x: f32) -> (f32, f32) {
    let e = (-x.abs()).exp();
    let derivative = if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
    (x.max(0.0) + e.ln_1p(), derivative)
}

/// Returns the summed loss, and the gradient of the sum by `scores`, both `[rows, per_row]`; for squared errors the
/// gradient is `[rows, 1]`.
fn on_device(loss: Loss, scores: Tensor<2>, ratings: &[f32]) -> (Tensor<1>, Tensor<2>) {
    let [rows, per_row] = scores.dims();
    let first = scores.clone().slice_dim(1, 0..1); // [rows, 1]
    match loss {
        Loss::Mse => {
            let ratings = TensorData::new(ratings.to_vec(), [rows, 1]);
            let errors = first - Tensor::from_data(ratings, &scores.device());
            (errors.clone().square().sum(), errors.mul_scalar(2.0))
        }
        Loss::Bce => {
            let signs: Tensor<2> = signs(per_row, &scores); // [1, per_row]
            let signed = scores * signs.clone();
            (log_sigmoid(signed.clone()).sum().neg(), sigmoid(signed.neg()) * signs.neg())
        }
        Loss::Bpr => {
            let others = scores.slice_dim(1, 1..per_row); // [rows, negatives]
            let behind = others - first;
            let grad_others = sigmoid(behind.clone());
            let grad_first = grad_others.clone().sum_dim(1).neg();
            (log_sigmoid(behind.neg()).sum().neg(), Tensor::cat(vec![grad_first, grad_others], 1))
        }
        Loss::Softmax => {
            let most = scores.clone().max_dim(1); // [rows, 1]
            let all = (scores.clone() - most.clone()).exp().sum_dim(1).log() + most;
            let sum = (all - first).sum();
            let chosen = signs(per_row, &scores).add_scalar(1.0).div_scalar(2.0); // [1, per_row]: 1 and zeros
            (sum, softmax(scores, 1) - chosen)
        }
    }
}

/// Returns `[1, per_row]`: 1 for the training row's own sample, -1 for the others.
fn signs(per_row: usize, like: &Tensor<2>) -> Tensor<2> {
    let mut signs = vec![-1.0f32; per_row];
    signs[0] = 1.0;
    Tensor::from_data(TensorData::new(signs, [1, per_row]), &like.device())
}

#[cfg(test)]
mod tests {
    use burn_tensor::Device;

    use super::*;
    use crate::nn::autodiff::Tracked;
    use crate::nn::params::on_host as read;

    const PER_ROW: usize = 4;

    /// Returns the summed loss as it is written down, for autodiff.
    fn plain(loss: Loss, scores: &Tracked, ratings: &[f32]) -> Tracked {
        let [rows, _] = scores.dims();
        let (first, others) = (scores.columns(0..1), scores.columns(1..PER_ROW));
        match loss {
            Loss::Bce => -first.log_sigmoid().sum() - (-others).log_sigmoid().sum(),
            Loss::Bpr => -(first.expand([rows, PER_ROW - 1]) - others).log_sigmoid().sum(),
            Loss::Softmax => (scores.exp().sum_rows().log() - first).sum(),
            Loss::Mse => (first - Tracked::constant(ratings, [rows, 1])).square().sum(),
        }
    }

    #[test]
    fn gradients_are_those_of_autodiff_both_ways() {
        let rows = 7;
        let scores: Vec<f32> = (0..rows * PER_ROW).map(|k| 3.0 * (k as f32 * 1.3).sin()).collect();
        let ratings: Vec<f32> = (0..rows).map(|row| row as f32 / 2.0).collect();
        for loss in [Loss::Bce, Loss::Bpr, Loss::Softmax, Loss::Mse] {
            let tracked = Tracked::variable(&scores, [rows, PER_ROW]);
            let expected = plain(loss, &tracked, &ratings);
            let gradient = tracked.gradient(&expected.backward()).expect("the loss depends on scores");
            let terms = loss.terms(rows, PER_ROW) as f32;
            let scores =
                Tensor::<2>::from_data(TensorData::new(scores.clone(), [rows, PER_ROW]), &Device::flex());
            let samples = scores.clone().reshape([rows * PER_ROW, 1]);
            let (sum, ours) = with_gradient(loss, samples, PER_ROW, &ratings);
            let (device_sum, device_gradient) = on_device(loss, scores, &ratings);
            let device_gradient = match loss {
                Loss::Mse => {
                    Tensor::cat(vec![device_gradient, Tensor::zeros([rows, PER_ROW - 1], &Device::flex())], 1)
                }
                _ => device_gradient,
            };
            let expected = expected.values()[0];
            assert!((read(&sum)[0] - expected).abs() < 1e-4, "{loss:?}");
            assert!((read(&device_sum)[0] - expected).abs() < 1e-4, "{loss:?}");
            let (ours, device_gradient) = (read(&ours), read(&device_gradient));
            assert_eq!((gradient.len(), gradient.len()), (ours.len(), device_gradient.len()), "{loss:?}");
            for ((expected, ours), device) in gradient.iter().zip(ours).zip(device_gradient) {
                assert!((expected / terms - ours).abs() < 1e-5, "{loss:?}: {ours}");
                assert!((expected - device).abs() < 1e-5, "{loss:?}: {device}");
            }
        }
    }
}
