//! The conformance suite that every model must pass, shipped with the library: a model's own test is three lines.
//!
//! ```no_run
//! # fn fit(train: &burnrec_data::Csr) -> Box<dyn burnrec_models::Model> { unimplemented!() }
//! # let device = burnrec_models::device::open(burnrec_models::DeviceChoice::Cpu).unwrap();
//! use burnrec_models::testing::{Expect, conforms};
//! conforms(&fit, Expect { personal: true, folds_in: true }, &device);
//! ```

use std::collections::HashSet;

use burnrec_data::draws::mixed;
use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, Entry, ItemIx, UserIx};

use crate::device::OpenDevice;
use crate::model::Model;
use crate::scorer::{Factors, FoldIn, Scorer, Shape};
use crate::user_array::without_user;

/// What a model promises beside scoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// Scores differ from user to user, so that a planted answer is found.
    pub personal: bool,
    /// Users without a row can be folded in.
    pub folds_in: bool,
}

/// The shape of the planted data, with different numbers of users and items, so that a model that mixes them up fails.
const SHAPE: Shape = Shape { n_users: 120, n_items: 60 };

/// Fits a model to planted data and checks all that a model must do. `device` is where the saved model is opened.
///
/// # Panics
/// When a check fails.
pub fn conforms(fit: &dyn Fn(&Csr) -> Box<dyn Model>, expect: Expect, device: &OpenDevice) {
    let train = planted();
    let model = fit(&train);
    assert_eq!((model.n_users(), model.n_items()), (SHAPE.n_users, SHAPE.n_items), "users and items");
    let scores = catalog(&*model);
    assert!(scores.iter().all(|score| score.is_finite()), "every score is finite");
    pairs_score_as_the_catalog_does(&*model, &scores);
    a_saved_model_scores_as_before(&*model, &scores, device);
    users_are_erased_from_saved_weights(&*model, device);
    factors_rank_as_scores_do(&*model, &scores);
    if expect.personal {
        finds_the_planted_items(&*model, &train);
    }
    match model.as_fold_in() {
        Some(fold_in) => {
            assert!(expect.folds_in, "{} folds users in, which was not expected", model.config().kind());
            folds_in_known_and_unknown_users(fold_in, &train, expect);
            reads_the_order_or_does_not(&*model, fold_in, &train);
        }
        None => assert!(!expect.folds_in, "{} does not fold users in", model.config().kind()),
    }
}

/// Makes the planted data: user `u` likes the items `i` with `i = 2 u` modulo 5, and has had all of them but two, which
/// are hidden, in an order of no pattern. The pattern of the items is not symmetric, so that a model that mixes up users and
/// items fails.
fn planted() -> Csr {
    let history = |user: u32| {
        let mut items: Vec<u32> = liked(user).filter(|item| !hidden(user).contains(item)).collect();
        items.sort_by_key(|item| mixed(user * SHAPE.n_items as u32 + item));
        (1..).zip(items).map(|(day, item)| Entry { time: Some(day * 86_400), ..entry(item) }).collect()
    };
    Csr::from_histories(SHAPE.n_items, (0..SHAPE.n_users as u32).map(history))
}

fn entry(item: u32) -> Entry {
    Entry { col: item, value: 1.0, time: None }
}

fn liked(user: u32) -> impl Iterator<Item = u32> {
    (0..SHAPE.n_items as u32).filter(move |item| item % 5 == 2 * user % 5)
}

fn hidden(user: u32) -> [u32; 2] {
    let first = 2 * user % 5;
    [first + 5 * (user % 12), first + 5 * ((user + 5) % 12)]
}

fn users(n: usize) -> Vec<UserIx> {
    (0..n as u32).map(UserIx).collect()
}

/// Returns the scores of all items for all users, `[n_users, n_items]`; NaN where the scorer writes none.
pub fn catalog(scorer: &(impl Scorer + ?Sized)) -> Vec<f32> {
    let mut scores = vec![f32::NAN; scorer.n_users() * scorer.n_items()];
    scorer.score_catalog(&users(scorer.n_users()), &mut scores);
    scores
}

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * a.abs().max(b.abs()).max(1.0)
}

