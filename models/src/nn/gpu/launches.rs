//! The launches of a step, in their order.

use super::buffer::Buffer;
use super::kernel_launches::{Columns, Product};
use super::kernels::operand::Operand;
use super::kernels::product::Finish;
use super::step::Step;

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
        self.tables_by_first_layer();
        self.forward();
        self.score();
        for (number, (backward, words)) in plan.backward.iter().zip(&jobs.backward).enumerate().rev() {
            let (_, input) = self.output(number);
            let [_, by_input] = &buffers.hidden[number];
            let (operand, by_output) = self.by_sums(number + 1);
            self.product(
                backward,
                words,
                Product {
                    name: "layers back",
                    operand,
                    a: by_output,
                    mask: input,
                    out: by_input,
                    layer: number,
                    transposed: true,
                    finish: if number == 0 { Finish::FirstReluBackward } else { Finish::ReluBackward },
                },
            );
        }
        self.scatter();
        for (number, (columns, words)) in plan.layer_columns.iter().zip(&jobs.layer_columns).enumerate() {
            let (a, b) = (self.output(number), self.by_sums(number + 1));
            self.columns(columns, words, Columns { name: "gradients of layers", a, b });
        }
        if let (Some(columns), Some(words)) = (&plan.first_columns, &jobs.first_columns) {
            let a = (Operand::Values, &buffers.weights);
            let b = (Operand::FixedPoint, &buffers.accumulators);
            self.columns(columns, words, Columns { name: "gradients of the first layer", a, b });
        }
        self.reduce();
        if let (Some(embeddings), Some(words)) = (&plan.embeddings, &jobs.embeddings) {
            self.product(
                embeddings,
                words,
                Product {
                    name: "gradients of embeddings",
                    operand: Operand::FixedPoint,
                    a: &buffers.accumulators,
                    mask: &buffers.weights,
                    out: &buffers.gradients,
                    layer: 0,
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

    /// Launches the products of the embeddings with the first layer.
    pub fn tables_by_first_layer(&self) {
        let (plan, buffers) = (&self.plan, &self.buffers);
        if let (Some(sides), Some(words)) = (&plan.sides, &buffers.jobs.sides) {
            self.product(
                sides,
                words,
                Product {
                    name: "tables by first layer",
                    operand: Operand::Values,
                    a: &buffers.weights,
                    mask: &buffers.weights,
                    out: &buffers.sides,
                    layer: 0,
                    transposed: false,
                    finish: Finish::Bias,
                },
            );
        }
    }

    /// Launches the hidden layers of the batch, as far as they are stored.
    pub fn forward(&self) {
        let (plan, buffers) = (&self.plan, &self.buffers);
        if plan.parts.first_is_last && plan.parts.tower {
            self.pair_relu();
        }
        for (number, (forward, words)) in plan.forward.iter().zip(&buffers.jobs.forward).enumerate() {
            let (operand, input) = self.output(number);
            let [output, _] = &buffers.hidden[number + 1];
            self.product(
                forward,
                words,
                Product {
                    name: "layers forward",
                    operand,
                    a: input,
                    mask: input,
                    out: output,
                    layer: number + 1,
                    transposed: false,
                    finish: Finish::Relu,
                },
            );
        }
    }

    /// How the output of a hidden layer is read by a further one.
    fn output(&self, layer: usize) -> (Operand, &Buffer) {
        let [output, _] = &self.buffers.hidden[layer];
        (if layer == 0 { Operand::First } else { Operand::Values }, output)
    }

    /// How the gradient by the sums of a further hidden layer is read: for the last from its output.
    fn by_sums(&self, layer: usize) -> (Operand, &Buffer) {
        let [output, by_sums] = &self.buffers.hidden[layer];
        let is_last = layer + 1 == self.buffers.hidden.len();
        if is_last { (Operand::Last, output) } else { (Operand::Values, by_sums) }
    }
}
