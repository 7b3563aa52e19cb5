//! ALS in blocks, against the learner of one machine on the same rows.

use burnrec_data::rng::stream;
use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::als::block::{Block, BlockRows, Whole, block_of, first, gram, pick};
use burnrec_models::als::{AlsConfig, AlsLearner, Convention, Solver};
use burnrec_models::{Learner, Silent};
use rand::{Rng, RngExt};

const USERS: i32 = 70;
const ITEMS: i32 = 45;
const SEED: u64 = 5;

/// Interactions in columns.
#[derive(Clone, Default)]
struct Rows {
    users: Vec<i32>,
    items: Vec<i32>,
    values: Vec<f32>,
}

impl Rows {
    fn swapped(&self) -> Self {
        Self { users: self.items.clone(), items: self.users.clone(), values: self.values.clone() }
    }

    fn permuted(&self, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..self.users.len()).collect();
        let mut rng = stream(seed, "test.order", 0);
        order.sort_by_cached_key(|_| rng.next_u64());
        Self {
            users: order.iter().map(|&k| self.users[k]).collect(),
            items: order.iter().map(|&k| self.items[k]).collect(),
            values: order.iter().map(|&k| self.values[k]).collect(),
        }
    }
}

/// Draws rows without repeated pairs, in which each user and item occurs.
fn drawn() -> Rows {
    let mut rng = stream(3, "test.rows", 0);
    let mut rows = Rows::default();
    for user in 0..USERS {
        for item in 0..ITEMS {
            if item == user % ITEMS || rng.random::<f32>() < 0.15 {
                rows.users.push(user);
                rows.items.push(item);
                rows.values.push((rng.next_u32() % 6) as f32);
            }
        }
    }
    rows
}

/// One side in blocks, with its factors.
struct Side {
    blocks: Vec<Block>,
    factors: Vec<Vec<f32>>,
}

impl Side {
    /// Cuts `rows` into so many blocks by their users; their items are in `others`.
    fn new(rows: &Rows, blocks: usize, others: usize) -> Self {
        let block = |block: usize| {
            let own = (0..rows.users.len()).filter(|&k| block_of(rows.users[k], blocks) == block);
            let at: Vec<usize> = own.collect();
            let of = |ids: &[i32]| at.iter().map(|&k| ids[k]).collect::<Vec<i32>>();
            let values: Vec<f32> = at.iter().map(|&k| rows.values[k]).collect();
            Block::new(&of(&rows.users), &of(&rows.items), &values, others).unwrap()
        };
        let blocks: Vec<Block> = (0..blocks).map(block).collect();
        Self { factors: vec![Vec::new(); blocks.len()], blocks }
    }

    fn fill(&mut self, of: impl Fn(&Block) -> Vec<f32>) {
        self.factors = self.blocks.iter().map(of).collect();
    }

    /// Solves all blocks for the factors of the other side.
    fn solve(&mut self, config: &AlsConfig, other: &Self) {
        let mut sum = vec![0.0; config.dim * config.dim];
        for factors in &other.factors {
            sum.iter_mut().zip(gram(factors, config.dim)).for_each(|(sum, part)| *sum += part);
        }
        let whole = Whole { gram: &sum, rows: other.blocks.iter().map(|block| block.ids.len()).sum() };
        for (block, x) in self.blocks.iter().zip(&mut self.factors) {
            let (mut needs, mut at) = (Vec::new(), 0);
            for ((&count, from), factors) in block.counts.iter().zip(&other.blocks).zip(&other.factors) {
                let wanted = &block.needs[at..at + count];
                needs.extend(pick(&from.ids, factors, wanted, config.dim).unwrap());
                at += count;
            }
            let rows = BlockRows { offsets: &block.offsets, cols: &block.cols, values: &block.values };
            rows.solve(config, &needs, whole, x).unwrap();
        }
    }

    /// The factors of all ids from 0 on, which all have rows.
    fn all(&self, n: i32, dim: usize) -> Vec<f32> {
        let of = |id: i32| {
            let at = block_of(id, self.blocks.len());
            pick(&self.blocks[at].ids, &self.factors[at], &[id], dim).unwrap()
        };
        (0..n).flat_map(of).collect()
    }
}

/// Trains in blocks as the learner does: items first.
fn in_blocks(rows: &Rows, config: &AlsConfig, [users, items]: [usize; 2], epochs: usize) -> [Vec<f32>; 2] {
    let (mut u, mut i) = (Side::new(rows, users, items), Side::new(&rows.swapped(), items, users));
    u.fill(|block| first(config, SEED, &block.ids));
    i.fill(|block| vec![0.0; block.ids.len() * config.dim]);
    for _ in 0..epochs {
        i.solve(config, &u);
        u.solve(config, &i);
    }
    [u.all(USERS, config.dim), i.all(ITEMS, config.dim)]
}

fn on_one_machine(rows: &Rows, config: &AlsConfig, epochs: usize) -> [Vec<f32>; 2] {
    let users: Vec<UserIx> = rows.users.iter().map(|&user| UserIx(user as u32)).collect();
    let items: Vec<ItemIx> = rows.items.iter().map(|&item| ItemIx(item as u32)).collect();
    let train = Csr::from_rows(USERS as usize, ITEMS as usize, &users, &items, &rows.values);
    let mut learner = AlsLearner::new(&train, config.clone(), SEED).unwrap();
    (0..epochs).for_each(|_| drop(learner.epoch(&Silent).unwrap()));
    let (users, items) = learner.factors();
    [users.to_vec(), items.to_vec()]
}

