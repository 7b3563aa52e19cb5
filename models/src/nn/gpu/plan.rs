//! The launches of a step as numbers: which jobs each kernel does, over which grid, and where everything stands. Worked
//! out once for a training run; nothing here touches the device.

use super::layout::{Layer, Layout, Table};
use super::score::{self, Parts};
use super::shared::{MAX_LAYERS, NONE, bound};
use super::{columns, compact, product, reduce, scatter, update};
use crate::nn::pair_score::PairScore;
use crate::scorer::Shape;

/// The most cubes along one side of a grid (WebGPU's `maxComputeWorkgroupsPerDimension`).
const MOST_TILES: usize = 65_535;

/// Units of a cube, where a kernel does not say otherwise.
pub const UNITS: usize = 256;

/// Jobs of one launch, with its grid.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// The words of all jobs.
    pub words: Vec<u32>,
    /// The number of jobs.
    pub count: usize,
    /// The cubes of the launch.
    pub cubes: [usize; 3],
}

/// Where the accumulators begin, in values: those of users, then of items.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accumulators {
    /// Of the gradients by the vectors of the dot product.
    pub dot: [usize; 2],
    /// Of the gradients by the biases.
    pub biases: [usize; 2],
    /// Of the gradients by the products of the embeddings with the first layer.
    pub hidden: [usize; 2],
    /// Their number.
    pub len: usize,
}

impl Accumulators {
    fn take(&mut self, len: usize) -> usize {
        let start = self.len;
        self.len += len.next_multiple_of(4);
        start
    }
}

/// A grid of cubes that take turns over the rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// The number of cubes.
    pub cubes: usize,
    /// How many turns each takes.
    pub rounds: usize,
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
    pub sides: Option<Jobs>,
    /// The further layers forward.
    pub forward: Vec<Jobs>,
    /// The score kernel.
    pub score: Turns,
    /// The further layers back, first layer first.
    pub backward: Vec<Jobs>,
    /// The scatter kernel.
    pub scatter: Turns,
    /// The first of its kinds, and how many it does.
    pub scatter_kinds: [usize; 2],
    /// Gradients of the further layers' weights.
    pub layer_columns: Vec<Jobs>,
    /// Gradients of the first layer's weight.
    pub first_columns: Option<Jobs>,
    /// Gradients of the embeddings.
    pub embeddings: Option<Jobs>,
    /// Sums of pieces.
    pub reduce: Jobs,
    /// The optimiser's step.
    pub update: Jobs,
    /// Where the scatter's sums begin in the pieces.
    pub dot_sums: usize,
    /// Values of all pieces.
    pub pieces: usize,
}

/// What a plan depends on beside the score.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The number of users and of items.
    pub shape: Shape,
    /// Training rows in a batch.
    pub rows: usize,
    /// Samples in a training row.
    pub per_row: usize,
    /// Whether only touched rows are updated of tables of users, and of items.
    pub lazy: [bool; 2],
}

impl Sizes {
    /// Returns users and items.
    pub fn n(&self) -> [usize; 2] {
        [self.shape.n_users, self.shape.n_items]
    }

    /// Returns whether the touched rows of a side are listed.
    pub fn lists(&self) -> bool {
        self.lazy.contains(&true)
    }

    /// Returns the most blocks of a side in which touched rows are counted.
    pub fn blocks(&self) -> usize {
        most(self.n().into_iter()).div_ceil(compact::BLOCK)
    }

    /// Returns where the counts of a side begin.
    fn count(&self, side: usize) -> usize {
        side * self.shape.n_users
    }

    /// Returns where the list of a side's touched rows begins, where its tables are updated by it.
    fn list(&self, side: usize) -> usize {
        if self.lazy[side] { self.count(side) } else { NONE as usize }
    }

    /// Returns the most rows of a side's tables that a batch works on.
    fn most_rows(&self, side: usize) -> usize {
        let entries = if side == 0 { self.rows } else { self.rows * self.per_row };
        if self.lazy[side] { self.n()[side].min(entries) } else { self.n()[side] }
    }

    /// Returns how often a sample is in what one entry of a side adds: a user's part is summed over a training row.
    fn samples_of_entry(&self, side: usize) -> usize {
        if side == 0 { self.per_row } else { 1 }
    }
}

