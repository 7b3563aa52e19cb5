//! SASRec against a numpy program in f64 (`fixtures/sasrec.json`, which `benches/peers/make_sasrec_fixture.py` makes), and what
//! its learner and its model promise.

mod devices;

use burnrec_data::draws::mixed;
use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, Entry};
use burnrec_models::device::OpenDevice;
use burnrec_models::nn::NnTraining;
use burnrec_models::sasrec::{SasrecConfig, SasrecLearner, SequenceLoss};
use burnrec_models::testing::catalog;
use burnrec_models::{Error, Family, Learner, Model, Shape, Silent};
use devices::{cpu, gpu};
use serde_json::Value;

const N_ITEMS: usize = 50;

fn entry(col: u32) -> Entry {
    Entry { col, value: 1.0, time: None }
}

/// Histories in which the item after `i` is mostly one of few.
fn histories() -> Csr {
    let history = |user: u32| {
        let mut item = mixed(user) % N_ITEMS as u32;
        let step = |k: u32| {
            let more = if mixed(1000 * user + k).is_multiple_of(5) { 7 } else { 3 };
            item = (item + more) % N_ITEMS as u32;
            entry(item)
        };
        (0..2 + user % 40).map(step).collect()
    };
    Csr::from_histories(N_ITEMS, (0..80).map(history))
}

fn small(loss: SequenceLoss) -> SasrecConfig {
    SasrecConfig { dim: 12, heads: 2, length: 15, loss, negatives: 20, ..SasrecConfig::default() }
}

fn training() -> NnTraining {
    NnTraining { batch_size: 200, learning_rate: 0.01, ..NnTraining::default() }
}

fn learner<'a>(train: &'a Csr, config: &SasrecConfig, seed: u64, device: &OpenDevice) -> SasrecLearner<'a> {
    SasrecLearner::new(train, config, &training(), seed, device).expect("a learner")
}

const LOSSES: [SequenceLoss; 2] = [SequenceLoss::Softmax, SequenceLoss::SampledSoftmax];

fn folded(model: &dyn Model, histories: &Csr) -> Vec<f32> {
    catalog(&*model.as_fold_in().expect("folds in").fold_in(histories).expect("histories fold in"))
}

fn are_close(a: &[f32], b: &[f32], apart: f32) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= apart * a.abs().max(1.0), "{a} and {b}");
    }
}

/// Opens a model of these weights.
fn opened(config: &SasrecConfig, shape: Shape, weights: &[(String, Tensor)]) -> Box<dyn Model> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("weights");
    tensors::write(&path, weights).expect("written");
    config.load(&TensorFile::open(&path).expect("read"), shape, &cpu()).expect("a model")
}

#[test]
fn scores_are_those_of_numpy() {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/sasrec.json")).expect("JSON");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let numbers = |value: &Value| -> Vec<f32> {
        list(value).iter().map(|number| number.as_f64().expect("a number") as f32).collect()
    };
    for case in list(&fixture["cases"]) {
        let config: SasrecConfig = serde_json::from_value(case["settings"].clone()).expect("settings");
        let n_items = case["n_items"].as_u64().expect("a number") as usize;
        let mut weights: Vec<(String, Tensor)> = case["weights"]
            .as_object()
            .expect("weights by name")
            .iter()
            .map(|(name, rows)| {
                let rows: Vec<Vec<f32>> = list(rows).iter().map(numbers).collect();
                (name.clone(), Tensor::new(&[rows.len(), rows[0].len()], rows.concat()))
            })
            .collect();
        weights.push(("user_state".to_owned(), Tensor::new(&[0, config.dim], Vec::<f32>::new())));
        let model = opened(&config, Shape { n_users: 0, n_items }, &weights);
        let history = |items: &Value| numbers(items).iter().map(|&item| entry(item as u32)).collect();
        let histories = Csr::from_histories(n_items, list(&case["histories"]).iter().map(history));
        let expected: Vec<f32> = list(&case["scores"]).iter().flat_map(numbers).collect();
        are_close(&folded(&*model, &histories), &expected, 1e-4);
    }
}

#[test]
fn users_are_scored_from_their_newest_rows_known_or_not() {
    let train = histories();
    for loss in LOSSES {
        let config = small(loss);
        let mut learner = learner(&train, &config, 3, &cpu());
        learner.epoch(&Silent).expect("an epoch");
        let model = learner.model();
        let known = catalog(&*model);
        are_close(&folded(&*model, &train), &known, 1e-5);
        // A history is as good as its newest rows, and a user alone as one beside others.
        let newest = |user: usize| {
            let history = train.history(user);
            history[history.len().saturating_sub(config.length)..].to_vec()
        };
        for user in [0, 39, 41] {
            let alone = Csr::from_histories(N_ITEMS, [newest(user)]);
            are_close(&folded(&*model, &alone), &known[user * N_ITEMS..][..N_ITEMS], 1e-5);
        }
        let shorter = |user: usize| newest(user).split_off(1);
        let other = folded(&*model, &Csr::from_histories(N_ITEMS, [shorter(39)]));
        assert_ne!(other, known[39 * N_ITEMS..][..N_ITEMS], "all of the newest rows count");
        let factors = model.factors().expect("scores are dot products");
        assert_eq!(factors.dim, config.dim);
    }
}

