//! Bayesian matrix factorisation over time: its conditionals against dense equations, planted drift, resuming, folding in and
//! what it refuses.

mod dense;

use burnrec_data::rng::stream;
use burnrec_data::tensors::{self, TensorFile};
use burnrec_data::{Csr, Entry, UserIx};
use burnrec_models::als::initial_factors;
use burnrec_models::bpmf::{
    Biases, BpmfConfig, BpmfLearner, BpmfModel, Given, Groups, RowPosterior, Source, Spans,
};
use burnrec_models::testing::catalog;
use burnrec_models::{Family, Learner, Scorer, Shape, Silent};
use dense::solved;
use rand::RngExt;

const SETTINGS: [(usize, usize); 3] = [(4, 0), (0, 6), (4, 6)];

fn config((item_bins, user_span): (usize, usize)) -> BpmfConfig {
    BpmfConfig { dim: 7, burn_in: 2, samples: 3, item_bins, user_span, ..BpmfConfig::default() }
}

fn after(train: &Csr, config: &BpmfConfig, sweeps: usize) -> BpmfLearner {
    let mut learner = BpmfLearner::new(train, config.clone(), 5).expect("a learner");
    (0..sweeps).for_each(|_| drop(learner.epoch(&Silent).expect("a sweep")));
    learner
}

/// A rating of `user`, `item`, the time, and the place in the user's rows.
type Rating = fn(usize, usize, i64, usize) -> f32;

const N_ITEMS: usize = 90;
const DAYS: i64 = 400;

/// Draws histories in which each user has rated all items in an order of its own, with noise of a standard deviation of about
/// 0.3; every third row is kept apart with its rating without noise.
fn histories(n_users: usize, rating: Rating) -> (Csr, Vec<Vec<Entry>>) {
    let (mut known, mut held_out) = (Vec::new(), Vec::new());
    for user in 0..n_users {
        let mut rng = stream(3, "histories", user as u64);
        let mut rows: Vec<(i64, usize)> =
            (0..N_ITEMS).map(|item| ((rng.random::<f64>() * DAYS as f64) as i64, item)).collect();
        rows.sort_unstable();
        let entry = |(place, &(day, item)): (usize, &(i64, usize))| Entry {
            col: item as u32,
            value: rating(user, item, day, place),
            time: Some(day * 86_400),
        };
        let rows: Vec<Entry> = rows.iter().enumerate().map(entry).collect();
        let of = |held: bool| rows.iter().enumerate().filter(move |(at, _)| (at % 3 == 1) == held);
        let mut noisy = |entry: &Entry| Entry { value: entry.value + rng.random::<f32>() - 0.5, ..*entry };
        known.push(of(false).map(|(_, entry)| noisy(entry)).collect());
        held_out.push(of(true).map(|(_, entry)| *entry).collect());
    }
    (Csr::from_histories(N_ITEMS, known), held_out)
}

fn small() -> Csr {
    histories(40, |user, item, day, _| (user % 5) as f32 + (item % 3) as f32 + (day / 100) as f32 / 4.0).0
}

/// The root of the mean squared error of ratings at their times.
fn rmse(model: &dyn Scorer, held_out: &[Vec<Entry>]) -> f32 {
    let scores = catalog(model);
    let (mut squared, mut n) = (0.0, 0);
    for (user, rows) in held_out.iter().enumerate() {
        let items: Vec<u32> = rows.iter().map(|entry| entry.col).collect();
        let times: Vec<i64> = rows.iter().filter_map(|entry| entry.time).collect();
        let mut predicted: Vec<f32> =
            items.iter().map(|&item| scores[user * model.n_items() + item as usize]).collect();
        if let Some(drift) = model.drift() {
            drift.add(UserIx(user as u32), &items, &times, &mut predicted);
        }
        squared += rows.iter().zip(&predicted).map(|(entry, x)| (entry.value - x).powi(2)).sum::<f32>();
        n += rows.len();
    }
    (squared / n as f32).sqrt()
}

