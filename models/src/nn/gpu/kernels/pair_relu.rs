//! The first hidden layer of each sample: `h = relu_dropout(P[user] + Q[item])`, the twin of
//! [`pair_relu`](crate::nn::kernels::pair_relu).
//!
//! Launch: a unit for four neighbouring values of `h`; cubes of 256. Reads 8 bytes a value, mostly from cache, and
//! writes 4.

use cubecl::prelude::*;

use super::shared::{V4, relu_dropout, state};

/// Writes `h` `[samples, width]` from `sides`, which has `P` `[n_users, width]` and from `item_side` on `Q`
/// `[n_items, width]`; rows are `width4` vectors long, padding included.
#[cube(launch_unchecked)]
pub fn pair_relu(
    sides: &[V4],
    users: &[u32],
    items: &[u32],
    states: &[u32],
    h: &mut [V4],
    item_side: u32,
    width4: u32,
    width: u32,
    per_row: u32,
    below: u32,
    scale: f32,
    #[comptime] dropout: bool,
) {
    let at = ABSOLUTE_POS as u32;
    let sample = at / width4;
    let column = at % width4;
    if sample < states[state::ROWS] * per_row {
        let user = users[(sample / per_row) as usize];
        let item = items[sample as usize];
        let sum =
            sides[(user * width4 + column) as usize] + sides[(item_side + item * width4 + column) as usize];
        h[at as usize] = relu_dropout(
            sum,
            sample * width + column * 4u32,
            states[state::SEEDS],
            states[state::SEEDS + 1],
            below,
            scale,
            dropout,
        );
    }
}
