//! The launches of a step as numbers: which jobs each kernel does, over which grid, and where everything stands. Worked
//! out once for a training run; nothing here touches the device.

use super::jobs::{Accumulators, Jobs, Sizes, UNITS, most};
use super::kernels::score::{self, Parts};
use super::kernels::shared::{MAX_LAYERS, NONE};
use super::kernels::{product, scatter};
use super::layout::{Layer, Layout, Table};
use super::pieces::{ColumnProducts, Pieces, column_grid};
use super::update_jobs::update_jobs;
use crate::nn::pair_score::PairScore;
use crate::scorer::Shape;

/// The most cubes along one side of a grid (WebGPU's `maxComputeWorkgroupsPerDimension`).
const MOST_TILES: usize = 65_535;

/// A grid of cubes that take turns over the rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// The number of cubes.
    pub cubes: usize,
    /// How many turns each takes.
    pub rounds: usize,
}

/// Products of one launch.
#[derive(Clone, Debug)]
pub struct Products {
    /// Their jobs.
    pub jobs: Jobs,
    /// The rows of the output that a cube computes.
    pub tile_rows: usize,
}

/// The launches of a step.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the weights stand.
    pub layout: Layout,
    /// What the score kernel computes.
    pub parts: Parts,
    /// Where the accumulators stand.
    pub accumulators: Accumulators,
    /// Padded and true width of each hidden layer.
    pub hidden: Vec<[usize; 2]>,
    /// Length of the vectors of the dot product with padding; 0 without one.
    pub dim: usize,
    /// Products of the embeddings with the first layer.
    pub sides: Option<Products>,
    /// The further layers forward.
    pub forward: Vec<Products>,
    /// The score kernel.
    pub score: Turns,
    /// The further layers back, first layer first.
    pub backward: Vec<Products>,
    /// The scatter kernel.
    pub scatter: Turns,
    /// The first of its kinds, and how many it does.
    pub scatter_kinds: [usize; 2],
    /// Gradients of the further layers' weights.
    pub layer_columns: Vec<ColumnProducts>,
    /// Gradients of the first layer's weight.
    pub first_columns: Option<ColumnProducts>,
    /// Gradients of the embeddings.
    pub embeddings: Option<Products>,
    /// Sums of pieces.
    pub reduce: Jobs,
    /// The optimiser's step.
    pub update: Jobs,
    /// Where the scatter's sums begin in the pieces.
    pub dot_sums: usize,
    /// Values of all pieces.
    pub pieces: usize,
}

/// Says why the kernels cannot train such a score, if they cannot.
pub fn refusal(score: &PairScore, shape: Shape, per_row: usize) -> Option<String> {
    let most_rows = MOST_TILES * product::MOST_TILE_ROWS;
    let table = shape.n_users.max(shape.n_items);
    if score.tower.is_some() && table > most_rows {
        return Some(format!("a table of {table} rows, where the kernels take {most_rows}"));
    }
    let hidden = score.tower.as_ref().map_or(0, |tower| tower.layers.len());
    let last = score.tower.as_ref().map_or(0, |tower| tower.layers[hidden - 1].2);
    if hidden > MAX_LAYERS {
        return Some(format!("{hidden} hidden layers, where the kernels take {MAX_LAYERS}"));
    }
    if last > 4 * UNITS {
        return Some(format!("a last layer of {last}, where the kernels take {}", 4 * UNITS));
    }
    if per_row > Parts::MOST_PER_ROW {
        let most = Parts::MOST_PER_ROW - 1;
        return Some(format!("{} negatives, where the kernels take {most}", per_row - 1));
    }
    None
}

