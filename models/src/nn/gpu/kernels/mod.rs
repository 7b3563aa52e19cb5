//! The kernels, one file each with its shapes, its launch and what it reads, writes and computes; in the order of a step:
//!
//! | launch | does |
//! |---|---|
//! | [`draw`] | the batch: rows by a keyed permutation, negatives by counters |
//! | [`compact`] | where tables are long: the rows that the batch touches, in two launches |
//! | [`product`] | products of the embeddings with the first layer, `P` and `Q` |
//! | [`pair_relu`] | the first hidden layer where it is the last: `relu(P[user] + Q[item])` |
//! | [`product`] | each further layer; the first is worked out as it is read ([`operand`]) |
//! | [`score`] | scores, loss, gradients by scores |
//! | [`product`] | back through each further layer |
//! | [`scatter`] | gradients of table rows, into accumulators |
//! | [`columns`] | gradients of each layer's weight, in pieces |
//! | [`reduce`] | the sums of these pieces |
//! | [`product`] | gradients of the embeddings from the accumulators |
//! | [`norm`] | where gradients are clipped: their norm |
//! | [`update`] | the optimiser, for all weights |

#![allow(
    clippy::collapsible_if,
    clippy::manual_div_ceil,
    clippy::manual_swap,
    clippy::needless_range_loop,
    clippy::too_many_arguments,
    reason = "kernels are written in the part of Rust that CubeCL translates, and take each buffer and number by itself"
)]

pub mod best;
pub mod columns;
pub mod compact;
pub mod copy;
pub mod draw;
pub mod fixed;
pub mod norm;
pub mod operand;
pub mod pair_relu;
pub mod pair_scores;
pub mod product;
pub mod reduce;
pub mod scatter;
pub mod score;
pub mod shared;
pub mod standing;
pub mod tile;
pub mod update;
