//! The matrices that products read: as they are stored, or worked out as they are read, so that they need no memory.

use cubecl::prelude::*;

use super::fixed;
use super::score::class_weight;
use super::shared::{I4, U4, V4, relu_dropout, state};

/// How the rows of a matrix are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// As they are stored.
    Values,
    /// From accumulators in fixed point.
    FixedPoint,
    /// The first hidden layer of the samples, from the products of their embeddings: `relu_dropout(P[user] + Q[item])`.
    First,
    /// The gradient by the sums of the last hidden layer, from its stored output and the gradients by the scores: that
    /// by the score times the output's weight, where the output is not 0.
    Last,
}

/// Where a row stands, as four words that [`value`] reads: its first vector, for [`Operand::First`] that of its item too,
/// the factor of its values as bits, and the index of its first value without padding.
///
/// `start` and `row4` are the beginning of the matrix and the length of its rows in vectors; `item_side` is where `Q`
/// begins, `count_start` where the counts of the rows do, and `most` the bound on what an entry adds to an accumulator.
#[cube]
pub fn place(
    row: u32,
    start: u32,
    row4: u32,
    width: u32,
    users: &[u32],
    items: &[u32],
    grads: &[f32],
    counts: &[u32],
    item_side: u32,
    count_start: u32,
    most: f32,
    per_row: u32,
    #[comptime] operand: Operand,
) -> U4 {
    let mut place = U4::new(start + row * row4);
    match comptime!(operand) {
        Operand::Values => {}
        Operand::FixedPoint => {
            let unit = fixed::unit(fixed::exponent(most, counts[(count_start + row) as usize]));
            place.insert(2usize, u32::reinterpret(unit));
        }
        Operand::First => {
            place.insert(0usize, users[(row / per_row) as usize] * row4);
            place.insert(1usize, item_side + items[row as usize] * row4);
        }
        Operand::Last => place.insert(2usize, u32::reinterpret(grads[row as usize])),
    }
    place.insert(3usize, row * width);
    place
}

/// The `k`-th vector of a row. `output4` is where the output's weights begin, and `class4` the length of a class, both in
/// vectors; the dropout of [`Operand::First`] is that of [`relu_dropout`].
#[cube]
pub fn value(
    values: &[V4],
    fixed_values: &[I4],
    sides: &[V4],
    weights4: &[V4],
    states: &[u32],
    place: U4,
    k: u32,
    output4: u32,
    class4: u32,
    below: u32,
    scale: f32,
    #[comptime] operand: Operand,
    #[comptime] two_classes: bool,
    #[comptime] dropout: bool,
) -> V4 {
    let at = (place.extract(0usize) + k) as usize;
    let factor = f32::reinterpret(place.extract(2usize));
    match comptime!(operand) {
        Operand::Values => values[at],
        Operand::FixedPoint => V4::cast_from(fixed_values[at]) * V4::new(factor),
        Operand::First => relu_dropout(
            sides[at] + sides[(place.extract(1usize) + k) as usize],
            place.extract(3usize) + k * 4u32,
            states[state::SEEDS],
            states[state::SEEDS + 1],
            below,
            scale,
            dropout,
        ),
        Operand::Last => {
            let output = values[at];
            let weight = class_weight(weights4, (output4 + k) as usize, 4 * class4 as usize, two_classes);
            let mut value = V4::new(0.0f32);
            #[unroll]
            for e in 0..4usize {
                let by_sum = factor * weight.extract(e) * scale;
                value.insert(e, select(output.extract(e) > 0.0f32, by_sum, 0.0f32));
            }
            value
        }
    }
}
