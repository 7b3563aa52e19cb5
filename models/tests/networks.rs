//! The learner of all networks: the same seed gives the same results, it goes on where it stopped,
//! and it says so when it diverges.

mod planted;

use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{NcfSpec, NeumfConfig};
use burnrec_models::nn::loss::Loss;
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{NnLearner, NnTraining, Optimizer};
use burnrec_models::{DeviceChoice, Error, Learner, Model, Silent};
use planted::ratings;

fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).expect("the CPU")
}

fn mf(reg: f32) -> Box<dyn Architecture> {
    Box::new(MfConfig { dim: 6, reg, ..MfConfig::default() })
}

fn neumf(dropout: f64) -> Box<dyn Architecture> {
    Box::new(NcfSpec::from(&NeumfConfig { dim: 4, init_std: 0.3, dropout, ..NeumfConfig::default() }))
}

fn small() -> NnTraining {
    NnTraining { batch_size: 1000, learning_rate: 0.01, ..NnTraining::default() }
}

fn learner(config: &dyn Architecture, seed: u64) -> NnLearner {
    NnLearner::new(&ratings(60, 40), config, &small(), seed, &cpu()).expect("a learner")
}

/// All weights, in the order of the model, read back through a file.
fn weights(model: &dyn Model) -> Vec<f32> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("weights");
    burnrec_data::tensors::write(&path, &model.weights()).expect("written");
    let file = burnrec_data::tensors::TensorFile::open(&path).expect("read");
    file.names().iter().flat_map(|name| file.get::<f32>(name).expect("an array").1).collect()
}

#[test]
fn neumf_scores_by_the_equations_of_the_paper() {
    // In f64 and one pair at a time, with the concatenation spelled out (He et al. 2017, equation 12).
    let model = learner(&*neumf(0.0), 3).model();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("weights");
    burnrec_data::tensors::write(&path, &model.weights()).expect("written");
    let file = burnrec_data::tensors::TensorFile::open(&path).expect("read");
    let get = |name: &str| file.get::<f32>(name).expect("an array");
    let row = |name: &str, row: usize| {
        let (shape, values) = get(name);
        values[row * shape[1]..(row + 1) * shape[1]].iter().map(|&value| f64::from(value)).collect::<Vec<_>>()
    };
    let dense = |x: &[f64], weight: &str, bias: &str| -> Vec<f64> {
        let out = row(bias, 0);
        (0..out.len())
            .map(|col| out[col] + x.iter().enumerate().map(|(k, x)| x * row(weight, k)[col]).sum::<f64>())
            .collect()
    };
    let relu = |x: Vec<f64>| x.into_iter().map(|x| x.max(0.0)).collect::<Vec<f64>>();
    for (user, item) in [(0, 0), (59, 39), (13, 21), (40, 2)] {
        let gmf: Vec<f64> =
            row("user_gmf", user).iter().zip(row("item_gmf", item)).map(|(p, q)| p * q).collect();
        let joined = [row("user_mlp", user), row("item_mlp", item)].concat();
        assert_eq!(joined.len(), 16);
        let tower = relu(dense(&joined, "tower_0_weight", "tower_0_bias"));
        let tower = relu(dense(&tower, "tower_1_weight", "tower_1_bias"));
        let expected = dense(&[gmf, tower].concat(), "output_weight", "output_bias")[0];
        let mut score = [f32::NAN];
        model.score_pairs(&[UserIx(user as u32)], &[ItemIx(item as u32)], &mut score);
        assert!((f64::from(score[0]) - expected).abs() < 1e-5, "{} and {expected}", score[0]);
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    for config in [mf(0.001), neumf(0.0), neumf(0.3)] {
        let run = |seed| {
            let mut learner = learner(&*config, seed);
            let losses: Vec<_> = (0..3).map(|_| learner.epoch(&Silent).expect("an epoch").total).collect();
            (losses, weights(&*learner.model()))
        };
        let first = run(5);
        assert_eq!(first, run(5), "{config:?}");
        assert_ne!(first, run(6), "{config:?}");
    }
}

#[test]
fn the_loss_hardly_depends_on_the_number_of_threads() {
    for config in [mf(0.001), neumf(0.0)] {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let mut learner = learner(&*config, 5);
                (0..2)
                    .map(|_| learner.epoch(&Silent).expect("an epoch").total.expect("a loss"))
                    .collect::<Vec<_>>()
            })
        };
        for (one, two) in run(1).into_iter().zip(run(2)) {
            assert!((one - two).abs() <= 1e-5 * one, "{one} with one thread, {two} with two");
        }
    }
}