/// Says why the kernels cannot train such a score, if they cannot.
pub fn refusal(score: &PairScore, shape: Shape, per_row: usize) -> Option<String> {
    let most_rows = MOST_TILES * product::TILE_ROWS;
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
        let scatter_turns = Turns::over(rows.div_ceil(UNITS / widest.clamp(1, UNITS)), scatter::MOST_CUBES);
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
                    let mut job = [0; product::job::LEN];
                    job[product::job::LIST] = sizes.list(side);
                    job[product::job::SIDE] = side;
                    job[product::job::ROWS] = n[side];
                    job[product::job::K4] = tables[side].width / 4;
                    job[product::job::N] = first[side].output;
                    job[product::job::A] = tables[side].start / 4;
                    job[product::job::B] = first[side].weight;
                    job[product::job::B_ROW] = first[side].output;
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
                    let mut job = [0; product::job::LEN];
                    job[product::job::LIST] = sizes.list(side);
                    job[product::job::SIDE] = side;
                    job[product::job::ROWS] = n[side];
                    job[product::job::K4] = first[side].output / 4;
                    job[product::job::N] = tables[side].width;
                    job[product::job::A] = accumulators.hidden[side] / 4;
                    job[product::job::B] = first[side].weight;
                    job[product::job::B_ROW] = first[side].output;
                    job[product::job::BIAS] = NONE as usize;
                    job[product::job::OUT] = tables[side].start;
                    job[product::job::COUNT] = sizes.count(side);
                    job[product::job::FACTOR] = sizes.samples_of_entry(side);
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
}

impl Plan {
    /// Returns the values of the largest buffer.
    pub fn largest_buffer(&self, sizes: Sizes) -> usize {
        let widest = self.hidden.iter().map(|width| width[0]).max().unwrap_or(0);
        let sides = sizes.n().iter().sum::<usize>() * self.hidden.first().map_or(0, |width| width[0]);
        let samples = sizes.rows * sizes.per_row * widest.max(1);
        [self.layout.len, self.accumulators.len, sides, samples, self.pieces].into_iter().max().unwrap_or(0)
    }
}

impl Turns {
    fn over(n: usize, most_cubes: usize) -> Self {
        let cubes = n.clamp(1, most_cubes);
        Self { cubes, rounds: n.div_ceil(cubes) }
    }
}

/// What the reduction sums: the words of its jobs but the first cube.
#[derive(Default)]
struct Pieces {
    sums: Vec<[usize; reduce::job::LEN - 1]>,
    len: usize,
}

impl Pieces {
    fn take(&mut self, len: usize) -> usize {
        let start = self.len;
        self.len += len.next_multiple_of(4);
        start
    }

    /// Adds the loss, and the gradients by the output's bias and by the tower's part of its weight.
    fn of_score(&mut self, layout: &Layout, parts: Parts, hidden: &[[usize; 2]], cubes: usize, dim: usize) {
        let last = hidden.last().map_or(0, |width| width[0]);
        let stride = score::SUMS + last;
        let start = self.take(cubes * stride);
        self.sums.push([1, cubes, start, stride, NONE as usize, NONE as usize]);
        if parts.weighted || parts.tower {
            let [bias, negative] = classes(parts, layout.output_bias, 4);
            self.sums.push([1, cubes, start + 1, stride, bias, negative]);
        }
        if parts.tower {
            let [weight, negative] = classes(parts, layout.output + dim, layout.output_rows);
            self.sums.push([last, cubes, start + score::SUMS, stride, weight, negative]);
        }
    }

    /// Adds the gradient by the weights of the dot product.
    fn of_dot(&mut self, layout: &Layout, parts: Parts, cubes: usize, dim: usize) {
        let start = self.take(cubes * dim);
        let [weight, negative] = classes(parts, layout.output, layout.output_rows);
        self.sums.push([dim, cubes, start, dim, weight, negative]);
    }

    /// Adds the gradients by a layer's weight and bias.
    fn of_layer(&mut self, layer: &Layer, sizes: Sizes) -> Jobs {
        let mut job = [0; columns::job::LEN];
        job[columns::job::ROWS] = sizes.per_row;
        job[columns::job::PER_ROW] = 1;
        job[columns::job::LIST] = NONE as usize;
        let samples = sizes.rows * sizes.per_row;
        let start = self.of_columns(&mut job, samples, layer.input, layer.output);
        self.of_weight(&job, start, layer, true);
        column_grid(&[job])
    }

