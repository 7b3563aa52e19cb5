//! Every solver against ALS in f64, for lengths below and above the number of items and of a row's entries, and regularisers
//! down to none.

#[expect(dead_code, reason = "what trains on the CPU opens no device")]
mod devices;
mod reference;

use burnrec_data::Csr;
use burnrec_models::als::{
    AlsConfig, AlsLearner, Convention, RegScaling, RowSolver, Solver, initial_factors,
};
use burnrec_models::{Learner, Silent};
use devices::gpu;
use reference::{Factors, block_sweep, half_sweep, objective, widened};

/// Drawn rows: about a third of all cells, values from 1 to 5; user 4 has no entry, and user 5 all.
fn drawn(n_users: usize, n_items: usize) -> Csr {
    let noise = initial_factors(17, n_users, n_items, (n_items as f32).sqrt());
    let (mut offsets, mut cols, mut values) = (vec![0], Vec::new(), Vec::new());
    for user in 0..n_users {
        for item in 0..n_items {
            if user != 4 && (user == 5 || noise[user * n_items + item] > 0.4) {
                cols.push(item as u32);
                values.push((1 + (user * 5 + item * 3) % 5) as f32);
            }
        }
        offsets.push(cols.len());
    }
    Csr::new(n_items, offsets, cols, values)
}

/// Every kind of feedback, with regularisers from usual ones down to none, and with unobserved cells that weigh so much that
/// they nearly cancel.
fn grid(dim: usize) -> Vec<AlsConfig> {
    let implicit = [Convention::Rendle, Convention::Implicit, Convention::Spark].map(AlsConfig::implicit);
    let mut configs = Vec::new();
    for kind in implicit.into_iter().chain([AlsConfig::explicit()]) {
        for reg in [0.0, 1e-7, 1e-4, 1e-2, 0.1] {
            for reg_scaling in [RegScaling::None, RegScaling::Count] {
                configs.push(AlsConfig { dim, reg, reg_scaling, ..kind.clone() });
            }
        }
    }
    let heavy = AlsConfig { dim, unobserved_weight: 1e6, ..AlsConfig::implicit(Convention::Implicit) };
    configs.push(heavy);
    configs
}

fn zeros(train: &Csr, dim: usize) -> Factors {
    [vec![0.0; train.n_rows() * dim], vec![0.0; train.n_cols() * dim]]
}

/// Solves items, users, items and users, and asserts after each that no better factors of that side are there but by 0.1 % of
/// the objective and by what the rounding of the targets to f32 amounts to, or by `slack` of the objective at zero.
fn assert_solves(config: &AlsConfig, train: &Csr, rounds: usize, slack: f64) {
    let transposed = train.transpose();
    let learner = AlsLearner::new(train, config.clone(), 3).expect("sound settings");
    let mut factors = [learner.factors().0.to_vec(), learner.factors().1.to_vec()];
    let at_zero = objective(config, train, &zeros(train, config.dim));
    for (side, rows) in [(1, &transposed), (0, train), (1, &transposed), (0, train)] {
        let fixed = factors[1 - side].clone();
        let solver = RowSolver::new(config, &fixed);
        (0..rounds).for_each(|_| solver.solve_all(&fixed, rows, &mut factors[side], &|_| {}));
        let mut best = factors.each_ref().map(|side| widened(side));
        let found = objective(config, train, &best);
        half_sweep(config, rows, &widened(&fixed), &mut best[side]);
        let least = objective(config, train, &best);
        assert!(
            found <= 1.001 * least + slack * at_zero,
            "{found}, in f64 {least}, at zero {at_zero}: {} items, side {side}, {config:?}",
            train.n_cols()
        );
    }
}

fn for_all(check: impl Fn(&AlsConfig, &Csr)) {
    for n_items in [5, 25, 100] {
        let train = drawn(30, n_items);
        for dim in [8, 64] {
            grid(dim).iter().for_each(|config| check(config, &train));
        }
    }
}

#[test]
fn cholesky_is_within_a_thousandth_of_f64() {
    for_all(|config, train| {
        assert_solves(&AlsConfig { solver: Solver::Cholesky, ..config.clone() }, train, 1, 1e-6);
    });
}

