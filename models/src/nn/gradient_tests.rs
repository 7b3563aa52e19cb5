//! Every gradient of every network equals what autodiff makes of the plain formula: embeddings looked up for each
//! sample, concatenated, and sent through whole layers.

use std::cell::Cell;

use burn_tensor::activation::{log_sigmoid, sigmoid};
use burn_tensor::{Device, Tensor, TensorData};

use super::autodiff::Tracked;
use super::batch::Batch;
use super::network::{Architecture, BatchLoss, Gradient, Network, Step};
use super::params::{drawn, on_host};
use crate::Shape;
use crate::mf::MfConfig;
use crate::ncf::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig};

const SHAPE: Shape = Shape { n_users: 30, n_items: 50 };
const PER_ROW: usize = 5;
const ROWS: usize = 40;

fn architectures() -> Vec<Box<dyn Architecture>> {
    let (init_std, dim) = (0.5, 6);
    let two_classes =
        MlpConfig { layers: vec![9, 7], user_dim: Some(5), classes: 2, init_std, ..MlpConfig::default() };
    let deep = NeumfConfig { dim, layers: vec![8, 7, 6, 5, 4], init_std, ..NeumfConfig::default() };
    vec![
        Box::new(MfConfig { dim, init_std, ..MfConfig::default() }),
        Box::new(MfConfig { dim, init_std, reg: 0.3, ..MfConfig::default() }),
        Box::new(NcfSpec::from(&GmfConfig { dim, init_std, ..GmfConfig::default() })),
        Box::new(NcfSpec::from(&MlpConfig { dim, init_std, ..MlpConfig::default() })),
        Box::new(NcfSpec::from(&two_classes)),
        Box::new(NcfSpec::from(&NeumfConfig { dim, init_std, ..NeumfConfig::default() })),
        Box::new(NcfSpec::from(&deep)),
    ]
}

/// Returns the user of each row.
fn users() -> Vec<u32> {
    (0..ROWS as u32).map(|row| row * row % SHAPE.n_users as u32).collect()
}

/// Returns the item of each sample.
fn items() -> Vec<u32> {
    (0..(ROWS * PER_ROW) as u32).map(|sample| sample * sample % SHAPE.n_items as u32).collect()
}

/// Returns 1 for the first sample of a row, -1 for the others: `[samples, 1]`.
fn signs() -> Vec<f32> {
    (0..ROWS * PER_ROW).map(|sample| if sample % PER_ROW == 0 { 1.0 } else { -1.0 }).collect()
}

/// Returns the mean cross-entropy of the plain formula, and its gradient by each weight as autodiff has it.
fn plain(architecture: &dyn Architecture, network: &dyn Network) -> (f32, Vec<Vec<f32>>) {
    let users: Vec<u32> = users().into_iter().flat_map(|user| [user; PER_ROW]).collect();
    let items = items();
    let weights: Vec<(&str, Tracked)> = network
        .weights()
        .into_iter()
        .map(|(name, weight)| (name, Tracked::variable(&on_host(weight), weight.dims())))
        .collect();
    let weight = |name: &str| weights.iter().find(|(other, _)| *other == name).map(|(_, weight)| weight);
    let rows = |name: &str, index: &[u32]| weight(name).map(|table| table.select(index));
    let mut penalty = None;
    let scores = match architecture.config().get::<MfConfig>() {
        Some(mf) => {
            let [p, q, p_bias, q_bias] = [
                ("user_embedding", &users),
                ("item_embedding", &items),
                ("user_bias", &users),
                ("item_bias", &items),
            ]
            .map(|(name, index)| rows(name, index).expect("a weight"));
            let squares = [&p, &q, &p_bias, &q_bias].map(|rows| rows.square().sum());
            penalty = Some(squares.into_iter().reduce(|a, b| a + b).expect("four") * mf.reg);
            (p * q).sum_rows() + p_bias + q_bias + 0.25
        }
        None => {
            let mut last = Vec::new();
            if let (Some(p), Some(q)) = (rows("user_gmf", &users), rows("item_gmf", &items)) {
                last.push(p * q);
            }
            if let (Some(p), Some(q)) = (rows("user_mlp", &users), rows("item_mlp", &items)) {
                let mut x = Tracked::concat(vec![p, q]);
                for layer in 0.. {
                    let Some(kernel) = weight(&format!("tower_{layer}_weight")) else { break };
                    let bias = weight(&format!("tower_{layer}_bias")).expect("each layer has one");
                    x = (x.matmul(kernel) + bias.clone()).relu();
                }
                last.push(x);
            }
            let out = Tracked::concat(last).matmul(weight("output_weight").expect("one"))
                + weight("output_bias").expect("one").clone();
            match out.dims()[1] {
                1 => out,
                _ => out.columns(1..2) - out.columns(0..1),
            }
        }
    };
    let signs = Tracked::constant(&signs(), [ROWS * PER_ROW, 1]);
    let mut loss = -(scores * signs).log_sigmoid().sum();
    if let Some(penalty) = penalty {
        loss = loss + penalty;
    }
    let loss = loss * (1.0 / (ROWS * PER_ROW) as f32);
    let gradients = loss.backward();
    let of = |(name, weight): &(&str, Tracked)| {
        weight.gradient(&gradients).unwrap_or_else(|| panic!("no gradient by {name}"))
    };
    (loss.values()[0], weights.iter().map(of).collect())
}