fn pairs_score_as_the_catalog_does(model: &dyn Model, scores: &[f32]) {
    // The pairs are out of order, and more than there are users or items.
    let pair = |k: usize| (7 * k % SHAPE.n_users, 11 * k % SHAPE.n_items);
    let (users, items): (Vec<_>, Vec<_>) =
        (0..500).map(pair).map(|(user, item)| (UserIx(user as u32), ItemIx(item as u32))).unzip();
    let mut out = vec![f32::NAN; users.len()];
    model.score_pairs(&users, &items, &mut out);
    for ((user, item), &score) in users.iter().zip(&items).zip(&out) {
        let of_catalog = scores[user.at() * SHAPE.n_items + item.at()];
        assert!(
            close(score, of_catalog),
            "{user:?} {item:?}: {score} as a pair, {of_catalog} in the catalogue"
        );
    }
    // A block of some users, in any order.
    let some = [UserIx(5), UserIx(119), UserIx(0)];
    let mut out = vec![f32::NAN; 3 * SHAPE.n_items];
    model.score_catalog(&some, &mut out);
    for (row, user) in out.chunks_exact(SHAPE.n_items).zip(some) {
        for (item, &score) in row.iter().enumerate() {
            assert!(
                close(score, scores[user.at() * SHAPE.n_items + item]),
                "{user:?} {item}, in a block of its own"
            );
        }
    }
    model.score_pairs(&[], &[], &mut []);
    model.score_catalog(&[], &mut []);
}

fn a_saved_model_scores_as_before(model: &dyn Model, scores: &[f32], device: &OpenDevice) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("weights.safetensors");
    tensors::write(&path, &model.weights_in(dir.path())).expect("the weights are saved");
    let file = TensorFile::open(&path).expect("the weights are read");
    let opened = model.config().load(&file, SHAPE, device).expect("the saved model is opened");
    assert_eq!(opened.config(), model.config(), "the saved model's config");
    for (before, after) in scores.iter().zip(catalog(&*opened)) {
        assert!(close(*before, after), "{before} before saving, {after} after");
    }
    let other = Shape { n_users: SHAPE.n_items, n_items: SHAPE.n_users };
    assert!(model.config().load(&file, other, device).is_err(), "weights of another shape are refused");
}

/// Checks that weights without a user are those of a model of one user fewer, which scores all others with the same bits.
fn users_are_erased_from_saved_weights(model: &dyn Model, device: &OpenDevice) {
    if !model.runs().is_empty() {
        return; // Its runs are erased from first, which here are whole.
    }
    let (config, dir) = (model.config(), tempfile::tempdir().expect("a temporary directory"));
    let open = |name: &str, tensors: &[(String, Tensor)], n_users: usize| {
        let path = dir.path().join(name);
        tensors::write(&path, tensors).expect("weights are saved");
        let file = TensorFile::open(&path).expect("weights are read");
        let opened = config.load(&file, Shape { n_users, ..SHAPE }, device).expect("weights of a model");
        (file, catalog(&*opened))
    };
    let (file, scores) = open("all.safetensors", &model.weights(), SHAPE.n_users);
    let of_users = config.user_arrays().expect("the family says what its weights have of each user");
    for user in [0, SHAPE.n_users / 2, SHAPE.n_users - 1] {
        let left = without_user(&file, &of_users, UserIx(user as u32), SHAPE.n_items).expect("whole arrays");
        let (_, found) = open("left.safetensors", &left, SHAPE.n_users - 1);
        let row = user * SHAPE.n_items..(user + 1) * SHAPE.n_items;
        let others = [&scores[..row.start], &scores[row.end..]].concat();
        let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<u32>>();
        assert!(bits(&others) == bits(&found), "others score differently without user {user}");
    }
}

