//! CPU and GPU agree: the same learner on the same data, with another device.

mod devices;
mod planted;

use burn_tensor::activation::sigmoid;
use burn_tensor::{Device, Tensor};
use burnrec_models::device::OpenDevice;
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig};
use burnrec_models::nn::batch::Batch;
use burnrec_models::nn::loss::Loss;
use burnrec_models::nn::network::{Architecture, BatchLoss, Gradient};
use burnrec_models::nn::params::{drawn, on_host};
use burnrec_models::nn::{NnLearner, NnTraining, Optimizer};
use burnrec_models::{Learner, Shape, Silent};
use devices::{cpu, gpu};
use planted::ratings;

const SHAPE: Shape = Shape { n_users: 300, n_items: 200 };

/// Every model with every loss.
fn architectures() -> Vec<Box<dyn Architecture>> {
    let of_loss = |loss| -> [Box<dyn Architecture>; 4] {
        let init_std = 0.1;
        [
            Box::new(MfConfig { dim: 16, reg: 0.001, loss, ..MfConfig::default() }),
            Box::new(NcfSpec::from(&GmfConfig { dim: 8, init_std, loss, ..GmfConfig::default() })),
            Box::new(NcfSpec::from(&MlpConfig {
                dim: 8,
                init_std,
                loss,
                classes: 2,
                ..MlpConfig::default()
            })),
            Box::new(NcfSpec::from(&NeumfConfig { dim: 8, init_std, loss, ..NeumfConfig::default() })),
        ]
    };
    [Loss::Bce, Loss::Bpr, Loss::Softmax, Loss::Mse].into_iter().flat_map(of_loss).collect()
}

/// Returns the logits of a batch, and the gradient by each weight.
fn first_step(architecture: &dyn Architecture, device: &Device) -> Vec<(&'static str, Vec<f32>)> {
    let network = architecture.network(SHAPE, -1.0, &mut drawn(9), device).expect("in range");
    let (rows, per_row) = (64, architecture.loss().1 + 1);
    let users: Vec<u32> = (0..rows).map(|k| k * 37 % 300).collect();
    let items: Vec<u32> = (0..rows * per_row as u32).map(|k| k * 53 % 200).collect();
    let batch = Batch::new(&users, SHAPE.n_users, &items, SHAPE.n_items).with_reductions().to_device(device);
    let mut values = vec![("logits", on_host(&network.scores(&batch)))];
    // A gradient like that of cross-entropy, whatever the loss: the learner's epoch below has the loss's own.
    let gradient = |scores: Tensor<2>| sigmoid(scores) - 0.3;
    let batch_loss = BatchLoss { gradient: &gradient, terms: 100.0, dropout_key: [0; 2], batch: 0 };
    let gradients = network.step(&batch, &batch_loss).gradients;
    for ((name, _), gradient) in network.weights().into_iter().zip(gradients) {
        let (Gradient::Whole(grad) | Gradient::Users(grad) | Gradient::Items(grad)) = gradient;
        values.push((name, on_host(&grad)));
    }
    values
}

#[test]
fn cpu_and_gpu_agree_on_logits_and_first_gradients() {
    let Some(gpu) = gpu("cpu_and_gpu_agree_on_logits_and_first_gradients") else { return };
    for config in architectures() {
        let (ours, theirs) = (first_step(&*config, &cpu().device), first_step(&*config, &gpu.device));
        for ((name, ours), (_, theirs)) in ours.into_iter().zip(theirs) {
            let size = ours.iter().fold(0.0f32, |size, value| size.max(value.abs()));
            let apart = ours.iter().zip(&theirs).fold(0.0f32, |apart, (a, b)| apart.max((a - b).abs()));
            assert!(
                size > 0.0 && apart <= 1e-4 * size,
                "{} {name}: {apart} apart at {size}",
                config.config().kind()
            );
        }
    }
}

#[test]
fn cpu_and_gpu_agree_on_the_first_epoch() {
    let Some(gpu) = gpu("cpu_and_gpu_agree_on_the_first_epoch") else { return };
    let train = ratings(SHAPE.n_users, SHAPE.n_items);
    let burn = NnTraining {
        optimizer: Optimizer::Sgd,
        learning_rate: 0.5,
        batch_size: 2048,
        ..NnTraining::default()
    };
    for config in architectures() {
        let loss = |device: &OpenDevice| {
            let mut learner = NnLearner::new(&train, &*config, &burn, 4, device).expect("a learner");
            learner.epoch(&Silent).expect("an epoch").total.expect("a loss")
        };
        let (ours, theirs) = (loss(&cpu()), loss(&gpu));
        assert!((ours - theirs).abs() <= 1e-3 * ours, "{}: {ours} and {theirs}", config.config().kind());
    }
}
