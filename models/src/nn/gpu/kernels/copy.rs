//! A copy of a buffer, such as of the weights after an epoch, which training goes on to change.
//!
//! Launch: a unit a vector. Reads and writes each once.

use cubecl::prelude::*;

use super::shared::V4;

/// Copies the first `n` vectors.
#[cube(launch_unchecked)]
pub fn copy(from: &[V4], to: &mut [V4], n: u32) {
    let at = ABSOLUTE_POS;
    if at < n as usize {
        to[at] = from[at];
    }
}
