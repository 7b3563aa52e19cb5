//! The gradients of both ways to compute them, on the host and by Burn's operations, equal what autodiff makes of the plain
//! formula: sequence by sequence, with whole matrices of scores.

use burn_tensor::{Device, Tensor, TensorData};

use super::batches::{Batch, Draws};
use super::learner::host_gradients;
use super::weights::Param;
use super::{SasrecConfig, host, portable};
use crate::nn::autodiff::Tracked;
use crate::nn::kernels::Mask;
use crate::nn::params::{Init, drawn};

const N_ITEMS: usize = 13;

fn config(heads: usize) -> SasrecConfig {
    SasrecConfig { dim: 6, layers: 2, heads, length: 7, dropout: 0.3, ..SasrecConfig::default() }
}

fn batch() -> Batch {
    Batch {
        items: vec![1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 11, 12, 3],
        targets: vec![2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 3, 6],
        lengths: vec![5, 7, 1],
    }
}

/// Weights of which none is special.
fn weights(config: &SasrecConfig) -> Vec<Vec<f32>> {
    let mut draw = drawn(5);
    let mut of = |weight: Param| {
        let mut values =
            draw(weight.name(), weight.shape(config, N_ITEMS), Init::Normal { std: 0.4 }).expect("drawn");
        if let Init::Constant(value) = weight.init(config) {
            values.iter_mut().for_each(|weight| *weight += value);
        }
        values
    };
    Param::ALL.into_iter().map(&mut of).collect()
}

/// The masks of a batch, and drawn candidates some of which are targets.
fn draws(config: &SasrecConfig, sampled: bool) -> Draws {
    let mask = |place: usize| Mask::new(config.dropout, [3, 4], 2, place as u32);
    let masks = (0..host::dropout_places(config.layers)).map(mask).collect();
    Draws { masks, candidates: sampled.then(|| vec![3, 5, 7, 12, 1]) }
}

fn tensors(config: &SasrecConfig, weights: &[Vec<f32>]) -> Vec<Tensor<2>> {
    let tensor = |(weight, values): (Param, &Vec<f32>)| {
        Tensor::from_data(TensorData::new(values.clone(), weight.shape(config, N_ITEMS)), &Device::flex())
    };
    Param::ALL.into_iter().zip(weights).map(tensor).collect()
}

/// The plain formula, with the weights as variables.
struct Plain<'a> {
    config: &'a SasrecConfig,
    weights: Vec<Tracked>,
    masks: Vec<Mask>,
}

