//! The gradients of a piece of a batch: forward through all layers, the loss, and back.

use super::{Candidates, Dropout, Encoder, Norm, Packed, add, drop_units, places_of};
use crate::nn::kernels::Mask;
use crate::sasrec::matrix::{View, ViewMut};
use crate::sasrec::weights::{Gradients, Param};
use crate::simd::vectorised;

/// A piece of a batch: sequences with the target of each row.
pub struct Piece<'a> {
    /// The sequences.
    pub packed: Packed<'a>,
    /// `[rows]`: the item after each row.
    pub targets: &'a [u32],
    /// Where units are dropped.
    pub dropout: Dropout<'a>,
}

/// Adds the gradients of `scale` times the loss, summed over a piece's rows, to `by`, and those by the embeddings of drawn
/// candidates to `by_candidates`; returns the loss.
pub fn gradients(
    encoder: Encoder<'_>,
    piece: &Piece<'_>,
    candidates: &Candidates<'_>,
    scale: f32,
    by: &mut Gradients,
    by_candidates: &mut [f32],
) -> f64 {
    let Encoder { config, values } = encoder;
    let Piece { packed, targets, dropout } = *piece;
    let mut x = encoder.embedded(packed, dropout);
    let states: Vec<_> =
        (0..config.layers).map(|layer| encoder.forward(layer, &mut x, packed, dropout)).collect();
    let (norm, mut grad) = encoder.normed(&x, [Param::FinalScale, Param::FinalShift], 0);
    let items = values.all(Param::ItemEmbedding);
    let loss = candidates.loss(&mut grad, targets, scale, items, by.all(Param::ItemEmbedding), by_candidates);
    // From here on `x` is the gradient by the layers' output, which goes down through them.
    x.fill(0.0);
    let mut back = Backward { encoder, by };
    back.norm(&norm, grad, [Param::FinalScale, Param::FinalShift], 0, &mut x);
    for (layer, state) in states.into_iter().enumerate().rev() {
        let masks = [1, 2].map(|place| dropout.mask(place + 2 * layer));
        let first = dropout.first_row * config.dim;
        let dropped = |x: &[f32], mask: Option<Mask>| {
            let mut grad = x.to_vec();
            mask.into_iter().for_each(|mask| drop_units(&mut grad, mask, first));
            grad
        };
        let grad = dropped(&x, masks[1]);
        let mut by_hidden = back.dense(layer, [Param::OutputWeight, Param::OutputBias], &state.hidden, &grad);
        vectorised(|| {
            let units = by_hidden.iter_mut().zip(&state.hidden);
            units.for_each(|(by, unit)| *by = if *unit > 0.0 { *by } else { 0.0 });
        });
        let norms = [Param::HiddenScale, Param::HiddenShift];
        let normed = back.output(&state.hidden_norm, norms, layer);
        let by_normed = back.dense(layer, [Param::HiddenWeight, Param::HiddenBias], &normed, &by_hidden);
        back.norm(&state.hidden_norm, by_normed, norms, layer, &mut x);

        let grad = dropped(&x, masks[0]);
        let by_qkv = state.attention.backward(&grad, &state.qkv, packed.lengths, config);
        let norms = [Param::AttentionScale, Param::AttentionShift];
        let normed = back.output(&state.norm, norms, layer);
        let by_normed = back.dense(layer, [Param::AttentionWeight, Param::AttentionBias], &normed, &by_qkv);
        back.norm(&state.norm, by_normed, norms, layer, &mut x);
    }
    back.embedded(packed, dropout, x);
    loss
}

struct Backward<'a, 'b> {
    encoder: Encoder<'a>,
    by: &'b mut Gradients,
}

impl Backward<'_, '_> {
    /// Adds the gradients by the weight and the bias of a dense layer with the input `x`, `[rows, dim]`, from that by its
    /// output, and returns that by its input.
    fn dense(&mut self, layer: usize, [weight, bias]: [Param; 2], x: &[f32], grad: &[f32]) -> Vec<f32> {
        let dim = self.encoder.config.dim;
        let width = grad.len() / (x.len() / dim);
        let (x, by_output) = (View::new(x, dim), View::new(grad, width));
        ViewMut::new(self.by.layer(weight, layer), width).add(x.transposed(), by_output, 1.0);
        let by_bias = self.by.layer(bias, layer);
        vectorised(|| {
            for grad in grad.chunks_exact(width) {
                by_bias.iter_mut().zip(grad).for_each(|(by, grad)| *by += grad);
            }
        });
        let mut by_input = vec![0.0; grad.len() / width * dim];
        let weight = View::new(self.encoder.values.layer(weight, layer), width);
        ViewMut::new(&mut by_input, dim).set(by_output, weight.transposed(), 1.0);
        by_input
    }

    /// Returns the output of a norm once more.
    fn output(&self, norm: &Norm, [scale, shift]: [Param; 2], layer: usize) -> Vec<f32> {
        norm.output(self.encoder.values.layer(scale, layer), self.encoder.values.layer(shift, layer))
    }

    /// Adds the gradients by a norm's scale and shift, and that by its input to `by_input`.
    fn norm(
        &mut self,
        norm: &Norm,
        mut grad: Vec<f32>,
        [scale, shift]: [Param; 2],
        layer: usize,
        by_input: &mut [f32],
    ) {
        let dim = self.encoder.config.dim;
        let (mut by_scale, mut by_shift) = (vec![0.0; dim], vec![0.0; dim]);
        norm.backward(
            &mut grad,
            self.encoder.values.layer(scale, layer),
            &mut by_scale,
            &mut by_shift,
            by_input,
        );
        add(self.by.layer(scale, layer), &by_scale);
        add(self.by.layer(shift, layer), &by_shift);
    }

    /// Adds the gradients by the embeddings of items and places from that by the first layer's input.
    fn embedded(&mut self, packed: Packed<'_>, dropout: Dropout<'_>, mut grad: Vec<f32>) {
        let (dim, length) = (self.encoder.config.dim, self.encoder.config.length);
        if let Some(mask) = dropout.mask(0) {
            drop_units(&mut grad, mask, dropout.first_row * dim);
        }
        let places = self.by.all(Param::PositionEmbedding);
        for (grad, place) in grad.chunks_exact(dim).zip(places_of(packed.lengths, length)) {
            places[place * dim..][..dim].iter_mut().zip(grad).for_each(|(by, grad)| *by += grad);
        }
        let (items, factor) = (self.by.all(Param::ItemEmbedding), (dim as f32).sqrt());
        for (grad, &item) in grad.chunks_exact(dim).zip(packed.items) {
            items[item as usize * dim..][..dim]
                .iter_mut()
                .zip(grad)
                .for_each(|(by, grad)| *by += factor * grad);
        }
    }
}
