//! ALS on a graphics card: the half sweeps of an epoch as kernels written in CubeCL, over buffers that stay on the
//! device. Words are read back: whether all factors are finite, and for `cholesky` whether f32 holds the solutions. Where it
//! does not, the host solves the side in place of the device. Otherwise nothing passes between them but, for `cg`, the Gram
//! matrix and its eigenvectors, since the host decomposes it.
//!
//! The host computes what does not change: for each entry `a_ui` and `b_ui` of [`super`], for each row `reg_u`, and how
//! the rows are cut into tasks. A half sweep solves all rows of one side for the factors of the other, which are fixed:
//!
//! | launch | `cholesky` | `cg` |
//! |---|---|---|
//! | [`normal`] | pieces of the Gram matrix | the same |
//! | [`reduce`] | their sum | the same |
//! | [`basis`] | | on the host: the eigenvectors of the Gram matrix |
//! | [`rotate`] | | fixed factors and current rows, into their basis |
//! | [`normal`] | `A` and `b` of long rows, in pieces | the same, in the basis |
//! | [`reduce`] | their sums | the same |
//! | [`normal`], [`cg`] | each row: `A` and `b`, and their solution ([`solve`]) | each row: steps of [`super::cg`] |
//! | [`rotate`] | | rows, back |
//! | [`check`] | at the end of the epoch: is a factor not finite? | the same |
//!
//! Sums are cut by sizes alone and added in a fixed order, and there are no atomic additions: on one device the same
//! start gives the same bits in every run. The explicit feedback of `cholesky` needs no Gram matrix.

#![allow(
    clippy::collapsible_if,
    clippy::manual_div_ceil,
    clippy::needless_range_loop,
    clippy::too_many_arguments,
    reason = "kernels are written in the part of Rust that CubeCL translates, and take each buffer and number by itself"
)]

mod basis;
mod cg;
mod check;
mod normal;
mod reduce;
mod rotate;
mod sizes;
mod solve;
mod sweeps;
mod tasks;

pub use sweeps::{GpuSweeps, Solved};

use super::{AlsConfig, Solver};

/// The largest `dim` that the kernels take: a row's matrix of this size fits the registers and the shared memory of one
/// cube.
const MAX_DIM: usize = 128;

/// Returns why ALS of these settings trains on the CPU alone, where it does.
pub fn refusal(config: &AlsConfig) -> Option<String> {
    if config.nonnegative {
        Some("als with nonnegative factors trains on the CPU".to_owned())
    } else if config.biases {
        Some("als with biases trains on the CPU".to_owned())
    } else if config.solver == Solver::Subspace {
        Some("als with solver = \"subspace\" trains on the CPU".to_owned())
    } else if config.dim > MAX_DIM {
        Some(format!("als with dim = {} trains on the CPU, as dim is over {MAX_DIM}", config.dim))
    } else {
        None
    }
}
