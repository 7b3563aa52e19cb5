//! What the tests of evaluation share: a scorer that reads its scores from a table, and seeded holdouts.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod runs;

use burnrec_data::{Candidates, Csr, Holdout, ItemIx, Lists, UserIx};
use burnrec_models::Scorer;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Scores by table: `[n_users, n_items]`, row-major.
pub struct Table {
    pub n_items: usize,
    pub scores: Vec<f32>,
}

impl Table {
    /// Makes a table from a function of (user, item).
    pub fn of(n_users: usize, n_items: usize, mut score: impl FnMut(usize, usize) -> f32) -> Self {
        let scores = (0..n_users * n_items).map(|at| score(at / n_items, at % n_items)).collect();
        Self { n_items, scores }
    }
}

impl Scorer for Table {
    fn n_users(&self) -> usize {
        self.scores.len() / self.n_items
    }

    fn n_items(&self) -> usize {
        self.n_items
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        assert!(users.len() == items.len() && items.len() == out.len());
        for ((user, item), out) in users.iter().zip(items).zip(out) {
            *out = self.scores[user.at() * self.n_items + item.at()];
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        assert_eq!(out.len(), users.len() * self.n_items);
        for (user, out) in users.iter().zip(out.chunks_exact_mut(self.n_items)) {
            out.copy_from_slice(&self.scores[user.at() * self.n_items..][..self.n_items]);
        }
    }
}

/// Returns rows of items, each with the value 1, as a matrix.
pub fn matrix(n_items: usize, rows: &[Vec<u32>]) -> Csr {
    let pairs =
        || rows.iter().enumerate().flat_map(|(user, items)| items.iter().map(move |&item| (user, item)));
    let users: Vec<UserIx> = pairs().map(|(user, _)| UserIx(user as u32)).collect();
    let items: Vec<ItemIx> = pairs().map(|(_, item)| ItemIx(item)).collect();
    Csr::from_rows(rows.len(), n_items, &users, &items, &vec![1.0; users.len()])
}

/// Returns a training matrix and a holdout of all its users in full ranking: each user has up to `most` relevant items
/// and about a fifth of the catalogue as history.
pub fn seeded(seed: u64, n_users: usize, n_items: usize, most: usize) -> (Csr, Holdout) {
    let mut rng = Pcg64::seed_from_u64(seed);
    let (mut relevant, mut history) = (Vec::new(), Vec::new());
    for _ in 0..n_users {
        let mut chosen: Vec<u32> = Vec::new();
        let wanted = rng.random_range(1..=most);
        while chosen.len() < wanted {
            let item = rng.random_range(0..n_items as u32);
            if !chosen.contains(&item) {
                chosen.push(item);
            }
        }
        let known = (0..n_items as u32)
            .filter(|item| !chosen.contains(item) && rng.random_range(0..5u32) == 0)
            .collect();
        relevant.push(chosen);
        history.push(known);
    }
    let train = matrix(n_items, &history);
    let holdout = Holdout {
        users: (0..n_users as u32).map(UserIx).collect(),
        relevant: matrix(n_items, &relevant),
        history: train.clone(),
        candidates: Candidates::Unseen,
        fold_in: false,
    };
    (train, holdout)
}

/// Returns the same holdout with candidates drawn with probability `share` from the unseen items.
pub fn drawn(mut holdout: Holdout, share: f64, seed: u64) -> Holdout {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut lists = Lists::new();
    for row in 0..holdout.len() {
        let unseen =
            |item: &u32| !holdout.relevant.contains(row, *item) && !holdout.history.contains(row, *item);
        let all = (0..holdout.relevant.n_cols() as u32).filter(unseen);
        let list: Vec<ItemIx> = all.filter(|_| rng.random_bool(share)).map(ItemIx).collect();
        lists.push(&list);
    }
    holdout.candidates = Candidates::Drawn(lists);
    holdout
}
