//! One row's solution by every solver and instruction set, against the normal equations in f64.

use burnrec_data::Csr;
use burnrec_models::als::{AlsConfig, Convention, RegScaling, RowSolver, Scratch, Solver, initial_factors};
use burnrec_models::simd::Isa;

/// A row's problem, drawn.
struct Problem {
    fixed: Vec<f32>,
    cols: Vec<u32>,
    values: Vec<f32>,
}

fn problem(dim: usize, n_fixed: usize, entries: usize, seed: u64) -> Problem {
    let fixed = initial_factors(seed, n_fixed, dim, 1.0);
    let step = n_fixed / entries.max(1);
    let cols: Vec<u32> = (0..entries).map(|k| (k * step) as u32).collect();
    let values = (0..entries).map(|k| (k * 7 % 5) as f32 + 0.5).collect();
    Problem { fixed, cols, values }
}

/// The row's A and b by the book, dense.
fn equations(config: &AlsConfig, problem: &Problem) -> (Vec<f64>, Vec<f64>) {
    let dim = config.dim;
    let n_fixed = problem.fixed.len() / dim;
    let (mut a, mut b) = (vec![0.0; dim * dim], vec![0.0; dim]);
    let explicit = config.feedback == burnrec_models::als::Feedback::Explicit;
    let w0 = if explicit { 0.0 } else { f64::from(config.unobserved_weight) };
    for item in 0..n_fixed {
        let q: Vec<f64> = problem.fixed[item * dim..(item + 1) * dim].iter().map(|&x| f64::from(x)).collect();
        let value = problem.cols.iter().position(|&col| col as usize == item).map(|k| problem.values[k]);
        let (weight, pull) = match (value.map(f64::from), config.convention) {
            (None, _) => (w0, 0.0),
            (Some(value), _) if explicit => (1.0, value),
            (Some(_), Convention::Rendle) => (1.0 + w0, 1.0),
            (Some(value), Convention::Implicit) => {
                (f64::from(config.alpha) * value, f64::from(config.alpha) * value)
            }
            (Some(value), Convention::Spark) => {
                (1.0 + f64::from(config.alpha) * value, 1.0 + f64::from(config.alpha) * value)
            }
        };
        for i in 0..dim {
            b[i] += pull * q[i];
            for j in 0..dim {
                a[i * dim + j] += weight * q[i] * q[j];
            }
        }
    }
    let n = problem.cols.len() as f64;
    let reg = f64::from(config.reg)
        * match config.reg_scaling {
            RegScaling::None => 1.0,
            RegScaling::Count => n,
            RegScaling::Frequency => (n + w0 * n_fixed as f64).powf(f64::from(config.nu)),
        };
    (0..dim).for_each(|k| a[k * dim + k] += reg);
    (a, b)
}

/// Gaussian elimination with pivots.
fn solved(mut a: Vec<f64>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i * n + k].abs().total_cmp(&a[j * n + k].abs())).unwrap();
        (0..n).for_each(|j| a.swap(k * n + j, pivot * n + j));
        b.swap(k, pivot);
        for i in k + 1..n {
            let factor = a[i * n + k] / a[k * n + k];
            (k..n).for_each(|j| a[i * n + j] -= factor * a[k * n + j]);
            b[i] -= factor * b[k];
        }
    }
    for k in (0..n).rev() {
        let sum: f64 = (k + 1..n).map(|j| a[k * n + j] * b[j]).sum();
        b[k] = (b[k] - sum) / a[k * n + k];
    }
    b
}

fn difference(found: &[f32], expected: &[f64]) -> f64 {
    let scale = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    found.iter().zip(expected).fold(0.0f64, |most, (f, e)| most.max((f64::from(*f) - e).abs())) / scale
}

fn configs(dim: usize) -> Vec<AlsConfig> {
    let conventions = [Convention::Rendle, Convention::Implicit, Convention::Spark];
    let mut configs: Vec<AlsConfig> = conventions.map(AlsConfig::implicit).into();
    configs.push(AlsConfig::explicit());
    configs.iter_mut().for_each(|config| (config.dim, config.reg) = (dim, 0.1));
    configs
}