/// Returns the loss and its gradients as the network computes them.
fn ours(network: &dyn Network) -> (f32, Vec<Vec<f32>>) {
    let batch = Batch::new(&users(), SHAPE.n_users, &items(), SHAPE.n_items);
    let samples = (ROWS * PER_ROW) as f32;
    let loss = Cell::new(0.0);
    let gradient = |scores: Tensor<2>| {
        let signs = TensorData::new(signs(), [ROWS * PER_ROW, 1]);
        let signs = Tensor::<2>::from_data(signs, &Device::flex());
        loss.set(on_host(&log_sigmoid(scores.clone() * signs.clone()).sum().neg())[0]);
        sigmoid(scores * signs.clone().neg()) * signs.neg() / samples
    };
    let batch_loss = BatchLoss { gradient: &gradient, terms: samples, dropout_key: [0; 2], batch: 0 };
    let Step { gradients, penalty } = network.step(&batch, &batch_loss);
    let penalty = penalty.map_or(0.0, |penalty| on_host(&penalty)[0]);
    let whole = |((_, weight), gradient): ((&str, &Tensor<2>), &Gradient)| {
        let [rows, width] = weight.dims();
        let (grad, lookup) = match gradient {
            Gradient::Whole(grad) => return on_host(grad),
            Gradient::Users(grad) => (on_host(grad), &batch.users),
            Gradient::Items(grad) => (on_host(grad), &batch.items),
        };
        let mut whole = vec![0.0; rows * width];
        for (&row, grad) in lookup.unique.iter().zip(grad.chunks(width)) {
            whole[row as usize * width..][..width].copy_from_slice(grad);
        }
        whole
    };
    ((loss.get() + penalty) / samples, network.weights().into_iter().zip(&gradients).map(whole).collect())
}

#[test]
fn gradients_are_those_of_the_plain_formula() {
    for architecture in architectures() {
        let network =
            architecture.network(SHAPE, 0.25, &mut drawn(3), &Device::flex()).expect("settings in range");
        let shapes: Vec<_> = network.weights().iter().map(|(name, weight)| (*name, weight.dims())).collect();
        assert_eq!(architecture.weight_shapes(SHAPE), shapes);
        let ((loss, ours), (plain_loss, plain)) = (ours(&*network), plain(&*architecture, &*network));
        assert!((loss - plain_loss).abs() < 1e-5, "{architecture:?}: {loss} and {plain_loss}");
        for (((name, _), ours), plain) in network.weights().iter().zip(&ours).zip(&plain) {
            assert_eq!(ours.len(), plain.len(), "{architecture:?} {name}");
            assert!(plain.iter().any(|gradient| *gradient != 0.0), "{architecture:?} {name}");
            for (ours, plain) in ours.iter().zip(plain) {
                assert!((ours - plain).abs() < 1e-5, "{architecture:?} {name}: {ours} and {plain}");
            }
        }
    }
}