#[test]
fn a_resumed_learner_goes_on_to_the_same_numbers() {
    for (config, optimizer) in
        [(mf(0.001), Optimizer::Adam), (neumf(0.3), Optimizer::Adam), (mf(0.0), Optimizer::Sgd)]
    {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let train = ratings(60, 40);
        let new = |seed| {
            let burn = NnTraining { optimizer, ..small() };
            NnLearner::new(&train, &*config, &burn, seed, &cpu()).expect("a learner")
        };
        let mut through = new(5);
        through.epoch(&Silent).expect("an epoch");
        through.save_state(dir.path()).expect("saved");
        let mut resumed = new(5);
        resumed.load_state(dir.path()).expect("loaded");
        for _ in 0..2 {
            let losses =
                [&mut through, &mut resumed].map(|learner| learner.epoch(&Silent).expect("an epoch"));
            assert_eq!(losses[0], losses[1]);
        }
        assert_eq!(weights(&*through.model()), weights(&*resumed.model()));

        let error = new(6).load_state(dir.path()).expect_err("another seed").to_string();
        assert!(error.contains("found seed 5, expected seed 6"), "{error}");
        let other = MfConfig { dim: 7, ..MfConfig::default() };
        let mut other = NnLearner::new(&train, &other, &small(), 5, &cpu()).expect("a learner");
        assert!(other.load_state(dir.path()).is_err(), "a state of other weights is refused");
    }
}

#[test]
fn the_loss_falls_and_divergence_is_an_error() {
    for config in
        [mf(0.001), neumf(0.0), Box::new(MfConfig { dim: 4, loss: Loss::Mse, ..MfConfig::default() })]
    {
        let mut descending = learner(&*config, 1);
        let first = descending.epoch(&Silent).expect("an epoch");
        let last = (0..8).map(|_| descending.epoch(&Silent).expect("an epoch")).next_back().expect("eight");
        assert!(last.total < first.total, "{config:?}: {first:?} and then {last:?}");
    }
    let burn = NnTraining { learning_rate: 1e20, optimizer: Optimizer::Sgd, ..small() };
    let config = MfConfig { loss: Loss::Mse, ..MfConfig::default() };
    let mut wild = NnLearner::new(&ratings(60, 40), &config, &burn, 1, &cpu()).expect("a learner");
    let failed = (0..5).find_map(|_| wild.epoch(&Silent).err()).expect("no finite loss");
    assert!(matches!(failed, Error::Diverged { .. }), "{failed}");
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let train = ratings(60, 40);
    let refused = |train: &Csr, config: &dyn Architecture| {
        NnLearner::new(train, config, &small(), 1, &cpu()).err().expect("refused").to_string()
    };
    let error = refused(&train, &MfConfig { dim: 0, ..MfConfig::default() });
    assert!(error.starts_with("dim: found 0"), "{error}");
    let error = refused(&Csr::empty(3, 4), &*mf(0.0));
    assert!(error.contains("at least one row to learn from"), "{error}");
}

#[test]
fn a_folded_in_user_fits_the_history_as_well_as_the_trained_row() {
    let train = ratings(60, 40);
    let negatives = 4;
    for reg in [0.001, 0.01] {
        let config = mf(reg);
        let mut learner = learner(&*config, 2);
        (0..40).for_each(|_| assert!(learner.epoch(&Silent).is_ok()));
        let model = learner.model();
        let folded = model.as_fold_in().expect("MF folds in").fold_in(&train).expect("folded");
        // The loss of scores on a history, with every unseen item for the drawn ones.
        let loss = |scores: &[f32], seen: &[u32]| -> f64 {
            let softplus = |s: f64| s.max(0.0) + (-s.abs()).exp().ln_1p();
            let weight = negatives as f64 * seen.len() as f64 / (scores.len() - seen.len()) as f64;
            let part = |(item, &s): (usize, &f32)| match seen.contains(&(item as u32)) {
                true => softplus(-f64::from(s)),
                false => weight * softplus(f64::from(s)),
            };
            scores.iter().enumerate().map(part).sum()
        };
        let squares = |scorer: &dyn burnrec_models::Scorer, user: usize| -> f64 {
            let vectors = scorer.user_vectors().expect("MF has vectors");
            vectors.row(user).iter().map(|&x| f64::from(x).powi(2)).sum()
        };
        let (mut trained_loss, mut folded_loss) = (0.0, 0.0);
        for user in 0..60 {
            let seen = train.row(user).0;
            let n_samples = (seen.len() * (1 + negatives)) as f64;
            let of = |scorer: &dyn burnrec_models::Scorer| {
                let mut scores = vec![f32::NAN; 40];
                scorer.score_catalog(&[UserIx(user as u32)], &mut scores);
                loss(&scores, seen) + f64::from(reg) * n_samples * squares(scorer, user)
            };
            let (trained, folded) = (of(&*model), of(&*folded));
            // The bias's own square is left out of both, which is worth less than a hundredth.
            assert!(folded <= 1.01 * trained, "user {user}: {folded} folded in, {trained} trained");
            trained_loss += trained;
            folded_loss += folded;
        }
        assert!(folded_loss <= trained_loss, "{folded_loss} folded in, {trained_loss} trained");
    }
}
