//! Users of ALS folded in with weights that fall with the age of their rows, against dense normal equations in f64.

mod reference;

use burnrec_data::rng::stream;
use burnrec_data::{Csr, Entry};
use burnrec_models::als::{AlsConfig, AlsLearner, Convention};
use burnrec_models::testing::catalog;
use burnrec_models::{Learner, Model, Recency, Silent};
use rand::RngExt;
use reference::{weighted_half_sweep, widened};

const USERS: usize = 50;
const ITEMS: usize = 40;
const DAY: i64 = 86_400;

/// Histories of up to 24 rows, with times in no even steps.
fn histories() -> Csr {
    let history = |user: usize| {
        let mut rng = stream(3, "histories", user as u64);
        let mut time = 1_000_000_000;
        let mut entry = |_| {
            time += rng.random_range(0..3 * DAY);
            let (col, value) = (rng.random_range(0..ITEMS as u32), rng.random_range(1..=5) as f32);
            Entry { col, value, time: Some(time) }
        };
        (0..user % 25).map(&mut entry).collect()
    };
    Csr::from_histories(ITEMS, (0..USERS).map(history))
}

fn configs() -> Vec<AlsConfig> {
    let conventions = [Convention::Rendle, Convention::Implicit, Convention::Spark].map(AlsConfig::implicit);
    let nonnegative = AlsConfig { nonnegative: true, ..AlsConfig::default() };
    conventions
        .into_iter()
        .chain([AlsConfig::explicit(), nonnegative])
        .map(|of| AlsConfig { dim: 5, ..of })
        .collect()
}

fn fitted(train: &Csr, config: &AlsConfig) -> Box<dyn Model> {
    let mut learner = AlsLearner::new(train, config.clone(), 7).expect("a learner");
    (0..4).for_each(|_| drop(learner.epoch(&Silent).expect("an epoch")));
    learner.model()
}

#[test]
fn users_are_those_of_weighted_normal_equations() {
    let train = histories();
    let order = train.order().expect("an order");
    let times = order.times.as_ref().expect("times");
    for (config, recency) in configs()
        .into_iter()
        .flat_map(|config| [Recency::Rows(2.5), Recency::Days(4.0)].map(|of| (config.clone(), of)))
    {
        let weight = |row: usize, at: usize| {
            let entries = train.offsets()[row]..train.offsets()[row + 1];
            let newest = times[entries.clone()].iter().max().expect("entries");
            match recency {
                Recency::Rows(tau) => (-f64::from(order.ages[entries.start + at]) / f64::from(tau)).exp(),
                Recency::Days(tau) => {
                    let days = (newest - times[entries.start + at]) as f64 / DAY as f64;
                    (-days / f64::from(tau)).exp()
                }
                Recency::None => unreachable!("none is weighed"),
            }
        };
        let plain = fitted(&train, &config);
        let model = fitted(&train, &AlsConfig { recency, ..config.clone() });
        let items = model.item_vectors().expect("items").values;
        assert_eq!(items, plain.item_vectors().expect("items").values, "items are trained as they are");
        let mut expected = vec![0.0; USERS * config.dim];
        weighted_half_sweep(&config, &train, &weight, &widened(items), &mut expected);
        let found = model.user_vectors().expect("users").values;
        for (found, expected) in found.iter().zip(&expected) {
            let apart = (f64::from(*found) - expected).abs();
            assert!(apart < 1e-4 * expected.abs().max(1.0), "{found} is {expected}: {recency:?} {config:?}");
        }
        assert!(catalog(&*model) != catalog(&*plain), "{recency:?} changes scores");
        // An unknown user with the same history has the same factors.
        let folded = model.as_fold_in().expect("folds in").fold_in(&train).expect("histories");
        assert_eq!(catalog(&*folded), catalog(&*model), "{recency:?} {config:?}");
    }
}

#[test]
fn without_recency_an_order_changes_no_bit() {
    let train = histories();
    let (offsets, cols, values) = (train.offsets(), train.cols(), train.values());
    let unordered = Csr::new(ITEMS, offsets.to_vec(), cols.to_vec(), values.to_vec());
    for config in configs() {
        assert_eq!(catalog(&*fitted(&train, &config)), catalog(&*fitted(&unordered, &config)));
    }
}

#[test]
fn histories_whose_ages_are_not_known_are_refused() {
    let history = || (0..5).map(|col| Entry { col, value: 1.0, time: None }).collect();
    let untimed = Csr::from_histories(ITEMS, [history(), history()]);
    let error = |train: &Csr, recency| {
        let config = AlsConfig { dim: 5, recency, ..AlsConfig::default() };
        AlsLearner::new(train, config, 7).err().map(|error| error.to_string())
    };
    assert_eq!(error(&untimed, Recency::Rows(6.0)), None);
    let in_days = error(&untimed, Recency::Days(6.0)).expect("refused");
    assert!(
        in_days.starts_with("fold-in: found histories without times, expected a time for each row"),
        "{in_days}"
    );
    let unordered = Csr::new(ITEMS, vec![0, 1], vec![3], vec![1.0]);
    let error = error(&unordered, Recency::Rows(6.0)).expect("refused");
    assert!(error.contains("found histories without an order"), "{error}");
}