#[test]
fn every_solver_and_instruction_set_solves_every_length() {
    for dim in (1..=34).chain([47, 48, 49, 63, 64, 65, 96, 127, 128, 129, 130]) {
        // Fewer, as many and more entries than a panel holds.
        for entries in [1, 5, 8, 97, 200] {
            let problem = problem(dim, 210, entries, (dim * 1000 + entries) as u64);
            for config in configs(dim) {
                let (a, b) = equations(&config, &problem);
                let expected = solved(a, b);
                for isa in Isa::all() {
                    for (solver, rounds, tolerance) in
                        [(Solver::Cholesky, 1, 1e-4), (Solver::Cg, 12, 1e-3), (Solver::Subspace, 60, 2e-2)]
                    {
                        let config = AlsConfig { solver, cg_steps: 12, block_size: 13, ..config.clone() };
                        let row = RowSolver::with_isa(&config, &problem.fixed, isa);
                        let (mut scratch, mut x) = (Scratch::default(), vec![0.0; dim]);
                        for _ in 0..rounds {
                            row.solve(&problem.fixed, &problem.cols, &problem.values, &mut scratch, &mut x);
                        }
                        let off = difference(&x, &expected);
                        assert!(off < tolerance, "{off}: dim {dim}, {entries} entries, {isa:?}, {config:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn scratch_does_not_leak_from_row_to_row() {
    for solver in [Solver::Cholesky, Solver::Cg, Solver::Subspace] {
        let config = AlsConfig { dim: 20, solver, block_size: 7, ..AlsConfig::default() };
        let large = problem(20, 150, 140, 1);
        let row = RowSolver::new(&config, &large.fixed);
        let solve = |scratch: &mut Scratch, n: usize| {
            let mut x = vec![0.1; 20];
            row.solve(&large.fixed, &large.cols[..n], &large.values[..n], scratch, &mut x);
            x
        };
        let mut used = Scratch::default();
        for n in [140, 3, 77, 1, 8, 0] {
            assert_eq!(
                solve(&mut used, n),
                solve(&mut Scratch::default(), n),
                "{solver:?} after others, {n} entries"
            );
        }
    }
}

#[test]
fn a_row_without_entries_is_zero() {
    for solver in [Solver::Cholesky, Solver::Cg, Solver::Subspace] {
        let config = AlsConfig { dim: 5, solver, ..AlsConfig::default() };
        let fixed = initial_factors(3, 9, 5, 1.0);
        let mut x = vec![7.0; 15];
        let rows = Csr::new(9, vec![0, 0, 2, 2], vec![1, 4], vec![1.0, 2.0]);
        RowSolver::new(&config, &fixed).solve_all(&fixed, &rows, &mut x, &|_| {});
        assert_eq!((&x[..5], &x[10..]), (&[0.0; 5][..], &[0.0; 5][..]), "{solver:?}");
        assert!(x[5..10].iter().all(|x| *x != 0.0 && *x != 7.0), "{solver:?}");
    }
}

#[test]
fn nonnegative_rows_are_the_best_of_all_supports() {
    for seed in 0..20 {
        for config in configs(6) {
            let config = AlsConfig { nonnegative: true, reg: 0.01, ..config };
            let problem = problem(6, 40, 7, seed);
            let (a, b) = equations(&config, &problem);
            let value = |x: &[f64]| {
                let of = |i: usize| (0..6).map(|j| a[i * 6 + j] * x[j]).sum::<f64>();
                (0..6).map(|i| x[i] * (0.5 * of(i) - b[i])).sum::<f64>()
            };
            // Every set of elements that may be over 0, the others being 0.
            let mut best = (0.0, vec![0.0; 6]);
            for support in 1u32..64 {
                let on: Vec<usize> = (0..6).filter(|k| support >> k & 1 == 1).collect();
                let part: Vec<f64> = on
                    .iter()
                    .flat_map(|&i| on.iter().map(move |&j| (i, j)))
                    .map(|(i, j)| a[i * 6 + j])
                    .collect();
                let solution = solved(part, on.iter().map(|&i| b[i]).collect());
                let mut x = vec![0.0; 6];
                on.iter().zip(&solution).for_each(|(&i, &value)| x[i] = value);
                if solution.iter().all(|&x| x >= 0.0) && value(&x) < best.0 {
                    best = (value(&x), x);
                }
            }
            let mut x = vec![0.3; 6];
            let row = RowSolver::new(&config, &problem.fixed);
            row.solve(&problem.fixed, &problem.cols, &problem.values, &mut Scratch::default(), &mut x);
            assert!(x.iter().all(|&x| x >= 0.0));
            let scale = best.1.iter().fold(1e-3f64, |most, x| most.max(*x));
            for (found, expected) in x.iter().zip(&best.1) {
                assert!((f64::from(*found) - expected).abs() < 1e-3 * scale, "{x:?}, expected {:?}", best.1);
            }
        }
    }
}

#[test]
fn without_a_regulariser_too_few_entries_still_give_numbers() {
    for solver in [Solver::Cholesky, Solver::Cg, Solver::Subspace] {
        let config = AlsConfig { dim: 12, reg: 0.0, solver, ..AlsConfig::explicit() };
        let problem = problem(12, 30, 4, 5);
        let mut x = vec![0.0; 12];
        let row = RowSolver::new(&config, &problem.fixed);
        row.solve(&problem.fixed, &problem.cols, &problem.values, &mut Scratch::default(), &mut x);
        assert!(x.iter().all(|x| x.is_finite() && x.abs() < 1e4), "{solver:?}: {x:?}");
    }
}
