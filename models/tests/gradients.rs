//! Every gradient of every network equals what autodiff makes of the plain formula: embeddings looked up for each
//! sample, concatenated, and sent through whole layers.

use burn_tensor::activation::{log_sigmoid, relu, sigmoid};
use burn_tensor::{Device, Int, Tensor, TensorData};
use burnrec_models::batch::Batch;
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{GmfConfig, MlpConfig, NeumfConfig};
use burnrec_models::network::{Gradient, Network, Objective, Step, network};
use burnrec_models::params::{drawn, on_host};
use burnrec_models::weights::weight_shapes;
use burnrec_models::{ModelConfig, Shape};

const SHAPE: Shape = Shape { n_users: 30, n_items: 50 };
const PER_ROW: usize = 5;
const ROWS: usize = 40;

fn configs() -> Vec<ModelConfig> {
    let (init_std, dim) = (0.5, 6);
    vec![
        ModelConfig::Mf(MfConfig { dim, init_std, ..MfConfig::default() }),
        ModelConfig::Mf(MfConfig { dim, init_std, reg: 0.3, ..MfConfig::default() }),
        ModelConfig::Gmf(GmfConfig { dim, init_std, ..GmfConfig::default() }),
        ModelConfig::Mlp(MlpConfig { dim, init_std, ..MlpConfig::default() }),
        ModelConfig::Mlp(MlpConfig {
            layers: vec![9, 7],
            user_dim: Some(5),
            classes: 2,
            init_std,
            ..MlpConfig::default()
        }),
        ModelConfig::Neumf(NeumfConfig { dim, init_std, ..NeumfConfig::default() }),
        ModelConfig::Neumf(NeumfConfig {
            dim,
            layers: vec![8, 7, 6, 5, 4],
            init_std,
            ..NeumfConfig::default()
        }),
    ]
}

fn users() -> Vec<u32> {
    (0..ROWS as u32).map(|row| row * row % SHAPE.n_users as u32).collect()
}

fn items() -> Vec<u32> {
    (0..(ROWS * PER_ROW) as u32).map(|sample| sample * sample % SHAPE.n_items as u32).collect()
}

/// 1 for the first sample of a row, -1 for the others: `[samples, 1]`.
fn signs(device: &Device) -> Tensor<2> {
    let signs = (0..ROWS * PER_ROW).map(|sample| if sample % PER_ROW == 0 { 1.0f32 } else { -1.0 });
    Tensor::from_data(TensorData::new(signs.collect::<Vec<_>>(), [ROWS * PER_ROW, 1]), device)
}

/// The mean cross-entropy, and the slopes by each weight as autodiff has them.
fn plain(config: &ModelConfig, network: &dyn Network) -> (f32, Vec<Vec<f32>>) {
    let device = Device::flex().autodiff();
    let index = |rows: Vec<u32>| -> Tensor<1, Int> {
        let rows: Vec<i32> = rows.into_iter().map(|row| row as i32).collect();
        let n = rows.len();
        Tensor::from_data(TensorData::new(rows, [n]), &device)
    };
    let users = index(users().into_iter().flat_map(|user| [user; PER_ROW]).collect());
    let items = index(items());
    let weights: Vec<(&str, Tensor<2>)> = network
        .weights()
        .into_iter()
        .map(|(name, weight)| (name, weight.clone().autodiff().require_grad()))
        .collect();
    let weight =
        |name: &str| weights.iter().find(|(other, _)| *other == name).map(|(_, weight)| weight.clone());
    let rows = |name: &str, index: &Tensor<1, Int>| weight(name).map(|table| table.select(0, index.clone()));
    let mut penalty = None;
    let scores = match config {
        ModelConfig::Mf(mf) => {
            let rows = [
                ("user_embedding", &users),
                ("item_embedding", &items),
                ("user_bias", &users),
                ("item_bias", &items),
            ];
            let [p, q, p_bias, q_bias] =
                rows.map(|(name, index)| weight(name).expect("a weight").select(0, index.clone()));
            penalty = Some(
                [&p, &q, &p_bias, &q_bias]
                    .map(|rows| rows.clone().square().sum())
                    .into_iter()
                    .reduce(|a, b| a + b)
                    .expect("four")
                    * mf.reg,
            );
            (p * q).sum_dim(1) + p_bias + q_bias + 0.25
        }
        _ => {
            let mut last = Vec::new();
            if let (Some(p), Some(q)) = (rows("user_gmf", &users), rows("item_gmf", &items)) {
                last.push(p * q);
            }
            if let (Some(p), Some(q)) = (rows("user_mlp", &users), rows("item_mlp", &items)) {
                let mut x = Tensor::cat(vec![p, q], 1);
                for layer in 0.. {
                    let Some(kernel) = weight(&format!("tower_{layer}_weight")) else { break };
                    let bias = weight(&format!("tower_{layer}_bias")).expect("each layer has one");
                    x = relu(x.matmul(kernel) + bias);
                }
                last.push(x);
            }
            let out = Tensor::cat(last, 1).matmul(weight("output_weight").expect("one"))
                + weight("output_bias").expect("one");
            match out.dims()[1] {
                1 => out,
                _ => out.clone().slice_dim(1, 1..2) - out.slice_dim(1, 0..1),
            }
        }
    };
    let mut loss = log_sigmoid(scores * signs(&device)).sum().neg();
    if let Some(penalty) = penalty {
        loss = loss + penalty;
    }
    let loss = loss / (ROWS * PER_ROW) as f32;
    let gradients = loss.backward();
    let of = |(name, weight): &(&str, Tensor<2>)| {
        on_host(&weight.grad(&gradients).unwrap_or_else(|| panic!("{name}")))
    };
    (on_host(&loss)[0], weights.iter().map(of).collect())
}

