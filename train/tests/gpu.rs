//! CPU and GPU agree: the same learner on the same data, with another device.

mod planted;

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burnrec_data::testing::skipped;
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::mf::MfConfig;
use burnrec_models::network::network;
use burnrec_models::neumf::NeumfConfig;
use burnrec_models::params::on_host;
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

fn configs() -> [ModelConfig; 2] {
    [
        ModelConfig::Mf(MfConfig { dim: 16, reg: 0.001, ..MfConfig::default() }),
        ModelConfig::Neumf(NeumfConfig { dim: 8, init_std: 0.1, ..NeumfConfig::default() }),
    ]
}

/// Logits of a batch, and the gradient of each weight.
fn first_step(config: &ModelConfig, device: &Device) -> Vec<(&'static str, Vec<f32>)> {
    let device = device.clone().autodiff();
    let network = network(config, SHAPE, -1.0, 9, &device).expect("in range").expect("on Burn");
    let (rows, per_row) = (64, 5);
    let users: Vec<i32> = (0..rows).map(|k| k * 37 % 300).collect();
    let items: Vec<i32> = (0..rows * per_row).map(|k| k * 53 % 200).collect();
    let users: Tensor<1, Int> = Tensor::from_data(TensorData::new(users, [rows]), &device);
    let items: Tensor<2, Int> = Tensor::from_data(TensorData::new(items, [rows, per_row]), &device);
    let scores = network.forward(users, items).scores;
    let signs: Vec<f32> = (0..rows * per_row).map(|k| if k % per_row == 0 { 1.0 } else { -1.0 }).collect();
    let signs: Tensor<2> = Tensor::from_data(TensorData::new(signs, [rows, per_row]), &device);
    let gradients = log_sigmoid(scores.clone() * signs).sum().neg().backward();
    let mut values = vec![("logits", on_host(&scores))];
    for (name, param) in network.params() {
        values.push((name, on_host(&param.val().grad(&gradients).expect("a gradient"))));
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
