//! The network on the host: a piece of packed sequences goes through all layers on the calling thread, and back.

mod attention;
#[cfg(feature = "train")]
mod backward;
mod norm;
mod rows;
#[cfg(feature = "train")]
mod softmax;

use std::ops::Range;

use rayon::prelude::*;

use self::attention::Attention;
use self::norm::Norm;
use super::SasrecConfig;
use super::matrix::{View, ViewMut};
use super::weights::{Param, Values};
use crate::nn::kernels::Mask;
use crate::simd::vectorised;

#[cfg(feature = "train")]
pub use self::backward::{Piece, gradients};
#[cfg(feature = "train")]
pub use self::norm::EPSILON;
#[cfg(feature = "train")]
pub use self::softmax::Candidates;

/// About how many rows a piece has: enough for products to be fast, few enough for its values to stay in a cache.
pub const PIECE_ROWS: usize = 512;

/// Sequences, one after the other.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    /// `[rows]`: the item of each row, from the oldest of a sequence to its newest.
    pub items: &'a [u32],
    /// How many rows each sequence has, at least one.
    pub lengths: &'a [usize],
}

/// What training adds to the network: where its rows stand in the batch, for their dropout masks.
#[derive(Clone, Copy)]
pub struct Dropout<'a> {
    /// The number of the first row in the batch.
    pub first_row: usize,
    /// The masks of the input and, for each layer, of attention and of the output; none where nothing is dropped.
    pub masks: Option<&'a [Mask]>,
}

impl Dropout<'_> {
    /// Nothing is dropped.
    pub const NONE: Self = Self { first_row: 0, masks: None };

    /// Returns the mask of a place in the network.
    fn mask(&self, place: usize) -> Option<Mask> {
        self.masks.map(|masks| masks[place])
    }
}

/// The places in the network where units are dropped.
pub fn dropout_places(layers: usize) -> usize {
    1 + 2 * layers
}

/// The network with its weights.
#[derive(Clone, Copy)]
pub struct Encoder<'a> {
    config: &'a SasrecConfig,
    values: Values<'a>,
}

/// What the backward pass needs of a layer's forward pass.
struct LayerStates {
    norm: Norm,
    /// `[rows, 3 * dim]`: queries, keys and values.
    qkv: Vec<f32>,
    attention: Attention,
    hidden_norm: Norm,
    /// `[rows, dim]`: the hidden layer's output.
    hidden: Vec<f32>,
}

impl<'a> Encoder<'a> {
    /// Puts weights and settings together.
    pub fn new(config: &'a SasrecConfig, values: Values<'a>) -> Self {
        Self { config, values }
    }

    /// Returns the state of the newest row of each sequence, `[sequences, dim]`.
    pub fn newest_states(&self, packed: Packed<'_>) -> Vec<f32> {
        let (dim, last) = (self.config.dim, self.config.layers - 1);
        let mut x = self.embedded(packed, Dropout::NONE);
        (0..last).for_each(|layer| _ = self.forward(layer, &mut x, packed, Dropout::NONE));
        // Of the last layer only the newest rows' outputs are read: their queries, but all keys and values.
        let (_, normed) = self.normed(&x, [Param::AttentionScale, Param::AttentionShift], last);
        let newest: Vec<usize> = ends(packed.lengths).map(|end| end - 1).collect();
        let gathered = |values: &[f32]| -> Vec<f32> {
            newest.iter().flat_map(|&row| &values[row * dim..(row + 1) * dim]).copied().collect()
        };
        let weight = View::new(self.values.layer(Param::AttentionWeight, last), 3 * dim);
        let (query_bias, bias) = self.values.layer(Param::AttentionBias, last).split_at(dim);
        let queries = dense(&gathered(&normed), dim, weight.part(0..dim, 0..dim), query_bias);
        let keys_values = dense(&normed, dim, weight.part(0..dim, dim..3 * dim), bias);
        let mut x = gathered(&x);
        attention::add_newest(&mut x, &queries, &keys_values, packed.lengths, self.config);
        self.hidden(last, &mut x, Dropout::NONE);
        self.normed(&x, [Param::FinalScale, Param::FinalShift], 0).1
    }