/// The same of our own.
fn ours(network: &dyn Network) -> (f32, Vec<Vec<f32>>) {
    let batch = Batch::new(&users(), SHAPE.n_users, &items(), SHAPE.n_items);
    let samples = (ROWS * PER_ROW) as f32;
    let loss = std::cell::Cell::new(0.0);
    let slopes = |scores: Tensor<2>| {
        let signs = signs(&Device::flex());
        loss.set(on_host(&log_sigmoid(scores.clone() * signs.clone()).sum().neg())[0]);
        sigmoid(scores * signs.clone().neg()) * signs.neg() / samples
    };
    let objective = Objective { slopes: &slopes, terms: samples, dropout_seed: 0 };
    let Step { gradients, penalty } = network.step(&batch, &objective);
    let penalty = penalty.map_or(0.0, |penalty| on_host(&penalty)[0]);
    let whole = |((_, weight), gradient): ((&str, &Tensor<2>), &Gradient)| {
        let [rows, width] = weight.dims();
        let (slopes, side) = match gradient {
            Gradient::Whole(slopes) => return on_host(slopes),
            Gradient::Users(slopes) => (on_host(slopes), &batch.users),
            Gradient::Items(slopes) => (on_host(slopes), &batch.items),
        };
        let mut whole = vec![0.0; rows * width];
        for (&row, slopes) in side.rows.iter().zip(slopes.chunks(width)) {
            whole[row as usize * width..][..width].copy_from_slice(slopes);
        }
        whole
    };
    ((loss.get() + penalty) / samples, network.weights().into_iter().zip(&gradients).map(whole).collect())
}

#[test]
fn gradients_are_those_of_the_plain_formula() {
    for config in configs() {
        let network =
            network(&config, SHAPE, 0.25, &mut drawn(3), &Device::flex()).expect("valid").expect("on Burn");
        let shapes: Vec<_> = network.weights().iter().map(|(name, weight)| (*name, weight.dims())).collect();
        assert_eq!(weight_shapes(&config, SHAPE), shapes);
        let ((loss, ours), (plain_loss, plain)) = (ours(&*network), plain(&config, &*network));
        assert!((loss - plain_loss).abs() < 1e-5, "{config:?}: {loss} and {plain_loss}");
        for (((name, _), ours), plain) in network.weights().iter().zip(&ours).zip(&plain) {
            assert!(plain.iter().any(|slope| *slope != 0.0), "{config:?} {name}");
            for (ours, plain) in ours.iter().zip(plain) {
                assert!((ours - plain).abs() < 1e-5, "{config:?} {name}: {ours} and {plain}");
            }
        }
    }
}