impl Plain<'_> {
    fn layer(&self, weight: Param, layer: usize) -> Tracked {
        let all = &self.weights[weight as usize];
        let rows = weight.of_layer(all.dims()[0], self.config.layers, layer);
        all.select(&rows.map(|row| row as u32).collect::<Vec<u32>>())
    }

    /// Multiplies rows from `first` on by their dropout factors.
    fn dropped(&self, x: Tracked, place: usize, first: usize) -> Tracked {
        let [rows, cols] = x.dims();
        let units = first * cols..(first + rows) * cols;
        let factors: Vec<f32> = units.map(|unit| self.masks[place].factor(unit as u32)).collect();
        x * Tracked::constant(&factors, [rows, cols])
    }

    fn norm(&self, x: &Tracked, [scale, shift]: [Param; 2], layer: usize) -> Tracked {
        let [_, cols] = x.dims();
        let centred = x.clone() - x.sum_rows() * (1.0 / cols as f32);
        let variance = centred.square().sum_rows() * (1.0 / cols as f32);
        let factor = ((variance + host::EPSILON).log() * -0.5).exp();
        centred * factor * self.layer(scale, layer) + self.layer(shift, layer)
    }

    /// Returns the states of a sequence whose first row is the row `first` of the batch.
    fn states(&self, items: &[u32], first: usize) -> Tracked {
        let SasrecConfig { dim, heads, length, layers, .. } = *self.config;
        let n = items.len();
        let places: Vec<u32> = ((length - n) as u32..length as u32).collect();
        let embedded = self.weights[Param::ItemEmbedding as usize].select(items) * (dim as f32).sqrt();
        let x = embedded + self.weights[Param::PositionEmbedding as usize].select(&places);
        let mut x = self.dropped(x, 0, first);
        let never = |at: usize| if at % n > at / n { -1e30 } else { 0.0 };
        let causal = Tracked::constant(&(0..n * n).map(never).collect::<Vec<f32>>(), [n, n]);
        for layer in 0..layers {
            let normed = self.norm(&x, [Param::AttentionScale, Param::AttentionShift], layer);
            let qkv = normed.matmul(&self.layer(Param::AttentionWeight, layer))
                + self.layer(Param::AttentionBias, layer);
            let width = dim / heads;
            let head = |head: usize| {
                let part = |k: usize| qkv.columns(k * dim + head * width..k * dim + (head + 1) * width);
                let scores = part(0).matmul(&part(1).transposed()) * (1.0 / (width as f32).sqrt());
                let powers = (scores + causal.clone()).exp();
                let sums = powers.sum_rows();
                (powers * (-sums.log()).exp()).matmul(&part(2))
            };
            let out = Tracked::concat((0..heads).map(head).collect());
            x = x + self.dropped(out, 1 + 2 * layer, first);
            let normed = self.norm(&x, [Param::HiddenScale, Param::HiddenShift], layer);
            let hidden =
                normed.matmul(&self.layer(Param::HiddenWeight, layer)) + self.layer(Param::HiddenBias, layer);
            let out = hidden.relu().matmul(&self.layer(Param::OutputWeight, layer))
                + self.layer(Param::OutputBias, layer);
            x = x + self.dropped(out, 2 + 2 * layer, first);
        }
        self.norm(&x, [Param::FinalScale, Param::FinalShift], 0)
    }

    /// Returns the mean loss, and its gradients by all weights.
    fn gradients(&self, batch: &Batch, candidates: Option<&[u32]>) -> (f32, Vec<Vec<f32>>) {
        let items = &self.weights[Param::ItemEmbedding as usize];
        let (mut loss, mut first) = (Tracked::constant(&[0.0], [1, 1]), 0);
        for &length in &batch.lengths {
            let states = self.states(&batch.items[first..first + length], first);
            for row in 0..length {
                let target = batch.targets[first + row];
                let mut against: Vec<u32> =
                    candidates.map_or_else(|| (0..N_ITEMS as u32).collect(), <[u32]>::to_vec);
                if !against.contains(&target) {
                    against.push(target);
                }
                let state = states.select(&[row as u32]);
                let scores = state.matmul(&items.select(&against).transposed());
                let score = state.matmul(&items.select(&[target]).transposed());
                loss = loss + scores.exp().sum_rows().log() - score;
            }
            first += length;
        }
        let loss = loss * (1.0 / batch.items.len() as f32);
        let gradients = loss.backward();
        let by = |weight: &Tracked| weight.gradient(&gradients).expect("every weight counts");
        (loss.values()[0], self.weights.iter().map(by).collect())
    }
}

/// Checks gradients, by name, against those of the plain formula.
fn are_close(what: &str, ours: &[Vec<f32>], plain: &[Vec<f32>]) {
    for ((weight, ours), plain) in Param::ALL.into_iter().zip(ours).zip(plain) {
        assert_eq!(ours.len(), plain.len(), "{what}: {weight:?}");
        assert!(plain.iter().any(|gradient| *gradient != 0.0), "{what}: {weight:?}");
        for (ours, plain) in ours.iter().zip(plain) {
            assert!((ours - plain).abs() < 2e-5, "{what}: {weight:?}: {ours} and {plain}");
        }
    }
}

#[test]
fn gradients_are_those_of_the_plain_formula() {
    for (heads, sampled) in [(1, false), (2, false), (3, true)] {
        let (config, batch) = (config(heads), batch());
        let (weights, draws) = (weights(&config), draws(&config, sampled));
        let of =
            |(weight, values): (Param, &Vec<f32>)| Tracked::variable(values, weight.shape(&config, N_ITEMS));
        let plain = Plain {
            config: &config,
            weights: Param::ALL.into_iter().zip(&weights).map(of).collect(),
            masks: draws.masks.clone().expect("units are dropped"),
        };
        let (loss, plain) = plain.gradients(&batch, draws.candidates.as_deref());
        let tensors = tensors(&config, &weights);
        let n = batch.items.len() as f64;
        let (of_host, by_host) = host_gradients(&config, &tensors, &batch, &draws);
        let (of_burn, by_burn) = portable::gradients(&config, &tensors, &batch, &draws);
        for found in [of_host / n, of_burn / n] {
            assert!((found - f64::from(loss)).abs() < 1e-5, "{heads} heads: {found} and {loss}");
        }
        are_close("on the host", &by_host, &plain);
        let by_burn: Vec<Vec<f32>> = by_burn.iter().map(crate::nn::params::on_host).collect();
        are_close("by Burn's operations", &by_burn, &plain);
    }
}