    /// Returns the input of the first layer, `[rows, dim]`.
    fn embedded(&self, packed: Packed<'_>, dropout: Dropout<'_>) -> Vec<f32> {
        let (dim, length) = (self.config.dim, self.config.length);
        let (items, places) =
            (self.values.all(Param::ItemEmbedding), self.values.all(Param::PositionEmbedding));
        let mut x = vec![0.0; packed.items.len() * dim];
        let factor = (dim as f32).sqrt();
        vectorised(|| {
            let rows = packed.items.iter().zip(places_of(packed.lengths, length));
            for (out, (&item, place)) in x.chunks_exact_mut(dim).zip(rows) {
                let item = &items[item as usize * dim..][..dim];
                let place = &places[place * dim..][..dim];
                out.iter_mut().zip(item).zip(place).for_each(|((out, i), p)| *out = factor * i + p);
            }
        });
        if let Some(mask) = dropout.mask(0) {
            drop_units(&mut x, mask, dropout.first_row * dim);
        }
        x
    }

    /// Sends rows `[rows, dim]` through a layer.
    fn forward(&self, layer: usize, x: &mut [f32], packed: Packed<'_>, dropout: Dropout<'_>) -> LayerStates {
        let dim = self.config.dim;
        let (norm, normed) = self.normed(x, [Param::AttentionScale, Param::AttentionShift], layer);
        let weight = View::new(self.values.layer(Param::AttentionWeight, layer), 3 * dim);
        let qkv = dense(&normed, dim, weight, self.values.layer(Param::AttentionBias, layer));
        let (attention, mut out) = Attention::forward(&qkv, packed.lengths, self.config);
        if let Some(mask) = dropout.mask(1 + 2 * layer) {
            drop_units(&mut out, mask, dropout.first_row * dim);
        }
        add(x, &out);
        let (hidden_norm, hidden) = self.hidden(layer, x, dropout);
        LayerStates { norm, qkv, attention, hidden_norm, hidden }
    }

    /// Sends rows through the two layers after attention.
    fn hidden(&self, layer: usize, x: &mut [f32], dropout: Dropout<'_>) -> (Norm, Vec<f32>) {
        let dim = self.config.dim;
        let (norm, normed) = self.normed(x, [Param::HiddenScale, Param::HiddenShift], layer);
        let of = |weight| View::new(self.values.layer(weight, layer), dim);
        let mut hidden =
            dense(&normed, dim, of(Param::HiddenWeight), self.values.layer(Param::HiddenBias, layer));
        vectorised(|| hidden.iter_mut().for_each(|unit| *unit = unit.max(0.0)));
        let mut out =
            dense(&hidden, dim, of(Param::OutputWeight), self.values.layer(Param::OutputBias, layer));
        if let Some(mask) = dropout.mask(2 + 2 * layer) {
            drop_units(&mut out, mask, dropout.first_row * dim);
        }
        add(x, &out);
        (norm, hidden)
    }

    /// Returns the norm of rows, and its output.
    fn normed(&self, x: &[f32], [scale, shift]: [Param; 2], layer: usize) -> (Norm, Vec<f32>) {
        let norm = Norm::of(x, self.config.dim);
        let out = norm.output(self.values.layer(scale, layer), self.values.layer(shift, layer));
        (norm, out)
    }
}

/// Returns the states of the newest rows of all sequences, `[sequences, dim]`, computed piece by piece by all threads.
/// Each list has the items of a sequence, at least one.
pub fn states(encoder: Encoder<'_>, lists: &[&[u32]]) -> Vec<f32> {
    let pieces = pieces(lists.iter().map(|items| items.len()));
    let of_piece = |piece: &Range<usize>| {
        let lists = &lists[piece.clone()];
        let lengths: Vec<usize> = lists.iter().map(|items| items.len()).collect();
        encoder.newest_states(Packed { items: &lists.concat(), lengths: &lengths })
    };
    pieces.par_iter().map(of_piece).collect::<Vec<_>>().concat()
}

/// Cuts sequences of these lengths into pieces of at most [`PIECE_ROWS`] rows, but at least one sequence.
pub fn pieces(lengths: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let (mut pieces, mut start, mut end, mut rows) = (Vec::new(), 0, 0, 0);
    for length in lengths {
        if end > start && rows + length > PIECE_ROWS {
            pieces.push(start..end);
            (start, rows) = (end, 0);
        }
        (end, rows) = (end + 1, rows + length);
    }
    if end > start {
        pieces.push(start..end);
    }
    pieces
}

/// Returns where each sequence ends.
fn ends(lengths: &[usize]) -> impl Iterator<Item = usize> {
    lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    })
}

