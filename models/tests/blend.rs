//! A blend against plain sums of z-scores and ranks in f64, and the runs that it is made of: by relative paths, whole and
//! unchanged.

use std::path::Path;

use burnrec_data::rng::stream;
use burnrec_data::{Csr, Entry, Id, Vocab};
use burnrec_models::als::{AlsConfig, AlsLearner};
use burnrec_models::blend::{Blend, BlendConfig, Part, Scale};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::ease::EaseConfig;
use burnrec_models::item_item::ItemItemLearner;
use burnrec_models::saved::{self, Stage};
use burnrec_models::testing::catalog;
use burnrec_models::transition::{TransitionConfig, TransitionLearner};
use burnrec_models::{Learner, Model, Recommender, Scorer, Silent};
use rand::RngExt;
use tempfile::TempDir;

const USERS: usize = 30;
const ITEMS: usize = 25;

/// Histories of up to 13 items.
fn histories() -> Csr {
    let history = |user: usize| {
        let mut rng = stream(5, "histories", user as u64);
        (0..user % 14)
            .map(|_| Entry { col: rng.random_range(0..ITEMS as u32), value: 1.0, time: None })
            .collect()
    };
    Csr::from_histories(ITEMS, (0..USERS).map(history))
}

fn cpu() -> OpenDevice {
    device::open(burnrec_models::DeviceChoice::Cpu).expect("the CPU")
}

fn fitted(mut learner: impl Learner) -> Box<dyn Model> {
    (0..3).for_each(|_| drop(learner.epoch(&Silent).expect("an epoch")));
    learner.model()
}

fn als(train: &Csr, seed: u64) -> Box<dyn Model> {
    fitted(AlsLearner::new(train, AlsConfig { dim: 4, ..AlsConfig::default() }, seed).expect("a learner"))
}

fn ease(train: &Csr) -> Box<dyn Model> {
    let config = EaseConfig { reg: 2.0, ..EaseConfig::default() };
    fitted(ItemItemLearner::new(train, config).expect("a learner"))
}

fn transition(train: &Csr) -> Box<dyn Model> {
    let config = TransitionConfig { reg: 2.0, ..TransitionConfig::default() };
    fitted(TransitionLearner::new(train, config).expect("a learner"))
}

fn save(model: Box<dyn Model>, train: &Csr, run: &Path) {
    let ids = |n: usize| Vocab::from_ints((0..n as i64).collect());
    let run_of = Recommender::new(model, ids(train.n_rows()), ids(train.n_cols()), train.clone());
    run_of.save(run).expect("a saved run");
}

fn part(run: &Path) -> Part {
    Part::open(run, Stage::Final, &cpu()).expect("a part")
}

/// Puts one user's scores on a scale by its definition, item by item.
fn scaled(scale: Scale, scores: &[f32], seen: &[u32]) -> Vec<f64> {
    let unseen =
        (0..ITEMS as u32).filter(|item| !seen.contains(item)).map(|item| f64::from(scores[item as usize]));
    let unseen: Vec<f64> = unseen.collect();
    let n = unseen.len() as f64;
    let mean = unseen.iter().sum::<f64>() / n;
    let variance = unseen.iter().map(|score| score * score).sum::<f64>() / n - mean * mean;
    let of = |&score: &f32| {
        let score = f64::from(score);
        match scale {
            Scale::Zscore => (score - mean) / variance.sqrt(),
            Scale::Rank => {
                let below = unseen.iter().filter(|&&other| other < score).count() as f64;
                let equal = unseen.iter().filter(|&&other| other == score).count() as f64;
                (below + equal / 2.0) / n
            }
        }
    };
    scores.iter().map(of).collect()
}

