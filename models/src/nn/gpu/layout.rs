//! Where each weight stands in the one buffer of all weights, whose rows are padded with zeros to whole vectors of four.
//!
//! Padding stays zero through training: a padded column's weights, gradients and moments are all 0.

use std::collections::BTreeSet;

use crate::nn::pair_score::PairScore;
use crate::scorer::Shape;

/// Rounds up to whole vectors.
pub fn padded(width: usize) -> usize {
    width.next_multiple_of(4)
}

/// A table of users or of items, `[rows, padded(width)]`.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Where it begins, in values.
    pub start: usize,
    /// Its rows.
    pub rows: usize,
    /// The length of a row, padding included.
    pub width: usize,
}

impl Table {
    /// Returns its length in vectors.
    pub fn len4(&self) -> usize {
        (self.rows * self.width).div_ceil(4)
    }
}

/// A dense layer: a weight `[padded(input), padded(output)]`, then its bias.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// Where the weight begins, in values.
    pub weight: usize,
    /// Where the bias begins.
    pub bias: usize,
    /// Padded width of the input.
    pub input: usize,
    /// Padded width of the output.
    pub output: usize,
    /// Width of the output without padding.
    pub width: usize,
}

/// A part of a named weight: rows and columns of it, and where they stand.
#[derive(Clone, Debug)]
struct Block {
    name: &'static str,
    /// The shape of the whole weight.
    shape: [usize; 2],
    rows: [usize; 2],
    columns: [usize; 2],
    start: usize,
    row_stride: usize,
}

/// Where everything stands.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The vectors of the dot product, of users and items.
    pub dot: Option<[Table; 2]>,
    /// The biases, of width 1.
    pub biases: Option<[Table; 2]>,
    /// The embeddings of the tower.
    pub embeddings: Option<[Table; 2]>,
    /// The parts of the first layer's weight that users' and items' embeddings are multiplied by; the bias is that of the
    /// first.
    pub first: Option<[Layer; 2]>,
    /// The further layers.
    pub layers: Vec<Layer>,
    /// Where the output layer begins: `[classes, output_rows]`.
    pub output: usize,
    /// Rows of the output layer: those of the dot product, then those of the tower.
    pub output_rows: usize,
    /// Where the output's bias begins: `[classes, 4]`, the first value of each four.
    pub output_bias: usize,
    /// Where the dense weights begin, behind all tables.
    pub dense: usize,
    /// Values in all.
    pub len: usize,
    blocks: Vec<Block>,
}

impl Layout {
    /// Lays out the weights of a score over tables of this shape.
    pub fn new(score: &PairScore, shape: Shape) -> Self {
        let mut layout = Self::default();
        let n = [shape.n_users, shape.n_items];
        if let Some(dot) = &score.dot {
            layout.dot = Some([0, 1].map(|side| layout.table(dot.tables[side], n[side], dot.dim)));
        }
        if let Some(names) = score.biases {
            layout.biases = Some([0, 1].map(|side| layout.table(names[side], n[side], 1)));
        }
        if let Some(tower) = &score.tower {
            let table = |side| layout.table(tower.tables[side], n[side], tower.widths[side]);
            layout.embeddings = Some([0, 1].map(table));
        }
        layout.dense = layout.len;
        if let Some(tower) = &score.tower {
            let (name, bias, width) = tower.layers[0];
            let shape = [tower.widths[0] + tower.widths[1], width];
            let rows = [[0, tower.widths[0]], [tower.widths[0], shape[0]]];
            let mut first = rows.map(|rows| layout.weight(name, shape, rows));
            let bias = layout.bias(bias, width);
            first.iter_mut().for_each(|layer| layer.bias = bias);
            layout.first = Some(first);
            for pair in tower.layers.windows(2) {
                let ((_, _, input), (name, bias, width)) = (pair[0], pair[1]);
                let mut layer = layout.weight(name, [input, width], [0, input]);
                layer.bias = layout.bias(bias, width);
                layout.layers.push(layer);
            }
        }
        if let Some(output) = &score.output {
            let dim = score.dot.as_ref().map_or(0, |dot| dot.dim);
            let last = score.tower.as_ref().map_or(0, |tower| tower.layers[tower.layers.len() - 1].2);
            layout.output_rows = padded(dim) + padded(last);
            layout.output = layout.take(output.classes * layout.output_rows);
            layout.output_bias = layout.take(4 * output.classes);
            for class in 0..output.classes {
                let start = layout.output + class * layout.output_rows;
                for (rows, start) in [([0, dim], start), ([dim, dim + last], start + padded(dim))] {
                    layout.blocks.push(Block {
                        name: output.weight,
                        shape: [dim + last, output.classes],
                        rows,
                        columns: [class, class + 1],
                        start,
                        row_stride: 1,
                    });
                }
                layout.blocks.push(Block {
                    name: output.bias,
                    shape: [1, output.classes],
                    rows: [0, 1],
                    columns: [class, class + 1],
                    start: layout.output_bias + 4 * class,
                    row_stride: 4,
                });
            }
        }
        layout
    }

    /// Takes room for values, rounded up to whole vectors, and returns where it begins.
    fn take(&mut self, len: usize) -> usize {
        let start = self.len;
        self.len += padded(len);
        start
    }

    fn table(&mut self, name: &'static str, rows: usize, columns: usize) -> Table {
        let width = if columns == 1 { 1 } else { padded(columns) };
        let start = self.take(rows * width);
        self.blocks.push(Block {
            name,
            shape: [rows, columns],
            rows: [0, rows],
            columns: [0, columns],
            start,
            row_stride: width,
        });
        Table { start, rows, width }
    }

    fn weight(&mut self, name: &'static str, shape: [usize; 2], rows: [usize; 2]) -> Layer {
        let (input, output) = (padded(rows[1] - rows[0]), padded(shape[1]));
        let weight = self.take(input * output);
        let columns = [0, shape[1]];
        self.blocks.push(Block { name, shape, rows, columns, start: weight, row_stride: output });
        Layer { weight, bias: 0, input, output, width: shape[1] }
    }

    fn bias(&mut self, name: &'static str, width: usize) -> usize {
        let start = self.take(width);
        let (rows, columns) = ([0, 1], [0, width]);
        self.blocks.push(Block { name, shape: [1, width], rows, columns, start, row_stride: width });
        start
    }

    /// Returns the names of all weights.
    pub fn names(&self) -> BTreeSet<&'static str> {
        self.blocks.iter().map(|block| block.name).collect()
    }

    /// Writes the values of a named weight, row-major, to where they stand in `all`.
    pub fn put(&self, name: &str, values: &[f32], all: &mut [f32]) {
        self.each(name, |in_weight, in_all| all[in_all] = values[in_weight]);
    }

    /// Reads the values of a named weight, row-major, from where they stand in `all`.
    pub fn get(&self, name: &str, all: &[f32]) -> Vec<f32> {
        let shape = self.blocks.iter().find(|block| block.name == name).map_or([0, 0], |block| block.shape);
        let mut values = vec![0.0; shape[0] * shape[1]];
        self.each(name, |in_weight, in_all| values[in_weight] = all[in_all]);
        values
    }

    fn each(&self, name: &str, mut f: impl FnMut(usize, usize)) {
        for block in self.blocks.iter().filter(|block| block.name == name) {
            for row in block.rows[0]..block.rows[1] {
                for column in block.columns[0]..block.columns[1] {
                    let at =
                        block.start + (row - block.rows[0]) * block.row_stride + column - block.columns[0];
                    f(row * block.shape[1] + column, at);
                }
            }
        }
    }
}