/// Checks that dot products are the scores less the number that is said for each user.
fn factors_rank_as_scores_do(model: &dyn Model, scores: &[f32]) {
    let Some(Factors { users, items, dim, constants, .. }) = model.factors() else { return };
    assert_eq!((users.len(), items.len()), (SHAPE.n_users * dim, SHAPE.n_items * dim), "whole factors");
    assert!(constants.is_empty() || constants.len() == SHAPE.n_users, "a number for each user, or none");
    let rows = users.chunks_exact(dim).zip(scores.chunks_exact(SHAPE.n_items)).enumerate();
    for (row, (user, scores)) in rows {
        let constant = constants.get(row).copied().unwrap_or_default();
        let dot = |item: &[f32]| user.iter().zip(item).map(|(a, b)| a * b).sum::<f32>();
        let dots: Vec<f32> = items.chunks_exact(dim).map(dot).collect();
        for (dot, score) in dots.iter().zip(scores) {
            assert!(close(*score, constant + dot), "{score} is scored, and {constant} + {dot} by factors");
        }
    }
}

/// Checks that the hidden items are scored above all that the user does not like.
fn finds_the_planted_items(scorer: &(impl Scorer + ?Sized), train: &Csr) {
    let scores = catalog(scorer);
    let mut found = 0;
    for (user, row) in scores.chunks_exact(SHAPE.n_items).enumerate() {
        let liked: HashSet<u32> = liked(user as u32).collect();
        let disliked = (0..SHAPE.n_items as u32).filter(|item| !liked.contains(item));
        let best = disliked.map(|item| row[item as usize]).fold(f32::NEG_INFINITY, f32::max);
        found += hidden(user as u32).iter().filter(|&&item| row[item as usize] > best).count();
        assert!(
            hidden(user as u32).iter().all(|&item| !train.contains(user, item)),
            "hidden items are hidden"
        );
    }
    let all = 2 * SHAPE.n_users;
    assert!(found * 100 >= all * 95, "found {found} of {all} planted items");
}

fn folds_in_known_and_unknown_users(fold_in: &dyn FoldIn, train: &Csr, expect: Expect) {
    // All users are folded in as if they were unknown, with their own histories.
    let folded = fold_in.fold_in(train).expect("histories fold in");
    assert_eq!((folded.n_users(), folded.n_items()), (SHAPE.n_users, SHAPE.n_items));
    if expect.personal {
        finds_the_planted_items(&*folded, train);
    }
    // An empty history, and a history of one item.
    let few = Csr::from_histories(SHAPE.n_items, [vec![], vec![entry(7)]]);
    let folded = fold_in.fold_in(&few).expect("short histories fold in");
    assert_eq!(folded.n_users(), 2);
    assert!(catalog(&*folded).iter().all(|score| score.is_finite()), "scores of a short history are finite");
    assert_eq!(fold_in.fold_in(&Csr::empty(0, SHAPE.n_items)).expect("nobody folds in").n_users(), 0);
    assert!(
        fold_in.fold_in(&Csr::empty(1, SHAPE.n_items + 1)).is_err(),
        "histories over other items are refused"
    );
}

/// Checks that histories turned round, and without an order, score as before where the model says that it does not read the
/// order; else that the first score otherwise and the second are refused.
fn reads_the_order_or_does_not(model: &dyn Model, fold_in: &dyn FoldIn, train: &Csr) {
    let scores = |histories: &Csr| fold_in.fold_in(histories).map(|folded| catalog(&*folded));
    let turn = |user: usize| {
        let history = train.history(user);
        let turned = history.iter().rev().zip(&history);
        turned.map(|(entry, at)| Entry { time: at.time, ..*entry }).collect()
    };
    let turned = Csr::from_histories(SHAPE.n_items, (0..SHAPE.n_users).map(turn));
    let (offsets, cols, values) = (train.offsets(), train.cols(), train.values());
    let unordered = Csr::new(SHAPE.n_items, offsets.to_vec(), cols.to_vec(), values.to_vec());
    let before = scores(train).expect("histories fold in");
    let (turned, unordered) = (scores(&turned).expect("histories fold in"), scores(&unordered));
    if model.config().reads_order() {
        assert!(turned != before, "histories that are turned round score as before");
        assert!(unordered.is_err(), "histories without an order are refused");
    } else {
        assert!(turned == before, "the order is read, which the settings do not say");
        assert!(unordered.expect("histories fold in") == before, "an order that is not read changes scores");
    }
}