impl Plan {
    /// Plans the step of a score.
    pub fn new(score: &PairScore, sizes: Sizes) -> Self {
        let layout = Layout::new(score, sizes.shape);
        let Sizes { rows, per_row, .. } = sizes;
        let n = sizes.n();
        let parts = Parts {
            loss: score.loss,
            per_row,
            dot: score.dot.is_some(),
            weighted: score.dot.is_some() && score.output.is_some(),
            biases: score.biases.is_some(),
            tower: score.tower.is_some(),
            first_is_last: layout.layers.is_empty(),
            two_classes: score.output.as_ref().is_some_and(|output| output.classes == 2),
            reg: score.reg > 0.0,
        };
        let hidden: Vec<[usize; 2]> = layout
            .first
            .iter()
            .map(|first| first[0])
            .chain(layout.layers.iter().copied())
            .map(|layer| [layer.output, layer.width])
            .collect();
        let dim = layout.dot.map_or(0, |tables| tables[0].width);
        let mut accumulators = Accumulators::default();
        let values =
            |tables: Option<[Table; 2]>| tables.map(|tables| tables.map(|table| table.rows * table.width));
        if let Some(lens) = values(layout.dot) {
            accumulators.dot = lens.map(|len| accumulators.take(len));
        }
        if let Some(lens) = values(layout.biases) {
            accumulators.biases = lens.map(|len| accumulators.take(len));
        }
        if let Some([width, _]) = hidden.first() {
            accumulators.hidden = n.map(|rows| accumulators.take(rows * width));
        }

        let mut pieces = Pieces::default();
        let chunks = rows.div_ceil(parts.rows_of_chunk());
        let score_turns = Turns::over(chunks, score::MOST_CUBES);
        pieces.of_score(&layout, parts, &hidden, score_turns.cubes, dim);
        let widest = hidden.first().map_or(0, |width| width[0]).max(dim);
        let scatter_turns =
            Turns::over(rows.div_ceil(UNITS / widest.div_ceil(4).clamp(1, UNITS)), scatter::MOST_CUBES);
        let dot_sums = pieces.len;
        if parts.weighted {
            pieces.of_dot(&layout, parts, scatter_turns.cubes, dim);
        }
        let kinds = [parts.tower, parts.dot, parts.biases];
        let first_kind = kinds.iter().position(|&there| there).unwrap_or(0);
        let last_kind = kinds.iter().rposition(|&there| there).unwrap_or(0);

        let layer_columns = layout.layers.iter().map(|layer| pieces.of_layer(layer, sizes)).collect();
        let first_columns = layout.first.zip(layout.embeddings).map(|(first, tables)| {
            let jobs = [0, 1].map(|side| {
                pieces.of_first_layer(first, tables[side], side, accumulators.hidden[side], sizes)
            });
            column_grid(&jobs)
        });
        let first = layout.first.zip(layout.embeddings);
        let most_rows = [0, 1].map(|side| sizes.most_rows(side));
        let sides = first.map(|(first, tables)| {
            product_grid(
                &most_rows,
                &[0, 1].map(|side| {
                    let mut job = table_product(&first[side], side, sizes);
                    job[product::job::K4] = tables[side].width / 4;
                    job[product::job::N] = first[side].output;
                    job[product::job::A] = tables[side].start / 4;
                    job[product::job::BIAS] = if side == 0 { first[0].bias } else { NONE as usize };
                    job[product::job::OUT] = side * n[0] * first[0].output;
                    job[product::job::WIDTH] = first[side].width;
                    job
                }),
            )
        });
        let embeddings = first.map(|(first, tables)| {
            product_grid(
                &most_rows,
                &[0, 1].map(|side| {
                    let mut job = table_product(&first[side], side, sizes);
                    job[product::job::K4] = first[side].output / 4;
                    job[product::job::N] = tables[side].width;
                    job[product::job::A] = accumulators.hidden[side] / 4;
                    job[product::job::BIAS] = NONE as usize;
                    job[product::job::OUT] = tables[side].start;
                    job[product::job::WIDTH] = tables[side].width;
                    job
                }),
            )
        });
        let forward = layout.layers.iter().map(|layer| layer_product(layer, sizes, true)).collect();
        let backward = layout.layers.iter().map(|layer| layer_product(layer, sizes, false)).collect();
        let update = update_jobs(&layout, &accumulators, parts, hidden.first(), sizes);
        Self {
            parts,
            accumulators,
            hidden,
            dim,
            sides,
            forward,
            score: score_turns,
            backward,
            scatter: scatter_turns,
            scatter_kinds: [first_kind, last_kind - first_kind + 1],
            layer_columns,
            first_columns,
            embeddings,
            reduce: pieces.jobs(),
            update,
            dot_sums,
            pieces: pieces.len,
            layout,
        }
    }

    /// Returns for each hidden layer the values of a sample that are stored: its output, but for the first, and the
    /// gradient by its sums, but for the last ([`Operand`](super::kernels::operand::Operand)); both of an only layer.
    pub fn stored(&self) -> impl Iterator<Item = [usize; 2]> {
        let last = self.hidden.len().saturating_sub(1);
        let stored = move |(number, width): (usize, &[usize; 2])| {
            let there =
                |is_read_as_worked_out: bool| if is_read_as_worked_out && last > 0 { 0 } else { width[0] };
            [there(number == 0), there(number == last)]
        };
        self.hidden.iter().enumerate().map(stored)
    }

    /// Returns the words that say of a sample which values of the first hidden layer are above 0, where that is not stored.
    pub fn words_of_first(&self) -> usize {
        if self.hidden.len() > 1 { product::words_of_row(self.hidden[0][0]) } else { 0 }
    }

