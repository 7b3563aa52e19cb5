//! The losses that a network is trained by.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
use burnrec_models::config::Loss;

/// The loss `[1]` of `scores` against `targets` (both `[rows, per_row]`), summed over all samples.
///
/// Binary cross-entropy takes the scores as logits and targets of 1 and 0: `-ln sigmoid(s)` for a 1 and
/// `-ln sigmoid(-s)` for a 0. Squared error takes the scores as ratings.
pub fn summed(loss: Loss, scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    match loss {
        Loss::Bce => {
            let signs = targets.mul_scalar(2.0).sub_scalar(1.0); // [rows, per_row]: 1 and -1
            log_sigmoid(scores * signs).sum().neg()
        }
        Loss::Mse => (scores - targets).square().sum(),
    }
}