#[test]
fn rows_and_spans_have_the_mean_and_the_covariance_of_their_joint_equations() {
    const WIDTH: usize = 4;
    const SPANS: usize = 3;
    const N: usize = 20_000;
    let (n_items, noise, strength) = (9, 1.7, 0.6);
    let fixed = initial_factors(1, n_items, WIDTH, 1.5);
    let half = initial_factors(3, WIDTH, WIDTH, 2.0);
    let cell = |i: usize, j: usize| {
        (0..WIDTH).map(|k| half[i * WIDTH + k] * half[j * WIDTH + k]).sum::<f32>()
            + f32::from(u8::from(i == j)) / 2.0
    };
    let precision: Vec<f32> = (0..WIDTH * WIDTH).map(|at| cell(at / WIDTH, at % WIDTH)).collect();
    let mean = vec![0.3, -0.2, 0.1, 0.4];
    // In spans of 3 rows: items 7, 0, 3, then 8, 2, 5, then 1.
    let history: Vec<Entry> = [(7, 0.5), (0, -1.0), (3, 1.5), (8, 0.2), (2, -0.4), (5, 2.0), (1, 0.7)]
        .iter()
        .zip(10..)
        .map(|(&(col, value), time)| Entry { col, value, time: Some(time) })
        .collect();
    let rows = Csr::from_histories(n_items, vec![history.clone(); N]);
    let spans = Spans::of(&rows, 3).expect("times");
    let posterior = RowPosterior::new(Given {
        fixed: fixed.clone(),
        mean: mean.clone(),
        precision: precision.clone(),
        noise,
        effects: Vec::new(),
        bins: Vec::new(),
        span_strength: Some(strength),
    });
    let (mut means, mut draws) = (vec![0.0; N * WIDTH], vec![0.0; N * WIDTH]);
    let source = Source { seed: 9, purpose: "test", sweep: 3 };
    posterior.draw((&rows, Some(&spans)), source, &mut means, &mut draws, &|_| {});
    let of_spans = posterior.span_means((&rows, &spans), &means);

    // The row and the biases of its spans as the unknowns of one normal distribution.
    const ALL: usize = WIDTH + SPANS;
    let (mut a, mut b) = (vec![vec![0.0; ALL]; ALL], vec![0.0; ALL]);
    for i in 0..WIDTH {
        for j in 0..WIDTH {
            a[i][j] = f64::from(precision[i * WIDTH + j]);
            b[i] += a[i][j] * f64::from(mean[j]);
        }
    }
    (WIDTH..ALL).for_each(|span| a[span][span] = f64::from(strength));
    for (place, entry) in history.iter().enumerate() {
        let mut x = [0.0; ALL];
        let item = &fixed[entry.col as usize * WIDTH..][..WIDTH];
        (0..WIDTH).for_each(|k| x[k] = if k + 1 < WIDTH { f64::from(item[k]) } else { 1.0 });
        x[WIDTH + place / 3] = 1.0;
        let target = f64::from(entry.value) - f64::from(item[WIDTH - 1]);
        for i in 0..ALL {
            b[i] += f64::from(noise) * target * x[i];
            (0..ALL).for_each(|j| a[i][j] += f64::from(noise) * x[i] * x[j]);
        }
    }
    let identity = |i: usize| (0..ALL).map(move |j| if i == j { 1.0 } else { 0.0 });
    let right = (0..ALL).map(|i| [b[i]].into_iter().chain(identity(i)).collect()).collect();
    let solution = solved(a, right);
    for i in 0..ALL {
        let (found, expected) = (if i < WIDTH { means[i] } else { of_spans[i - WIDTH] }, solution[i][0]);
        assert!((f64::from(found) - expected).abs() < 1e-5, "mean {i}: {found}, expected {expected}");
    }
    for i in 0..WIDTH {
        let of = |row: usize, k: usize| f64::from(draws[row * WIDTH + k]) - solution[k][0];
        for j in 0..WIDTH {
            let found: f64 = (0..N).map(|row| of(row, i) * of(row, j)).sum::<f64>() / N as f64;
            let (expected, scale) = (solution[i][j + 1], solution[i][i + 1] * solution[j][j + 1]);
            let error = ((scale + expected.powi(2)) / N as f64).sqrt();
            assert!((found - expected).abs() < 4.5 * error, "{i} {j}: {found}, expected {expected}");
        }
    }
}

#[test]
fn a_row_with_spans_that_f32_does_not_hold_is_solved_in_f64() {
    // Both rows are of one span, whose bias is as free as that of the row: only the difference says something of the factors.
    let fixed = vec![900.0, 900.0, 0.0, 901.0, 901.0, 0.0];
    let precision = vec![1e-3, 0.0, 0.0, 0.0, 1e-3, 0.0, 0.0, 0.0, 1e-3];
    let entries = [(0, 1800.0), (1, 1802.0)].map(|(col, value)| Entry { col, value, time: Some(1) });
    let rows = Csr::from_histories(2, [entries.to_vec()]);
    let spans = Spans::of(&rows, 2).expect("times");
    let (effects, bins, span_strength) = (Vec::new(), Vec::new(), Some(1e-3));
    let given = Given { fixed, mean: vec![0.0; 3], precision, noise: 1.0, effects, bins, span_strength };
    let mut means = vec![0.0; 3];
    RowPosterior::new(given).means((&rows, Some(&spans)), &mut means);
    assert!((means[0] - 1.0).abs() < 1e-3 && (means[1] - 1.0).abs() < 1e-3, "{means:?}");
}