    /// Returns where in the output layer, of its last class, the weights of the dot product, those of the tower and the
    /// bias begin.
    pub fn output_starts(&self) -> [usize; 3] {
        let layout = &self.layout;
        let [class, class_of_bias] = if self.parts.two_classes { [layout.output_rows, 4] } else { [0; 2] };
        let output = layout.output + class;
        [output, output + self.dim, layout.output_bias + class_of_bias]
    }

    /// Returns the most values of a sample in one buffer.
    pub fn largest_sample(&self) -> usize {
        self.stored().flatten().chain([self.words_of_first()]).max().unwrap_or(0)
    }

    /// Returns the values of the products of the embeddings with the first layer.
    pub fn len_of_sides(&self, shape: Shape) -> usize {
        (shape.n_users + shape.n_items) * self.hidden.first().map_or(0, |width| width[0])
    }

    /// Returns the values of the largest buffer.
    pub fn largest_buffer(&self, sizes: Sizes) -> usize {
        let sides = self.len_of_sides(sizes.shape);
        let samples = sizes.rows * sizes.per_row * self.largest_sample().max(1);
        [self.layout.len, self.accumulators.len, sides, samples, self.pieces].into_iter().max().unwrap_or(0)
    }

    /// Returns the bytes of all buffers of a step over so many training rows, with so many optimiser states.
    pub fn bytes(&self, sizes: Sizes, n_rows: usize, n_states: usize, bitmap_words: usize) -> u64 {
        let [n_users, n_items] = sizes.n();
        let samples = sizes.rows * sizes.per_row;
        let hidden = self.stored().flatten().sum::<usize>() + self.words_of_first();
        let sides = self.len_of_sides(sizes.shape);
        let values = [
            // Training rows, their values, and what each user has seen.
            4 * n_rows + n_users,
            n_users * bitmap_words,
            (2 + n_states) * self.layout.len,
            self.accumulators.len,
            sides,
            self.pieces,
            samples * (2 + hidden) + 2 * sizes.rows,
            3 * (n_users + n_items),
        ];
        values.iter().map(|&values| 4 * values as u64).sum()
    }
}

impl Turns {
    fn over(n: usize, most_cubes: usize) -> Self {
        let cubes = n.clamp(1, most_cubes);
        Self { cubes, rounds: n.div_ceil(cubes) }
    }
}

/// The grid of products with so many rows.
fn product_grid(rows: &[usize], jobs: &[[usize; product::job::LEN]]) -> Products {
    let columns = |job: &[usize; product::job::LEN]| job[product::job::N].div_ceil(product::TILE_COLUMNS);
    let tiles =
        rows.iter().zip(jobs).map(|(rows, job)| rows.div_ceil(product::MOST_TILE_ROWS) * columns(job));
    let tile_rows = product::tile_rows(tiles.sum());
    let cubes =
        [most(jobs.iter().map(columns)), most(rows.iter().map(|rows| rows.div_ceil(tile_rows))), jobs.len()];
    let words = jobs.as_flattened().iter().map(|&word| word as u32).collect();
    Products { jobs: Jobs { words, count: jobs.len(), cubes }, tile_rows }
}

/// What the products of a side's tables with its part of the first layer, forward and back, have in common.
fn table_product(first: &Layer, side: usize, sizes: Sizes) -> [usize; product::job::LEN] {
    let mut job = [0; product::job::LEN];
    job[product::job::LIST] = sizes.list(side);
    job[product::job::SIDE] = side;
    job[product::job::ROWS] = sizes.n()[side];
    job[product::job::COUNT] = sizes.count(side);
    job[product::job::FACTOR] = sizes.samples_of_entry(side);
    job[product::job::B] = first.weight;
    job[product::job::B_ROW] = first.output;
    job
}

/// A layer over all samples, or back from the gradient by its sums to that by its input.
fn layer_product(layer: &Layer, sizes: Sizes, forward: bool) -> Products {
    let (k, n) = if forward { (layer.input, layer.output) } else { (layer.output, layer.input) };
    let mut job = [0; product::job::LEN];
    job[product::job::ROWS] = sizes.per_row;
    job[product::job::PER_ROW] = 1;
    job[product::job::K4] = k / 4;
    job[product::job::N] = n;
    job[product::job::B] = layer.weight;
    job[product::job::B_ROW] = layer.output;
    job[product::job::BIAS] = if forward { layer.bias } else { NONE as usize };
    job[product::job::WIDTH] = layer.width;
    job[product::job::LIST] = NONE as usize;
    product_grid(&[sizes.rows * sizes.per_row], &[job])
}
