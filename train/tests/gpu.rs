//! CPU and GPU agree: the same learner on the same data, with another device.

mod planted;

use burn_tensor::activation::sigmoid;
use burn_tensor::{Device, Tensor};
use burnrec_data::testing::skipped;
use burnrec_models::batch::Batch;
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::loss::Loss;
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{GmfConfig, MlpConfig, NeumfConfig};
use burnrec_models::network::{Gradient, Objective, network};
use burnrec_models::params::{drawn, on_host};
use burnrec_models::{DeviceChoice, ModelConfig, Shape};
use burnrec_train::burn::BurnLearner;
use burnrec_train::config::Optimizer;
use burnrec_train::{BurnConfig, Learner, Silent};
use planted::ratings;

const SHAPE: Shape = Shape { n_users: 300, n_items: 200 };

/// The first adapter, be it of software; `None`, said aloud, where there is none.
fn gpu(test: &str) -> Option<OpenDevice> {
    match device::open(DeviceChoice::Gpu(None)) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            skipped("gpu", &format!("{test}: {error}"));
            None
        }
    }
}

fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).expect("the CPU")
}

/// Every model with every loss.
fn configs() -> Vec<ModelConfig> {
    let of_loss = |loss| {
        let init_std = 0.1;
        [
            ModelConfig::Mf(MfConfig { dim: 16, reg: 0.001, loss, ..MfConfig::default() }),
            ModelConfig::Gmf(GmfConfig { dim: 8, init_std, loss, ..GmfConfig::default() }),
            ModelConfig::Mlp(MlpConfig { dim: 8, init_std, loss, classes: 2, ..MlpConfig::default() }),
            ModelConfig::Neumf(NeumfConfig { dim: 8, init_std, loss, ..NeumfConfig::default() }),
        ]
    };
    [Loss::Bce, Loss::Bpr, Loss::Softmax, Loss::Mse].into_iter().flat_map(of_loss).collect()
}

/// Logits of a batch, and the gradient of each weight.
fn first_step(config: &ModelConfig, device: &Device) -> Vec<(&'static str, Vec<f32>)> {
    let network = network(config, SHAPE, -1.0, &mut drawn(9), device).expect("in range").expect("on Burn");
    let (rows, per_row) = (64, config.loss().expect("on Burn").1 + 1);
    let users: Vec<u32> = (0..rows).map(|k| k * 37 % 300).collect();
    let items: Vec<u32> = (0..rows * per_row as u32).map(|k| k * 53 % 200).collect();
    let batch = Batch::new(&users, SHAPE.n_users, &items, SHAPE.n_items).folded().to_device(device);
    let mut values = vec![("logits", on_host(&network.scores(&batch)))];
    // Slopes like those of cross-entropy, whatever the loss: the learner's epoch below has the loss's own.
    let slopes = |scores: Tensor<2>| sigmoid(scores) - 0.3;
    let objective = Objective { slopes: &slopes, terms: 100.0, dropout_seed: 0 };
    let gradients = network.step(&batch, &objective).gradients;
    for ((name, _), gradient) in network.weights().into_iter().zip(gradients) {
        let (Gradient::Whole(slopes) | Gradient::Users(slopes) | Gradient::Items(slopes)) = gradient;
        values.push((name, on_host(&slopes)));
    }
    values
}

#[test]
fn cpu_and_gpu_agree_on_logits_and_first_gradients() {
    let Some(gpu) = gpu("cpu_and_gpu_agree_on_logits_and_first_gradients") else { return };
    for config in configs() {
        let (ours, theirs) = (first_step(&config, &cpu().device), first_step(&config, &gpu.device));
        for ((name, ours), (_, theirs)) in ours.into_iter().zip(theirs) {
            let size = ours.iter().fold(0.0f32, |size, value| size.max(value.abs()));
            let apart = ours.iter().zip(&theirs).fold(0.0f32, |apart, (a, b)| apart.max((a - b).abs()));
            assert!(size > 0.0 && apart <= 1e-4 * size, "{} {name}: {apart} apart at {size}", config.name());
        }
    }
}

#[test]
fn cpu_and_gpu_agree_on_the_first_epoch() {
    let Some(gpu) = gpu("cpu_and_gpu_agree_on_the_first_epoch") else { return };
    let train = ratings(SHAPE.n_users, SHAPE.n_items);
    let burn = BurnConfig {
        optimizer: Optimizer::Sgd,
        learning_rate: 0.5,
        batch_size: 2048,
        ..BurnConfig::default()
    };
    for config in configs() {
        let loss = |device: &OpenDevice| {
            let mut learner = BurnLearner::new(&train, &config, &burn, 4, device).expect("a learner");
            learner.epoch(&Silent).expect("an epoch").total.expect("a loss")
        };
        let (ours, theirs) = (loss(&cpu()), loss(&gpu));
        assert!((ours - theirs).abs() <= 1e-3 * ours, "{}: {ours} and {theirs}", config.name());
    }
}