fn configs() -> Vec<AlsConfig> {
    let of = |config: AlsConfig| AlsConfig { dim: 12, reg: 0.1, init_std: 1.0, ..config };
    let feedbacks = [
        AlsConfig::explicit(),
        AlsConfig::implicit(Convention::Spark),
        AlsConfig::implicit(Convention::Implicit),
        AlsConfig { unobserved_weight: 0.4, ..AlsConfig::implicit(Convention::Rendle) },
    ];
    let by = |config: &AlsConfig, solver, nonnegative| {
        let config = config.clone();
        AlsConfig { solver, nonnegative, block_size: 4, ..config }
    };
    let solvers =
        [(Solver::Cholesky, false), (Solver::Cg, false), (Solver::Subspace, false), (Solver::Cholesky, true)];
    let all = |config: AlsConfig| solvers.map(|(solver, nonnegative)| by(&config, solver, nonnegative));
    feedbacks.map(of).into_iter().flat_map(all).collect()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn blocks_have_the_factors_of_one_machine() {
    let rows = drawn();
    for config in configs() {
        let expected = on_one_machine(&rows, &config, 3);
        for blocks in [[1, 1], [3, 2], [4, 7]] {
            let found = in_blocks(&rows, &config, blocks, 3);
            for (found, expected) in found.iter().zip(&expected) {
                let far = furthest(found, expected);
                assert!(far < 1e-5, "{far} with {blocks:?} blocks, {config:?}");
            }
        }
    }
}

#[test]
fn neither_the_order_of_rows_nor_the_number_of_threads_changes_a_bit() {
    let rows = drawn();
    let config = AlsConfig { dim: 12, ..AlsConfig::implicit(Convention::Spark) };
    let expected = in_blocks(&rows, &config, [3, 2], 2);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| in_blocks(&rows.permuted(threads as u64), &config, [3, 2], 2));
        assert_eq!(found, expected, "{threads} threads");
    }
}

#[test]
fn a_repeated_pair_counts_as_often_as_it_stands_there() {
    // Twice a pair of weight 1 + a and once one of weight 1 + b is, for the solution, a row without repetitions of the same
    // sums: A gets 2 a + b, and with the regulariser of the count 3.
    let config = AlsConfig { dim: 2, solver: Solver::Cholesky, ..AlsConfig::implicit(Convention::Spark) };
    let block = Block::new(&[4, 4, 4], &[-9, -9, -9], &[2.0, 5.0, 2.0], 2).unwrap();
    assert_eq!(block.counts, [0, 1]);
    assert_eq!(block.values, [2.0, 2.0, 5.0]);
    let (q, mut x) = ([0.5, -1.0], [0.0; 2]);
    let sum = gram(&q, 2);
    let rows = BlockRows { offsets: &block.offsets, cols: &block.cols, values: &block.values };
    rows.solve(&config, &q, Whole { gram: &sum, rows: 1 }, &mut x).unwrap();
    // A = (1 + 2 + 2 + 5) q q^T + 3 reg I and b = (3 + 3 + 6) q, so that x = 12 q / (10 q.q + 3 reg).
    let scale = 12.0 / (10.0 * 1.25 + 3.0 * config.reg);
    assert!(furthest(&x, &q.map(|q| scale * q)) < 1e-6, "{x:?}");
}

#[test]
fn ids_may_be_negative_and_have_gaps() {
    let rows = drawn();
    let ids = |id: &i32| id * 7_919_317 - 270_000_000;
    let far = Rows { users: rows.users.iter().map(ids).collect(), ..rows.clone() };
    let block = Block::new(&far.users, &far.items, &far.values, 3).unwrap();
    assert!(block.ids[0] < 0 && block.ids.is_sorted());
    let near = Block::new(&rows.users, &rows.items, &rows.values, 3).unwrap();
    assert_eq!((block.offsets, block.cols, block.needs), (near.offsets, near.cols, near.needs));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let message = |error: burnrec_models::Error| error.to_string();
    let error = message(Block::new(&[1, 2], &[1], &[1.0], 2).unwrap_err());
    assert!(error.contains("2 and 1 and 1"), "{error}");
    let error = message(Block::new(&[1], &[8], &[f32::NAN], 2).unwrap_err());
    assert!(error.contains("value of 1 and 8") && error.contains("NaN"), "{error}");
    let error = message(pick(&[3, 5], &[0.0; 4], &[4], 2).unwrap_err());
    assert!(error.contains("found 4"), "{error}");

    let config = AlsConfig { dim: 2, ..AlsConfig::explicit() };
    let sum = [1.0; 4];
    let solve = |config: &AlsConfig, cols: &[u32], needs: &[f32], sum: &[f64]| {
        let rows = BlockRows { offsets: &[0, 1], cols, values: &[1.0] };
        message(rows.solve(config, needs, Whole { gram: sum, rows: 1 }, &mut [0.0; 2]).unwrap_err())
    };
    let error = solve(&config, &[1], &[1.0; 2], &sum);
    assert!(error.contains("found 1, expected less than 1"), "{error}");
    let error = solve(&config, &[0], &[1.0; 3], &sum);
    assert!(error.contains("found 3, expected 2 values"), "{error}");
    let error = solve(&config, &[0], &[1.0; 2], &sum[..3]);
    assert!(error.contains("Gram matrix"), "{error}");
    let error = solve(&AlsConfig { biases: true, ..config.clone() }, &[0], &[1.0; 2], &sum);
    assert!(error.contains("biases"), "{error}");
    let exact = AlsConfig { solver: Solver::Cholesky, ..config };
    let error = solve(&exact, &[0], &[f32::NAN; 2], &[f64::NAN; 4]);
    assert!(error.contains("finite"), "{error}");
}