    /// Adds the gradients by the part of the first layer's weight that one side's embeddings are multiplied by.
    fn of_first_layer(
        &mut self,
        first: [Layer; 2],
        table: Table,
        side: usize,
        accumulators: usize,
        sizes: Sizes,
    ) -> [usize; columns::job::LEN] {
        let mut job = [0; columns::job::LEN];
        job[columns::job::ROWS] = table.rows;
        job[columns::job::A] = table.start / 4;
        job[columns::job::B] = accumulators / 4;
        job[columns::job::COUNT] = sizes.count(side);
        job[columns::job::FACTOR] = sizes.samples_of_entry(side);
        job[columns::job::LIST] = sizes.list(side);
        job[columns::job::SIDE] = side;
        let start = self.of_columns(&mut job, sizes.most_rows(side), table.width, first[side].output);
        self.of_weight(&job, start, &first[side], side == 0);
        job
    }

    /// Completes a job over so many rows at most, and returns where its pieces begin.
    fn of_columns(&mut self, job: &mut [usize; columns::job::LEN], rows: usize, a: usize, b: usize) -> usize {
        let piece = columns::rows_of_piece(rows);
        let n_pieces = rows.div_ceil(piece);
        let start = self.take(n_pieces * (a + 1) * b);
        job[columns::job::A4] = a / 4;
        job[columns::job::B4] = b / 4;
        job[columns::job::OUT] = start / 4;
        job[columns::job::PIECE] = piece;
        job[columns::job::PIECES] = n_pieces;
        start
    }

    fn of_weight(&mut self, job: &[usize; columns::job::LEN], start: usize, layer: &Layer, with_bias: bool) {
        let (len, pieces) = (layer.input * layer.output, job[columns::job::PIECES]);
        let stride = (layer.input + 1) * layer.output;
        self.sums.push([len, pieces, start, stride, layer.weight, NONE as usize]);
        if with_bias {
            self.sums.push([layer.output, pieces, start + len, stride, layer.bias, NONE as usize]);
        }
    }

    fn jobs(&self) -> Jobs {
        in_a_row(&self.sums, |sum| sum[0].div_ceil(reduce::COLUMNS))
    }
}

/// Where a sum goes for the last class, and where its negative goes for the first of two.
fn classes(parts: Parts, start: usize, length: usize) -> [usize; 2] {
    if parts.two_classes { [start + length, start] } else { [start, NONE as usize] }
}

/// Puts the cubes of jobs in a row: each job's words begin with its first cube.
fn in_a_row<const N: usize>(jobs: &[[usize; N]], cubes: impl Fn(&[usize; N]) -> usize) -> Jobs {
    let mut words = Vec::new();
    let mut first = 0;
    for job in jobs {
        words.push(first as u32);
        words.extend(job.iter().map(|&word| word as u32));
        first += cubes(job);
    }
    Jobs { words, count: jobs.len(), cubes: [first, 1, 1] }
}

fn most(values: impl Iterator<Item = usize>) -> usize {
    values.max().unwrap_or(1)
}

fn column_grid(jobs: &[[usize; columns::job::LEN]]) -> Jobs {
    let tiles = |job: &[usize; columns::job::LEN]| {
        job[columns::job::A4].div_ceil(16) * job[columns::job::B4].div_ceil(32)
    };
    let cubes =
        [most(jobs.iter().map(|job| job[columns::job::PIECES])), most(jobs.iter().map(tiles)), jobs.len()];
    Jobs { words: jobs.as_flattened().iter().map(|&word| word as u32).collect(), count: jobs.len(), cubes }
}

/// The grid of products with so many rows.
fn product_grid(rows: &[usize], jobs: &[[usize; product::job::LEN]]) -> Jobs {
    let columns = |job: &[usize; product::job::LEN]| job[product::job::N].div_ceil(product::TILE_COLUMNS);
    let cubes = [
        most(rows.iter().map(|rows| rows.div_ceil(product::TILE_ROWS))),
        most(jobs.iter().map(columns)),
        jobs.len(),
    ];
    Jobs { words: jobs.as_flattened().iter().map(|&word| word as u32).collect(), count: jobs.len(), cubes }
}