#[test]
fn biases_have_the_mean_and_the_variance_of_their_conditional_and_their_strength_that_of_its_gamma() {
    // 30,000 groups of 1, 2 or 3 entries, in turn.
    const N: usize = 30_000;
    let of_entry: Vec<u32> = (0..N as u32).flat_map(|group| vec![group; 1 + group as usize % 3]).collect();
    let residuals: Vec<f32> =
        of_entry.iter().enumerate().map(|(at, _)| (at % 7) as f32 / 2.0 - 1.0).collect();
    let groups = Groups { counts: (0..N).map(|group| (1 + group % 3) as f32).collect(), of_entry };
    let (noise, strength) = (1.3, 2.5);
    let mut biases = Biases { values: vec![9.0; N], strength };
    biases.draw(&groups, &residuals, noise, Source { seed: 4, purpose: "test", sweep: 2 });
    let mut entries = residuals.iter();
    let (mut sums, mut squares) = ([0.0f64; 3], [0.0f64; 3]);
    for (group, &drawn) in biases.values.iter().enumerate() {
        let n = 1 + group % 3;
        let sum: f64 = entries.by_ref().take(n).map(|&x| f64::from(x)).sum();
        let precision = 2.5 + 1.3 * n as f64;
        let standard = (f64::from(drawn) - 1.3 * sum / precision) * precision.sqrt();
        sums[n - 1] += standard;
        squares[n - 1] += standard.powi(2);
    }
    for n in 0..3 {
        let (mean, variance) = (sums[n] / 1e4, squares[n] / 1e4);
        assert!(
            mean.abs() < 0.045 && (variance - 1.0).abs() < 0.065,
            "{n}: {mean} and {variance}, of 0 and 1"
        );
    }
    // The strength of 6 biases is drawn from Gamma(1 + 6 / 2) by 1 + the sum of their squares / 2.
    let groups = Groups { of_entry: Vec::new(), counts: vec![0.0; 6] };
    let draw = |sweep| {
        let mut biases = Biases { values: vec![0.0; 6], strength };
        biases.draw(&groups, &[], noise, Source { seed: 4, purpose: "test", sweep });
        let squares: f32 = biases.values.iter().map(|x| x * x).sum();
        f64::from(biases.strength * (1.0 + squares / 2.0))
    };
    let draws: Vec<f64> = (0..20_000).map(draw).collect();
    let mean = draws.iter().sum::<f64>() / 2e4;
    let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2e4;
    assert!((mean - 4.0).abs() < 0.06 && (variance - 4.0).abs() < 0.3, "{mean} and {variance}, both of 4");
}

#[test]
fn a_jump_of_items_between_bins_is_found() {
    let (train, held_out) = histories(150, |user, item, day, _| {
        let jump = if (day >= DAYS / 2) == (item % 2 == 0) { 0.8 } else { -0.8 };
        3.0 + (user % 7) as f32 / 4.0 + (item % 5) as f32 / 4.0 + jump
    });
    let of = |settings| {
        rmse(&*after(&train, &BpmfConfig { samples: 20, ..config(settings) }, 30).model(), &held_out)
    };
    let (without, with) = (of((0, 0)), of((4, 0)));
    assert!(without > 0.6 && with < 0.2, "{with} with bins, {without} without");
}

#[test]
fn a_users_moods_are_found() {
    let (train, held_out) = histories(150, |user, item, _, place| {
        let mood = if (user * 7 + (place / 30) * 5) % 4 < 2 { 0.8 } else { -0.8 };
        3.0 + (user % 7) as f32 / 4.0 + (item % 5) as f32 / 4.0 + mood
    });
    let of = |settings| {
        rmse(&*after(&train, &BpmfConfig { samples: 20, ..config(settings) }, 30).model(), &held_out)
    };
    let (without, with) = (of((0, 0)), of((0, 5)));
    assert!(without > 0.5 && with < without / 2.0, "{with} with spans, {without} without");
}

#[test]
fn samples_do_not_depend_on_the_number_of_threads() {
    let train = small();
    for settings in SETTINGS {
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let model = after(&train, &config(settings), 3).model();
                let bits: Vec<u32> = catalog(&*model).iter().map(|x| x.to_bits()).collect();
                (bits, model.drift().expect("drift"))
            })
        };
        let one = with_threads(1);
        assert!(one == with_threads(2) && one == with_threads(5), "{settings:?}");
    }
}