#[test]
fn conjugate_gradients_are_within_a_thousandth_of_f64() {
    for_all(|config, train| {
        assert_solves(&AlsConfig { solver: Solver::Cg, ..config.clone() }, train, 20, 1e-6);
    });
}

#[test]
fn blocks_are_within_a_thousandth_of_blocks_in_f64() {
    const ROUNDS: usize = 8;
    for_all(|config, train| {
        let config = AlsConfig { solver: Solver::Subspace, ..config.clone() };
        let learner = AlsLearner::new(train, config.clone(), 3).expect("sound settings");
        let at_zero = objective(&config, train, &zeros(train, config.dim));
        let mut factors = [learner.factors().0.to_vec(), learner.factors().1.to_vec()];
        for (side, rows) in [(1, &train.transpose()), (0, train)] {
            let fixed = factors[1 - side].clone();
            let solver = RowSolver::new(&config, &fixed);
            let mut in_f64 = factors.each_ref().map(|side| widened(side));
            for _ in 0..ROUNDS {
                solver.solve_all(&fixed, rows, &mut factors[side], &|_| {});
                block_sweep(&config, rows, &widened(&fixed), &mut in_f64[side]);
            }
            let found = objective(&config, train, &factors.each_ref().map(|side| widened(side)));
            let right = objective(&config, train, &in_f64);
            // Rows with blocks that f32 does not hold are solved exactly, and so come nearer.
            assert!(found <= 1.001 * right + 1e-6 * at_zero, "{found}, in f64 {right}: {config:?}");
        }
    });
}

#[test]
fn blocks_come_near_f64() {
    // Block after block, a nearly singular row nears its solution slowly: what is left is compared with the whole way.
    for_all(|config, train| {
        assert_solves(&AlsConfig { solver: Solver::Subspace, ..config.clone() }, train, 120, 3e-3);
    });
}

#[test]
fn nonnegative_rows_are_within_a_thousandth_of_f64() {
    for_all(|config, train| {
        assert_solves(&AlsConfig { nonnegative: true, ..config.clone() }, train, 1, 1e-6);
    });
}

#[test]
fn a_device_is_within_a_thousandth_of_f64() {
    let Some(gpu) = gpu("a_device_is_within_a_thousandth_of_f64") else { return };
    for n_items in [5, 25] {
        let train = drawn(30, n_items);
        for (solver, epochs) in [(Solver::Cholesky, 1), (Solver::Cg, 20)] {
            for config in grid(64) {
                let config = AlsConfig { solver, ..config };
                let mut learner = AlsLearner::new(&train, config.clone(), 3).expect("sound settings");
                learner.move_to(&gpu).expect("the device trains");
                for _ in 0..epochs {
                    learner.epoch(&Silent).expect("finite factors");
                }
                // Users are solved last, for the items that are there.
                let mut best = [widened(learner.factors().0), widened(learner.factors().1)];
                let found = objective(&config, &train, &best);
                let [users, items] = &mut best;
                half_sweep(&config, &train, items, users);
                let least = objective(&config, &train, &best);
                let at_zero = objective(&config, &train, &zeros(&train, 64));
                assert!(
                    found <= 1.001 * least + 1e-6 * at_zero,
                    "{found}, in f64 {least}, at zero {at_zero}: {n_items} items, {config:?}"
                );
            }
        }
    }
}

#[test]
fn what_no_f32_holds_is_refused() {
    let train = drawn(30, 25).map_values(|_, _, value| value * 6e37);
    for solver in [Solver::Cholesky, Solver::Cg, Solver::Subspace] {
        // The users' factors would be about 1e39.
        let config = AlsConfig { solver, reg: 1e-6, init_std: 1e-3, ..AlsConfig::explicit() };
        let mut learner = AlsLearner::new(&train, config, 3).expect("finite values");
        let error = learner.epoch(&Silent).expect_err("beyond f32").to_string();
        assert!(error.contains("epoch 1"), "{error}");
    }
}