/// A layer over all samples, or back from the gradient by its sums to that by its input.
fn layer_product(layer: &Layer, sizes: Sizes, forward: bool) -> Jobs {
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

/// The optimiser's jobs: each table, the dense weights, and what is to be zero for the next batch.
fn update_jobs(
    layout: &Layout,
    accumulators: &Accumulators,
    parts: Parts,
    first_hidden: Option<&[usize; 2]>,
    sizes: Sizes,
) -> Jobs {
    // The words of a job but the first cube.
    const LEN: usize = update::job::LEN - 1;
    let none = NONE as usize;
    let mut jobs: Vec<[usize; LEN]> = Vec::new();
    let table = |kind: u32, table: Table, side: usize| {
        let mut job = [0; LEN];
        job[update::job::KIND - 1] = kind as usize;
        job[update::job::LEN4 - 1] = table.len4();
        job[update::job::WEIGHTS - 1] = table.start / 4;
        job[update::job::WIDTH - 1] = table.width;
        job[update::job::COUNT - 1] = sizes.count(side);
        job[update::job::OTHER_BOUND - 1] = none;
        job[update::job::FACTOR - 1] = sizes.samples_of_entry(side);
        job[update::job::DOT_WEIGHT - 1] = none;
        job[update::job::LAZY - 1] = usize::from(sizes.lazy[side]);
        // Rows of one value share vectors, so that a table of them is not cut by a list.
        job[update::job::LIST - 1] = if table.width > 1 { sizes.list(side) } else { none };
        job[update::job::SIDE - 1] = side;
        job
    };
    for side in 0..2 {
        // A user's vector is in each sample of a training row.
        let reg = if parts.reg { sizes.samples_of_entry(side) } else { 0 };
        if let Some(tables) = layout.dot {
            let mut job = table(update::kind::TABLE, tables[side], side);
            job[update::job::ACCUMULATORS - 1] = accumulators.dot[side] / 4;
            job[update::job::BOUND - 1] = bound::SCORE;
            job[update::job::OTHER_BOUND - 1] = if side == 0 { bound::ITEM } else { bound::USER };
            if parts.weighted {
                let class = if parts.two_classes { layout.output_rows } else { 0 };
                job[update::job::DOT_WEIGHT - 1] = class / 4;
            }
            job[update::job::REG - 1] = reg;
            jobs.push(job);
        }
        if let Some(tables) = layout.biases {
            let mut job = table(update::kind::TABLE, tables[side], side);
            job[update::job::ACCUMULATORS - 1] = accumulators.biases[side] / 4;
            job[update::job::BOUND - 1] = bound::SCORE;
            job[update::job::REG - 1] = reg;
            jobs.push(job);
        }
        if let (Some(tables), Some([width, _])) = (layout.embeddings, first_hidden) {
            jobs.push(table(update::kind::GRADIENTS, tables[side], side));
            let mut clear = [0; LEN];
            clear[update::job::KIND - 1] = update::kind::CLEAR as usize;
            clear[update::job::LEN4 - 1] = sizes.n()[side] * width / 4;
            clear[update::job::ACCUMULATORS - 1] = accumulators.hidden[side] / 4;
            clear[update::job::WIDTH - 1] = *width;
            clear[update::job::LIST - 1] = sizes.list(side);
            clear[update::job::SIDE - 1] = side;
            jobs.push(clear);
        }
    }
    if layout.len > layout.dense {
        let mut dense = [0; LEN];
        dense[update::job::KIND - 1] = update::kind::GRADIENTS as usize;
        dense[update::job::LEN4 - 1] = (layout.len - layout.dense) / 4;
        dense[update::job::WEIGHTS - 1] = layout.dense / 4;
        dense[update::job::WIDTH - 1] = 4;
        dense[update::job::LIST - 1] = none;
        jobs.push(dense);
    }
    let mut counts = [0; LEN];
    counts[update::job::KIND - 1] = update::kind::CLEAR_COUNTS as usize;
    counts[update::job::LEN4 - 1] = sizes.shape.n_users + sizes.shape.n_items;
    counts[update::job::WIDTH - 1] = 4;
    counts[update::job::LIST - 1] = none;
    jobs.push(counts);
    in_a_row(&jobs, |job| {
        let listed = sizes.most_rows(job[update::job::SIDE - 1]) * job[update::job::WIDTH - 1] / 4;
        let len4 = job[update::job::LEN4 - 1];
        let vectors = if job[update::job::LIST - 1] == none { len4 } else { listed };
        vectors.div_ceil(UNITS)
    })
}