#[test]
fn scores_are_weighted_sums_of_scaled_scores_for_known_and_unknown_users() {
    let (train, folder) = (histories(), TempDir::new().expect("a folder"));
    let (first, second) = (folder.path().join("als"), folder.path().join("ease"));
    save(als(&train, 1), &train, &first);
    save(ease(&train), &train, &second);
    let others = Csr::from_histories(ITEMS, (1..USERS).rev().map(|user| train.history(user)));
    for scale in [Scale::Zscore, Scale::Rank] {
        let config = BlendConfig { weights: vec![0.75, 2.0], scale, reads_order: false };
        let blend = Blend::new(config, vec![part(&first), part(&second)], &train).expect("a blend");
        let fold =
            |part: &Part| part.model().as_fold_in().expect("folds in").fold_in(&others).expect("folded");
        let known: Vec<Vec<f32>> = blend.parts().map(|part| catalog(part.model())).collect();
        let unknown: Vec<Vec<f32>> = blend.parts().map(|part| catalog(&*fold(part))).collect();
        let folded = blend.as_fold_in().expect("folds in").fold_in(&others).expect("folded");
        for (found, parts, histories) in
            [(catalog(&blend), known, &train), (catalog(&*folded), unknown, &others)]
        {
            for user in (0..histories.n_rows()).filter(|&user| !histories.row(user).0.is_empty()) {
                let row = user * ITEMS..(user + 1) * ITEMS;
                let [a, b] = [&parts[0], &parts[1]]
                    .map(|scores| scaled(scale, &scores[row.clone()], histories.row(user).0));
                for (item, &score) in found[row].iter().enumerate() {
                    let expected = 0.75 * a[item] + 2.0 * b[item];
                    let apart = (f64::from(score) - expected).abs();
                    assert!(
                        apart < 1e-4 * expected.abs().max(1.0),
                        "{scale:?} {user} {item}: {score} is {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_blend_moves_with_its_parts_and_says_which_one_is_gone_or_changed() {
    let (train, folder) = (histories(), TempDir::new().expect("a folder"));
    let runs = folder.path().join("runs");
    save(als(&train, 1), &train, &runs.join("als"));
    save(transition(&train), &train, &runs.join("transition"));
    let config = BlendConfig { weights: vec![1.0, 1.0], reads_order: true, ..BlendConfig::default() };
    let parts = vec![part(&runs.join("als")), part(&runs.join("transition"))];
    let blend = Blend::new(config, parts, &train).expect("a blend");
    let scores = catalog(&blend);
    save(Box::new(blend), &train, &runs.join("blend"));
    let moved = folder.path().join("elsewhere");
    std::fs::rename(&runs, &moved).expect("moved");
    let open = || Recommender::open(moved.join("blend"));
    assert_eq!(catalog(&*open().expect("opened where it was moved to").model), scores);
    // A blend is a run like others, and may be a part.
    let config = BlendConfig { weights: vec![1.0], reads_order: true, ..BlendConfig::default() };
    let outer = Blend::new(config, vec![part(&moved.join("blend"))], &train).expect("a blend of a blend");
    assert_eq!(outer.n_users(), USERS);

    save(als(&train, 2), &train, &moved.join("als"));
    let error = open().err().expect("the part was replaced").to_string();
    let words = ["als: found a run whose manifest has SHA-256 ", "train the blend again"];
    assert!(words.iter().all(|words| error.contains(words)), "{error}");
    std::fs::remove_dir_all(moved.join("als")).expect("removed");
    let error = open().err().expect("the part is gone").to_string();
    let words =
        ["als: found no manifest.json, expected a run that the blend in ", "elsewhere/blend was made of"];
    assert!(words.iter().all(|words| error.contains(words)), "{error}");
}

#[test]
fn parts_and_settings_that_do_not_fit_are_refused() {
    let (train, folder) = (histories(), TempDir::new().expect("a folder"));
    let run = |name: &str| folder.path().join(name);
    save(als(&train, 1), &train, &run("als"));
    save(transition(&train), &train, &run("transition"));
    let fewer = train.select_rows(0..9);
    save(als(&fewer, 1), &fewer, &run("fewer"));
    let refused = |weights: &[f32], reads_order: bool, names: &[&str]| {
        let config = BlendConfig { weights: weights.to_vec(), reads_order, ..BlendConfig::default() };
        let parts = names.iter().map(|name| part(&run(name))).collect();
        Blend::new(config, parts, &train).err().expect("refused").to_string()
    };
    let cases: [(&[f32], bool, &[&str], &str); 6] = [
        (&[1.0], false, &["als", "als"], "weights: found [1.0], expected one for each of 2 parts"),
        (&[], false, &[], "weights: found [], expected one for each of 0 parts"),
        (&[1.0, -1.0], false, &["als", "als"], "weights: found -1, expected finite numbers of at least 0"),
        (&[1.0, 1.0], false, &["als", "transition"], "reads_order: found false, expected true, as "),
        (&[1.0, 1.0], true, &["als", "als"], "reads_order: found true, expected false, as no part does"),
        (&[1.0, 1.0], false, &["als", "fewer"], "parts: found "),
    ];
    for (weights, reads_order, names, words) in cases {
        let error = refused(weights, reads_order, names);
        assert!(error.starts_with(words), "{error}");
    }
    // A run that was saved without a record may have been trained on anything.
    let error = Part::open(&run("als"), Stage::Chosen, &cpu()).err().expect("refused").to_string();
    assert!(error.contains("expected one trained with keep_chosen = true"), "{error}");
    assert!(
        saved::manifest_hash(&run("als")).expect("a hash")
            != saved::manifest_hash(&run("fewer")).expect("a hash")
    );
}

#[test]
fn a_user_is_erased_from_a_blend_and_its_parts_also_where_that_was_stopped() {
    let (train, folder) = (histories(), TempDir::new().expect("a folder"));
    let run = |name: &str| folder.path().join(name);
    save(als(&train, 1), &train, &run("als"));
    save(ease(&train), &train, &run("ease"));
    let parts = ["als", "ease"].map(|name| part(&run(name))).into();
    let config = BlendConfig { weights: vec![1.0, 0.5], ..BlendConfig::default() };
    save(Box::new(Blend::new(config, parts, &train).expect("a blend")), &train, &run("blend"));
    let all = |run: &Path, but: u32| -> Vec<(String, Vec<(String, u32)>)> {
        let run = Recommender::open(run).expect("a run");
        let bits = |(user, items): (String, Vec<burnrec_models::ScoredItem>)| {
            (user, items.into_iter().map(|item| (item.id, item.score.to_bits())).collect())
        };
        let lists = run.recommend_all(ITEMS).expect("lists").into_iter().map(bits);
        lists.filter(|(user, _)| *user != but.to_string()).collect()
    };
    let user = 13;
    let before = ["als", "ease", "blend"].map(|name| all(&run(name), user));

    // As a call leaves it that was stopped between a part and the blend.
    assert!(saved::erase_user(&run("als"), Id::Int(13)).expect("erased"));
    let error = Recommender::open(run("blend")).err().expect("parts of two sizes").to_string();
    assert!(error.contains("29 users"), "{error}");
    assert!(saved::erase_user(&run("blend"), Id::Str("13")).expect("erased"));
    assert!(!saved::erase_user(&run("blend"), Id::Int(13)).expect("nothing to erase"));
    for (name, before) in ["als", "ease", "blend"].into_iter().zip(before) {
        assert_eq!(all(&run(name), user), before, "{name}");
        assert_eq!(saved::user_in(&run(name), Id::Int(13)).expect("a run"), None, "{name}");
        let held = saved::user_in(&run(name), Id::Int(12)).expect("a run").expect("another user");
        assert_eq!(held.seen.len(), train.row(12).0.len(), "{name}");
    }
}