/// Returns the place of each row, counted so that the newest row of a sequence has the last of `length`.
fn places_of(lengths: &[usize], length: usize) -> impl Iterator<Item = usize> {
    lengths.iter().flat_map(move |&n| length - n..length)
}

/// Returns `x weight + bias` for each row of `x`, `[rows, dim]`.
fn dense(x: &[f32], dim: usize, weight: View<'_>, bias: &[f32]) -> Vec<f32> {
    let mut out: Vec<f32> = bias.repeat(x.len() / dim);
    ViewMut::new(&mut out, bias.len()).add(View::new(x, dim), weight, 1.0);
    out
}

/// Multiplies by a dropout mask; `first` is the index of the first unit in the batch.
fn drop_units(x: &mut [f32], mask: Mask, first: usize) {
    vectorised(|| {
        (first as u32..).zip(x).for_each(|(index, unit)| *unit *= mask.factor(index));
    });
}

/// Adds to each value.
pub fn add(x: &mut [f32], more: &[f32]) {
    vectorised(|| x.iter_mut().zip(more).for_each(|(x, more)| *x += more));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::params::{Init, drawn};

    const N_ITEMS: usize = 300;

    fn config() -> SasrecConfig {
        SasrecConfig { dim: 12, layers: 2, heads: 2, length: 150, ..SasrecConfig::default() }
    }

    fn weights(config: &SasrecConfig) -> Vec<Vec<f32>> {
        let mut draw = drawn(3);
        let mut of = |weight: Param| {
            draw(weight.name(), weight.shape(config, N_ITEMS), Init::Normal { std: 0.5 }).expect("drawn")
        };
        Param::ALL.into_iter().map(&mut of).collect()
    }

    fn items(n: usize, salt: usize) -> Vec<u32> {
        (0..n).map(|k| ((k * k + salt * 31) % N_ITEMS) as u32).collect()
    }

    #[test]
    fn a_row_reads_no_later_row_and_no_other_sequence() {
        let config = config();
        let weights = weights(&config);
        let encoder = Encoder::new(&config, Values::new(&config, |at| &weights[at]));
        let lengths = [100, 1, 150];
        let all = |items: &[u32]| {
            let packed = Packed { items, lengths: &lengths };
            let mut x = encoder.embedded(packed, Dropout::NONE);
            (0..config.layers).for_each(|layer| _ = encoder.forward(layer, &mut x, packed, Dropout::NONE));
            x
        };
        let before = items(251, 0);
        let x = all(&before);
        for changed in [0, 63, 64, 70, 99, 100, 101, 250] {
            let mut after = before.clone();
            after[changed] = (after[changed] + 1) % N_ITEMS as u32;
            let y = all(&after);
            let end = ends(&lengths).find(|&end| changed < end).expect("in a sequence");
            let differs =
                |row: usize| x[row * config.dim..][..config.dim] != y[row * config.dim..][..config.dim];
            let readers = (0..x.len() / config.dim).filter(|&row| differs(row)).collect::<Vec<_>>();
            assert!(readers.iter().all(|row| (changed..end).contains(row)), "{readers:?} read {changed}");
            assert!(
                differs(changed) && differs(end - 1),
                "{readers:?} read {changed}, and those to {end} should"
            );
        }
    }

    #[test]
    fn states_of_newest_rows_are_those_of_all_rows() {
        let config = config();
        let weights = weights(&config);
        let encoder = Encoder::new(&config, Values::new(&config, |at| &weights[at]));
        let lists: Vec<Vec<u32>> = (1..=30).map(|k| items(5 * k, k)).collect();
        let found = states(encoder, &lists.iter().map(|list| &list[..]).collect::<Vec<_>>());
        for (list, found) in lists.iter().zip(found.chunks_exact(config.dim)) {
            let packed = Packed { items: list, lengths: &[list.len()] };
            let mut x = encoder.embedded(packed, Dropout::NONE);
            (0..config.layers).for_each(|layer| _ = encoder.forward(layer, &mut x, packed, Dropout::NONE));
            let (_, all) = encoder.normed(&x, [Param::FinalScale, Param::FinalShift], 0);
            for (found, expected) in found.iter().zip(&all[all.len() - config.dim..]) {
                assert!((found - expected).abs() < 1e-4, "{found} and {expected}");
            }
        }
    }
}
