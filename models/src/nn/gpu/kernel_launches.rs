//! The launch of each kernel: its grid, its buffers and its numbers.

use cubecl::prelude::*;

use super::buffer::Buffer;
use super::grid::{grid, in_a_row};
use super::jobs::UNITS;
use super::kernels::operand::Operand;
use super::kernels::product::Finish;
use super::kernels::{columns, norm, pair_relu, product, reduce, scatter, score, update};
use super::layout::Table;
use super::pieces::ColumnProducts;
use super::plan::Products;
use super::step::Step;

/// What a product reads and writes beside its jobs.
pub struct Product<'a> {
    pub name: &'static str,
    pub operand: Operand,
    pub a: &'a Buffer,
    pub mask: &'a Buffer,
    pub out: &'a Buffer,
    pub layer: usize,
    pub transposed: bool,
    pub finish: Finish,
}

/// What a product along many rows reads.
pub struct Columns<'a> {
    pub name: &'static str,
    pub a: (Operand, &'a Buffer),
    pub b: (Operand, &'a Buffer),
}

impl Step {
    pub(super) fn product(&self, products: &Products, jobs: &Buffer, product: Product<'_>) {
        let buffers = &self.buffers;
        let (below, scale) = self.dropout.unwrap_or((0, 1.0));
        let [item_side, first_width, output4, class4] = self.operand_words();
        self.kernel(product.name, || unsafe {
            product::product::launch_unchecked(
                &self.client,
                grid(products.jobs.cubes),
                CubeDim::new_1d(products.tile_rows as u32),
                product.a.arg4(),
                product.a.arg4(),
                buffers.sides.arg4(),
                buffers.weights.arg4(),
                product.mask.arg4(),
                buffers.users.arg(),
                buffers.items.arg(),
                buffers.grads.arg(),
                buffers.counts.arg(),
                buffers.state.arg(),
                buffers.lists.arg(),
                buffers.lens.arg(),
                jobs.arg(),
                product.out.arg4(),
                buffers.kept.arg(),
                buffers.bounds.arg(),
                self.n_counts(),
                item_side,
                first_width,
                output4,
                class4,
                self.sizes.per_row as u32,
                below,
                scale,
                product.layer,
                product.operand,
                product.transposed,
                product.finish,
                self.plan.parts.two_classes,
                self.dropout.is_some(),
                products.tile_rows,
            );
        });
    }

    /// What operands are read by: where the products of items begin in the sides, the width of the first hidden layer
    /// without padding, where the tower's part of the output's weights begins, and the length of a class of these; all but
    /// the second in vectors.
    pub(super) fn operand_words(&self) -> [u32; 4] {
        let (plan, layout) = (&self.plan, &self.plan.layout);
        let [width, units] = plan.hidden.first().copied().unwrap_or_default();
        let [_, tower, _] = plan.output_starts();
        let words = [self.sizes.shape.n_users * width / 4, units, tower / 4, layout.output_rows / 4];
        words.map(|word| word as u32)
    }

    pub(super) fn pair_relu(&self) {
        let buffers = &self.buffers;
        let [width, units] = self.plan.hidden[0];
        let (below, scale) = self.dropout.unwrap_or((0, 1.0));
        self.kernel("first layer of samples", || unsafe {
            pair_relu::pair_relu::launch_unchecked(
                &self.client,
                in_a_row((self.sizes.rows * self.sizes.per_row * width / 4).div_ceil(UNITS)),
                CubeDim::new_1d(UNITS as u32),
                buffers.sides.arg4(),
                buffers.users.arg(),
                buffers.items.arg(),
                buffers.state.arg(),
                buffers.hidden[0][0].arg4(),
                (self.sizes.shape.n_users * width / 4) as u32,
                (width / 4) as u32,
                units as u32,
                self.sizes.per_row as u32,
                below,
                scale,
                self.dropout.is_some(),
            );
        });
    }

    pub(super) fn score(&self) {
        let (plan, buffers) = (&self.plan, &self.buffers);
        let layout = &plan.layout;
        let class = if plan.parts.two_classes { layout.output_rows } else { 0 };
        let [dot_weight, tower_weight, bias] = plan.output_starts();
        let [output, gradient] = buffers.hidden.last().unwrap_or(&buffers.no_hidden);
        let last = plan.hidden.last().map_or(0, |width| width[0]);
        self.kernel("score", || unsafe {
            score::score::launch_unchecked(
                &self.client,
                grid([plan.score.cubes, 1, 1]),
                CubeDim::new_1d(UNITS as u32),
                output.arg4(),
                buffers.weights.arg(),
                buffers.weights.arg4(),
                buffers.users.arg(),
                buffers.items.arg(),
                buffers.ratings.arg(),
                buffers.state.arg(),
                buffers.grads.arg(),
                gradient.arg4(),
                buffers.pieces.arg(),
                buffers.copies.arg(),
                buffers.bounds.arg(),
                (start(layout.dot, 0) / 4) as u32,
                (start(layout.dot, 1) / 4) as u32,
                (plan.dim / 4) as u32,
                dot_weight as u32,
                start(layout.biases, 0) as u32,
                start(layout.biases, 1) as u32,
                self.constant,
                tower_weight as u32,
                bias as u32,
                layout.output as u32,
                (class + layout.output_rows) as u32,
                layout.output_rows as u32,
                (last / 4) as u32,
                self.dropout.map_or(1.0, |(_, scale)| scale),
                self.reg,
                plan.score.rounds as u32,
                plan.parts,
            );
        });
    }

    pub(super) fn scatter(&self) {
        let (plan, buffers) = (&self.plan, &self.buffers);
        let [first_kind, kinds] = plan.scatter_kinds;
        let (dots, biases, hidden) =
            (plan.accumulators.dot, plan.accumulators.biases, plan.accumulators.hidden);
        self.kernel("scatter", || unsafe {
            scatter::scatter::launch_unchecked(
                &self.client,
                grid([plan.scatter.cubes, kinds, 1]),
                CubeDim::new_1d(UNITS as u32),
                buffers.hidden.first().unwrap_or(&buffers.no_hidden)[1].arg(),
                buffers.grads.arg(),
                buffers.weights.arg(),
                buffers.users.arg(),
                buffers.items.arg(),
                buffers.counts.arg(),
                buffers.state.arg(),
                buffers.bounds.arg(),
                buffers.accumulators.arg(),
                buffers.pieces.arg(),
                self.sizes.shape.n_users as u32,
                self.sizes.shape.n_items as u32,
                plan.hidden.first().map_or(0, |width| width[0]) as u32,
                plan.dim as u32,
                start(plan.layout.dot, 0) as u32,
                start(plan.layout.dot, 1) as u32,
                hidden[0] as u32,
                hidden[1] as u32,
                dots[0] as u32,
                dots[1] as u32,
                biases[0] as u32,
                biases[1] as u32,
                first_kind as u32,
                plan.dot_sums as u32,
                plan.scatter.rounds as u32,
                self.sizes.per_row,
                plan.parts.weighted,
            );
        });
    }

    pub(super) fn columns(&self, products: &ColumnProducts, jobs: &Buffer, columns: Columns<'_>) {
        let buffers = &self.buffers;
        let ((operand_a, a), (operand_b, b)) = (columns.a, columns.b);
        let (below, scale) = self.dropout.unwrap_or((0, 1.0));
        let [item_side, first_width, output4, class4] = self.operand_words();
        self.kernel(columns.name, || unsafe {
            columns::columns::launch_unchecked(
                &self.client,
                grid(products.jobs.cubes),
                CubeDim::new_1d(products.tile as u32),
                a.arg4(),
                b.arg4(),
                b.arg4(),
                buffers.sides.arg4(),
                buffers.weights.arg4(),
                buffers.users.arg(),
                buffers.items.arg(),
                buffers.grads.arg(),
                buffers.counts.arg(),
                buffers.state.arg(),
                buffers.bounds.arg(),
                buffers.lists.arg(),
                buffers.lens.arg(),
                jobs.arg(),
                buffers.pieces.arg4(),
                self.n_counts(),
                item_side,
                first_width,
                output4,
                class4,
                self.sizes.per_row as u32,
                below,
                scale,
                operand_a,
                operand_b,
                self.plan.parts.two_classes,
                self.dropout.is_some(),
                products.tile,
            );
        });
    }

    pub(super) fn reduce(&self) {
        let buffers = &self.buffers;
        self.kernel("reduce", || unsafe {
            reduce::reduce::launch_unchecked(
                &self.client,
                in_a_row(self.plan.reduce.cubes[0]),
                CubeDim::new_1d(UNITS as u32),
                buffers.pieces.arg(),
                buffers.state.arg(),
                buffers.jobs.reduce.arg(),
                buffers.gradients.arg(),
                buffers.losses.arg(),
                self.plan.reduce.count as u32,
            );
        });
    }

    pub(super) fn squares(&self) {
        let buffers = &self.buffers;
        self.kernel("norm", || unsafe {
            norm::squares::launch_unchecked(
                &self.client,
                in_a_row(self.plan.update.cubes[0]),
                CubeDim::new_1d(UNITS as u32),
                buffers.weights.arg4(),
                buffers.gradients.arg4(),
                buffers.accumulators.arg4(),
                buffers.copies.arg4(),
                buffers.counts.arg(),
                buffers.bounds.arg(),
                buffers.jobs.update.arg(),
                buffers.state.arg(),
                buffers.lists.arg(),
                buffers.lens.arg(),
                buffers.squares.arg(),
                self.plan.update.count as u32,
                self.n_counts(),
                self.terms_of_row() as u32,
                self.reg,
                self.plan.layout.output_rows as u32,
                self.plan.parts.two_classes,
            );
        });
    }

    pub(super) fn clip(&self, most: f32) {
        let buffers = &self.buffers;
        self.kernel("clip", || unsafe {
            norm::clip::launch_unchecked(
                &self.client,
                grid([1, 1, 1]),
                CubeDim::new_1d(UNITS as u32),
                buffers.squares.arg(),
                buffers.norm.arg(),
                buffers.squares.len as u32,
                most,
            );
        });
    }

    pub(super) fn update(&self) {
        let buffers = &self.buffers;
        self.kernel("update", || unsafe {
            update::update::launch_unchecked(
                &self.client,
                in_a_row(self.plan.update.cubes[0]),
                CubeDim::new_1d(UNITS as u32),
                buffers.weights.arg4(),
                buffers.first.arg4(),
                buffers.second.arg4(),
                buffers.gradients.arg4(),
                buffers.accumulators.arg4(),
                buffers.copies.arg4(),
                buffers.counts.arg(),
                buffers.bounds.arg(),
                buffers.sizes.arg(),
                buffers.jobs.update.arg(),
                buffers.state.arg(),
                buffers.lists.arg(),
                buffers.lens.arg(),
                buffers.norm.arg(),
                self.plan.update.count as u32,
                self.n_counts(),
                self.terms_of_row() as u32,
                self.reg,
                self.plan.layout.output_rows as u32,
                self.optimizer,
                self.clip_norm.is_some(),
                self.plan.parts.two_classes,
            );
        });
    }

    pub(super) fn n_counts(&self) -> u32 {
        (self.sizes.shape.n_users + self.sizes.shape.n_items) as u32
    }
}

/// Where a table of a side begins, if it is there.
pub fn start(tables: Option<[Table; 2]>, side: usize) -> usize {
    tables.map_or(0, |tables| tables[side].start)
}
