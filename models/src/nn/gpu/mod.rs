//! The optimiser's step on a graphics card. Draws, forward pass, gradients and update are kernels written in CubeCL, over
//! buffers that stay on the device: in a step nothing is uploaded and nothing read back.
//!
//! Tables are gathered by table row, so that shapes are the same in every batch; of a long table only the rows that the
//! batch touches are worked on. What many samples add to a table row is summed in fixed point ([`fixed`]), everything else
//! in trees that depend on sizes alone: on one device a seed gives the same bits in every run. Batches are those of the
//! host, number for number ([`burnrec_data::draws`]).
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
//!
//! What is trained is scored by the same forward pass ([`catalog`]): [`pair_scores`] makes the scores of a block of users,
//! and [`best`] finds their best items, so that these alone come back.

#![allow(
    clippy::collapsible_if,
    clippy::manual_div_ceil,
    clippy::manual_swap,
    clippy::needless_range_loop,
    clippy::too_many_arguments,
    reason = "kernels are written in the part of Rust that CubeCL translates, and take each buffer and number by itself"
)]

mod best;
pub(crate) mod buffer;
mod buffers;
mod catalog;
mod columns;
mod compact;
mod draw;
mod draw_launches;
mod fixed;
mod fused;
pub(crate) mod grid;
mod jobs;
mod kernel_launches;
mod launches;
mod layout;
mod norm;
mod operand;
mod pair_relu;
mod pair_scores;
mod pieces;
mod plan;
mod product;
mod reduce;
mod scatter;
mod score;
pub(crate) mod shared;
mod step;
mod tile;
mod update;
mod update_jobs;

pub use catalog::Catalog;
pub use fused::Fused;
pub use step::{KernelTimes, Traffic};
