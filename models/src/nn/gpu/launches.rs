//! The launches of a step, in their order.

use cubecl::prelude::*;

use super::buffers::Buffer;
use super::grid::{grid, in_a_row};
use super::jobs::UNITS;
use super::layout::Table;
use super::product::Finish;
use super::step::Step;
use super::{columns, norm, pair_relu, product, reduce, scatter, score, update};

/// What a product reads and writes beside its jobs.
struct Product<'a> {
    name: &'static str,
    a: &'a Buffer,
    mask: &'a Buffer,
    out: &'a Buffer,
    layer: usize,
    in_fixed_point: bool,
    transposed: bool,
    finish: Finish,
}

impl Step {
    /// Launches one step.
    pub fn launch(&self) {
        self.count(|traffic| traffic.steps += 1);
        let (plan, buffers) = (&self.plan, &self.buffers);
        let jobs = &buffers.jobs;
        self.draw();
        if self.sizes.lists() {
            self.list_touched();
        }
        if let (Some(sides), Some(words)) = (&plan.sides, &jobs.sides) {
            self.product(
                sides.cubes,
                words,
                Product {
                    name: "tables by first layer",
                    a: &buffers.weights,
                    mask: &buffers.weights,
                    out: &buffers.sides,
                    layer: 0,
                    in_fixed_point: false,
                    transposed: false,
                    finish: Finish::Bias,
                },
            );
            self.pair_relu();
        }
        for (number, (forward, words)) in plan.forward.iter().zip(&jobs.forward).enumerate() {
            let [input, _] = &buffers.hidden[number];
            let [output, _] = &buffers.hidden[number + 1];
            self.product(
                forward.cubes,
                words,
                Product {
                    name: "layers forward",
                    a: input,
                    mask: input,
                    out: output,
                    layer: number + 1,
                    in_fixed_point: false,
                    transposed: false,
                    finish: Finish::Relu,
                },
            );
        }
        self.score();
        for (number, (backward, words)) in plan.backward.iter().zip(&jobs.backward).enumerate().rev() {
            let [input, by_input] = &buffers.hidden[number];
            let [_, by_output] = &buffers.hidden[number + 1];
            self.product(
                backward.cubes,
                words,
                Product {
                    name: "layers back",
                    a: by_output,
                    mask: input,
                    out: by_input,
                    layer: number,
                    in_fixed_point: false,
                    transposed: true,
                    finish: if number == 0 { Finish::FirstReluBackward } else { Finish::ReluBackward },
                },
            );
        }
        self.scatter();
        for (number, (columns, words)) in plan.layer_columns.iter().zip(&jobs.layer_columns).enumerate() {
            let [input, _] = &buffers.hidden[number];
            let [_, by_output] = &buffers.hidden[number + 1];
            self.columns("gradients of layers", columns.cubes, words, input, by_output, false);
        }
        if let (Some(columns), Some(words)) = (&plan.first_columns, &jobs.first_columns) {
            self.columns(
                "gradients of the first layer",
                columns.cubes,
                words,
                &buffers.weights,
                &buffers.accumulators,
                true,
            );
        }
        self.reduce();
        if let (Some(embeddings), Some(words)) = (&plan.embeddings, &jobs.embeddings) {
            self.product(
                embeddings.cubes,
                words,
                Product {
                    name: "gradients of embeddings",
                    a: &buffers.accumulators,
                    mask: &buffers.weights,
                    out: &buffers.gradients,
                    layer: 0,
                    in_fixed_point: true,
                    transposed: true,
                    finish: Finish::Bias,
                },
            );
        }
        if let Some(most) = self.clip_norm {
            self.squares();
            self.clip(most);
        }
        self.update();
    }

    fn product(&self, cubes: [usize; 3], jobs: &Buffer, product: Product<'_>) {
        let buffers = &self.buffers;
        let (below, scale) = self.dropout.unwrap_or((0, 1.0));
        self.kernel(product.name, || unsafe {
            product::product::launch_unchecked(
                &self.client,
                grid(cubes),
                CubeDim::new_1d(UNITS as u32),
                product.a.arg4(),
                product.a.arg4(),
                buffers.weights.arg(),
                buffers.weights.arg4(),
                product.mask.arg(),
                buffers.counts.arg(),
                buffers.state.arg(),
                buffers.lists.arg(),
                buffers.lens.arg(),
                jobs.arg(),
                product.out.arg(),
                buffers.bounds.arg(),
                self.n_counts(),
                below,
                scale,
                product.layer,
                product.in_fixed_point,
                product.transposed,
                product.finish,
                self.dropout.is_some(),
            );
        });
    }

    fn pair_relu(&self) {
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

    fn score(&self) {
        let (plan, buffers) = (&self.plan, &self.buffers);
        let layout = &plan.layout;
        let class = if plan.parts.two_classes { layout.output_rows } else { 0 };
        let class_of_bias = if plan.parts.two_classes { 4 } else { 0 };
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
                (layout.output + class) as u32,
                start(layout.biases, 0) as u32,
                start(layout.biases, 1) as u32,
                self.constant,
                (layout.output + class + plan.dim) as u32,
                (layout.output_bias + class_of_bias) as u32,
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

    fn scatter(&self) {
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

    fn columns(
        &self,
        name: &'static str,
        cubes: [usize; 3],
        jobs: &Buffer,
        a: &Buffer,
        b: &Buffer,
        in_fixed_point: bool,
    ) {
        let buffers = &self.buffers;
        self.kernel(name, || unsafe {
            columns::columns::launch_unchecked(
                &self.client,
                grid(cubes),
                CubeDim::new_1d(128),
                a.arg4(),
                b.arg4(),
                b.arg4(),
                buffers.counts.arg(),
                buffers.state.arg(),
                buffers.bounds.arg(),
                buffers.lists.arg(),
                buffers.lens.arg(),
                jobs.arg(),
                buffers.pieces.arg4(),
                self.n_counts(),
                in_fixed_point,
            );
        });
    }

    fn reduce(&self) {
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

    fn squares(&self) {
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

    fn clip(&self, most: f32) {
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

    fn update(&self) {
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

    fn n_counts(&self) -> u32 {
        (self.sizes.shape.n_users + self.sizes.shape.n_items) as u32
    }
}

/// Where a table of a side begins, if it is there.
fn start(tables: Option<[Table; 2]>, side: usize) -> usize {
    tables.map_or(0, |tables| tables[side].start)
}
