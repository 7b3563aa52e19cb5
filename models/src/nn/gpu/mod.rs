//! The optimiser's step on a graphics card. Draws, forward pass, gradients and update are kernels written in CubeCL, over
//! buffers that stay on the device: in a step nothing is uploaded and nothing read back.
//!
//! Tables are gathered by table row, so that shapes are the same in every batch; of a long table only the rows that the
//! batch touches are worked on. What many samples add to a table row is summed in fixed point ([`kernels::fixed`]), everything else
//! in trees that depend on sizes alone: on one device a seed gives the same bits in every run. Batches are those of the
//! host, number for number ([`burnrec_data::draws`]).
//!
//! The kernels and their order are in [`kernels`]; the rest is the host's side: where the weights stand ([`layout`]), the jobs
//! and grids of a step ([`plan`]), the buffers ([`buffers`]) and the launches ([`launches`], [`kernel_launches`]).
//!
//! What is trained is scored by the same forward pass ([`catalog`]): [`kernels::pair_scores`] makes the scores of a block of users,
//! and [`kernels::best`] and [`kernels::standing`] find their best items and where held-out items stand, so that these alone
//! come back ([`selection`]).

pub(crate) mod buffer;
mod buffers;
mod catalog;
mod draw_launches;
mod fused;
pub(crate) mod grid;
mod jobs;
mod kernel_launches;
pub(crate) mod kernels;
mod launches;
mod layout;
mod pieces;
mod plan;
mod selection;
mod step;
mod update_jobs;

pub use catalog::Catalog;
pub use fused::{CardWeights, Fused};
pub use step::{KernelTimes, Traffic};