#[test]
fn what_comes_next_is_learned() {
    let train = histories();
    for loss in LOSSES {
        let config = SasrecConfig { dropout: 0.0, ..small(loss) };
        let mut learner = learner(&train, &config, 3, &cpu());
        let losses: Vec<f64> =
            (0..30).map(|_| learner.epoch(&Silent).expect("an epoch").total.expect("a loss")).collect();
        assert!(losses[29] < 0.5 * losses[0], "{loss:?}: {losses:?}");
        let model = learner.model();
        let mut next = 0;
        for start in 0..N_ITEMS as u32 {
            let items = (0..4).map(|k| entry((start + 3 * k) % N_ITEMS as u32)).collect();
            let scores = folded(&*model, &Csr::from_histories(N_ITEMS, [items]));
            let best = (0..N_ITEMS).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).expect("items");
            next += usize::from(best == (start as usize + 12) % N_ITEMS);
        }
        assert!(next > 40, "{loss:?}: {next} of 50 are followed by the item that is likeliest");
    }
}

#[test]
fn a_resumed_learner_goes_on_to_the_same_numbers_and_a_seed_gives_the_same() {
    let train = histories();
    for loss in LOSSES {
        let config = small(loss);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut through = learner(&train, &config, 5, &cpu());
        through.epoch(&Silent).expect("an epoch");
        through.save_state(dir.path()).expect("saved");
        let mut resumed = learner(&train, &config, 5, &cpu());
        resumed.load_state(dir.path()).expect("loaded");
        for _ in 0..2 {
            let losses =
                [&mut through, &mut resumed].map(|learner| learner.epoch(&Silent).expect("an epoch"));
            assert_eq!(losses[0], losses[1]);
        }
        let mut again = learner(&train, &config, 5, &cpu());
        (0..3).for_each(|_| assert!(again.epoch(&Silent).is_ok()));
        let expected = catalog(&*through.model());
        assert!(catalog(&*resumed.model()) == expected && catalog(&*again.model()) == expected);

        let error = learner(&train, &config, 6, &cpu()).load_state(dir.path()).expect_err("another seed");
        assert!(error.to_string().contains("found seed 5, expected seed 6"), "{error}");
        let mut other = learner(&train, &SasrecConfig { dim: 14, ..config }, 5, &cpu());
        assert!(other.load_state(dir.path()).is_err(), "a state of other weights is refused");
    }
}

#[test]
fn a_card_trains_as_the_host_does() {
    let Some(gpu) = gpu("a_card_trains_as_the_host_does") else { return };
    let train = histories();
    for loss in LOSSES {
        let after = |device: &OpenDevice| {
            let mut learner = learner(&train, &small(loss), 4, device);
            let losses = (0..2).map(|_| learner.epoch(&Silent).expect("an epoch").total.expect("a loss"));
            (losses.collect::<Vec<f64>>(), catalog(&*learner.model()))
        };
        let ((ours, our_scores), (theirs, their_scores)) = (after(&cpu()), after(&gpu));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours - theirs).abs() <= 1e-3 * ours, "{loss:?}: {ours} and {theirs}");
        }
        are_close(&our_scores, &their_scores, 2e-2);
    }
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let train = histories();
    let refused = |train: &Csr, config: SasrecConfig| {
        SasrecLearner::new(train, &config, &training(), 1, &cpu()).err().expect("refused").to_string()
    };
    let base = || small(SequenceLoss::Softmax);
    let error = refused(&train, SasrecConfig { heads: 5, ..base() });
    assert!(error.starts_with("heads: found 5, expected a divisor of dim, which is 12"), "{error}");
    let error = refused(&train, SasrecConfig { length: 0, ..base() });
    assert!(error.starts_with("length: found 0, expected from 1 to "), "{error}");
    let error = refused(&train, SasrecConfig { dropout: 1.0, ..base() });
    assert!(error.starts_with("dropout: found 1, expected a probability"), "{error}");
    let single = Csr::from_histories(N_ITEMS, (0..3).map(|item| vec![entry(item)]));
    assert!(refused(&single, base()).contains("no two of one user"));
    let unordered = Csr::new(N_ITEMS, vec![0, 2], vec![1, 2], vec![1.0; 2]);
    assert!(refused(&unordered, base()).contains("histories without an order"));
    let wild = NnTraining { learning_rate: 1e30, ..training() };
    let mut wild = SasrecLearner::new(&train, &base(), &wild, 1, &cpu()).expect("a learner");
    let failed = (0..5).find_map(|_| wild.epoch(&Silent).err()).expect("no finite loss");
    assert!(matches!(failed, Error::Diverged { .. }), "{failed}");
}