#[test]
fn a_resumed_chain_has_the_bits_of_one_that_was_not_stopped() {
    let train = small();
    for settings in SETTINGS {
        let config = config(settings);
        let through = after(&train, &config, 6);
        for stopped in [1, 4] {
            let dir = tempfile::tempdir().expect("a directory");
            after(&train, &config, stopped).save_state(dir.path()).expect("saved");
            let mut resumed = BpmfLearner::new(&train, config.clone(), 5).expect("a learner");
            resumed.load_state(dir.path()).expect("loaded");
            (stopped..6).for_each(|_| drop(resumed.epoch(&Silent).expect("a sweep")));
            assert!(resumed.factors() == through.factors(), "{settings:?} from {stopped} on");
            let (found, expected) = (resumed.model(), through.model());
            assert!(catalog(&*found) == catalog(&*expected), "{settings:?} from {stopped} on");
            assert!(found.drift() == expected.drift() && found.drift().is_some(), "{settings:?}");
        }
    }
}

#[test]
fn folding_a_training_history_in_gives_the_stored_row_and_a_saved_model_does_the_same() {
    let train = small();
    for settings in SETTINGS {
        let config = config(settings);
        let model = after(&train, &config, 5).model();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("weights.safetensors");
        tensors::write(&path, &model.weights()).expect("saved");
        let file = TensorFile::open(&path).expect("a file");
        let shape = Shape { n_users: train.n_rows(), n_items: N_ITEMS };
        let opened = BpmfModel::load(&file, config.clone(), shape).expect("a model");
        assert!(catalog(&opened) == catalog(&*model) && opened.drift() == model.drift(), "{settings:?}");
        let fold_in = |histories: &Csr| opened.as_fold_in().expect("it folds in").fold_in(histories);
        let folded = fold_in(&train).expect("histories");
        assert!(catalog(&*folded) == catalog(&*model) && folded.drift() == model.drift(), "{settings:?}");
        // A list without times has no drift of the user, and rows without an order are refused.
        let untimed = (0..train.n_rows())
            .map(|user| train.history(user).into_iter().map(|entry| Entry { time: None, ..entry }).collect());
        let untimed = fold_in(&Csr::from_histories(N_ITEMS, untimed)).expect("histories");
        assert!(untimed.drift().is_some_and(|drift| drift.users.is_none()), "{settings:?}");
        assert!(catalog(&*untimed) != catalog(&*model), "{settings:?}");
        let (offsets, cols, values) = (train.offsets(), train.cols(), train.values());
        let unordered = Csr::new(N_ITEMS, offsets.to_vec(), cols.to_vec(), values.to_vec());
        assert!(fold_in(&unordered).is_err(), "{settings:?}");
        let other = BpmfConfig { item_bins: 3, ..config.clone() };
        assert!(BpmfModel::load(&file, other, shape).is_err(), "other bins");
        if config.user_span == 0 {
            let other = BpmfConfig { user_span: 3, ..config };
            assert!(BpmfModel::load(&file, other, shape).is_err(), "spans that were not trained");
        }
    }
}

#[test]
fn what_the_newest_rows_say_holds_where_no_time_is_asked_about() {
    let train = small();
    let model = after(&train, &config((4, 6)), 5).model();
    let drift = model.drift().expect("drift");
    for user in 0..train.n_rows() {
        let newest = train.history(user).last().and_then(|entry| entry.time).expect("a time");
        let mut out = [0.0; 2];
        drift.add(UserIx(user as u32), &[3, 8], &[i64::MAX, newest.max(DAYS * 86_400)], &mut out);
        assert_eq!(out, [0.0; 2]);
        drift.add(UserIx(user as u32), &[3, 8], &[0, 0], &mut out);
        assert!(out[0] != 0.0 && out[1] != 0.0);
    }
}

#[test]
fn rows_without_times_are_refused_by_the_name_of_the_setting() {
    let train = small();
    let (offsets, cols, values) = (train.offsets(), train.cols(), train.values());
    let untimed = Csr::new(N_ITEMS, offsets.to_vec(), cols.to_vec(), values.to_vec());
    let error =
        |settings| BpmfLearner::new(&untimed, config(settings), 5).err().expect("refused").to_string();
    let expected = "expected 0, or a time for each row";
    assert_eq!(error((4, 0)), format!("item_bins: found 4 for rows without times, {expected}"));
    assert_eq!(error((0, 6)), format!("user_span: found 6 for rows without times, {expected}"));
    assert!(BpmfLearner::new(&untimed, config((0, 0)), 5).is_ok());
    let error = config((1_001, 0)).validate().expect_err("refused").to_string();
    assert_eq!(error, "item_bins: found 1001, expected at most 1000");
}
