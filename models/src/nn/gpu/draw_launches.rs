//! The launches that draw a batch and list the table rows that it touches.

use cubecl::prelude::*;

use super::grid::{grid, in_a_row};
use super::jobs::UNITS;
use super::kernels::{compact, draw};
use super::step::Step;

impl Step {
    pub(super) fn fill_bitmap(&self) {
        let buffers = &self.buffers;
        // SAFETY: a unit a row, and every item is below the number of bits of a user.
        unsafe {
            draw::fill_bitmap::launch_unchecked(
                &self.client,
                in_a_row((buffers.seen.len).div_ceil(UNITS)),
                CubeDim::new_1d(UNITS as u32),
                buffers.offsets.arg(),
                buffers.seen.arg(),
                buffers.bitmap.arg(),
                self.sizes.shape.n_users as u32,
                self.words as u32,
            );
        }
    }

    pub(super) fn draw(&self) {
        let buffers = &self.buffers;
        let negatives = self.sizes.per_row - 1;
        let blocks = negatives.div_ceil(4).max(1);
        // SAFETY: of this kernel as of all below: the buffers have the lengths that the plan has the kernels read and write.
        self.kernel("draw", || unsafe {
            draw::draw::launch_unchecked(
                &self.client,
                in_a_row((self.sizes.rows * blocks).div_ceil(128)),
                CubeDim::new_1d(128),
                buffers.rows.arg(),
                buffers.values.arg(),
                buffers.offsets.arg(),
                buffers.seen.arg(),
                buffers.bitmap.arg(),
                buffers.epoch.arg(),
                buffers.state.arg(),
                buffers.users.arg(),
                buffers.items.arg(),
                buffers.ratings.arg(),
                buffers.counts.arg(),
                buffers.bounds.arg(),
                self.n_rows as u32,
                self.sizes.shape.n_users as u32,
                self.sizes.shape.n_items as u32,
                self.words as u32,
                self.sizes.rows as u32,
                negatives as u32,
                if self.dropout.is_some() { self.plan.hidden.len() } else { 0 },
                self.words > 0,
            );
        });
    }

    /// Launches the two kernels of [`compact`].
    pub(super) fn list_touched(&self) {
        let buffers = &self.buffers;
        let blocks = self.sizes.blocks();
        let [n_users, n_items] = self.sizes.n().map(|n| n as u32);
        self.kernel("count touched", || unsafe {
            compact::count_touched::launch_unchecked(
                &self.client,
                grid([blocks, 2, 1]),
                CubeDim::new_1d(UNITS as u32),
                buffers.counts.arg(),
                buffers.state.arg(),
                buffers.blocks.arg(),
                n_users,
                n_items,
                blocks as u32,
            );
        });
        self.kernel("list touched", || unsafe {
            compact::list_touched::launch_unchecked(
                &self.client,
                grid([blocks, 2, 1]),
                CubeDim::new_1d(UNITS as u32),
                buffers.counts.arg(),
                buffers.state.arg(),
                buffers.blocks.arg(),
                buffers.lists.arg(),
                buffers.lens.arg(),
                n_users,
                n_items,
                blocks as u32,
            );
        });
    }
}
