//! Evaluation gives the same values as its twin, a slow and plain implementation that sorts each user's whole list and
//! computes every metric by its textbook formula over positions. The seeded cases are full of ties, with NaN and
//! infinities among the scores.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use burnrec_data::{Candidates, Csr, Holdout};
use burnrec_models::Silent;
use burnrec_train::evaluate::{EvaluateOptions, evaluate};
use common::{Table, drawn, seeded};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const KS: [usize; 3] = [1, 4, 15];

/// One position of a user's list.
struct Place {
    item: u32,
    score: f32,
    relevant: bool,
}

/// Returns the user's whole list, best position first.
fn list(model: &Table, holdout: &Holdout, row: usize) -> Vec<Place> {
    let relevant = holdout.relevant.row(row).0;
    let candidates: Vec<u32> = match &holdout.candidates {
        Candidates::Drawn(lists) => lists.row(row).iter().map(|item| item.0).collect(),
        Candidates::Unseen => (0..model.n_items as u32)
            .filter(|item| !holdout.history.contains(row, *item) && !relevant.contains(item))
            .collect(),
    };
    let user = holdout.users[row].at();
    let place = |item: u32, relevant: bool| Place {
        item,
        score: model.scores[user * model.n_items + item as usize],
        relevant,
    };
    let mut list: Vec<Place> = candidates.iter().map(|&item| place(item, false)).collect();
    list.extend(relevant.iter().map(|&item| place(item, true)));
    // NaN counts as the best score for a candidate and as the worst for a relevant item; the sort is stable, and
    // candidates were put first.
    let worth = |place: &Place| match (place.score.is_nan(), place.relevant) {
        (true, false) => (1, 0.0),
        (true, true) => (0, f32::NEG_INFINITY),
        (false, _) => (0, place.score),
    };
    list.sort_by(|a, b| worth(b).partial_cmp(&worth(a)).unwrap());
    list
}

/// Returns all metrics over all users, by name.
fn twin(model: &Table, holdout: &Holdout, train: &Csr) -> BTreeMap<String, f64> {
    let lists: Vec<Vec<Place>> = (0..holdout.len()).map(|row| list(model, holdout, row)).collect();
    let mut sums = BTreeMap::new();
    let mut add = |name: String, value: f64| *sums.entry(name).or_insert(0.0) += value / lists.len() as f64;
    let active = (0..train.n_rows()).filter(|&user| !train.row(user).0.is_empty()).count() as f64;
    for list in &lists {
        let relevant = list.iter().filter(|place| place.relevant).count() as f64;
        let first = list.iter().position(|place| place.relevant).unwrap() + 1;
        add("mrr".into(), 1.0 / first as f64);
        let (mut wins, mut pairs) = (0.0, 0.0);
        for good in list.iter().filter(|place| place.relevant) {
            for bad in list.iter().filter(|place| !place.relevant) {
                pairs += 1.0;
                wins += if good.score > bad.score {
                    1.0
                } else if good.score == bad.score {
                    0.5
                } else {
                    0.0
                };
            }
        }
        add("auc".into(), if pairs == 0.0 { 0.5 } else { wins / pairs });
        for k in KS {
            let head = &list[..k.min(list.len())];
            let hits = head.iter().filter(|place| place.relevant).count() as f64;
            add(format!("hr@{k}"), f64::from(hits > 0.0));
            add(format!("recall@{k}"), hits / relevant);
            add(format!("capped-recall@{k}"), hits / relevant.min(k as f64));
            add(format!("precision@{k}"), hits / k as f64);
            add(format!("mrr@{k}"), if first <= k { 1.0 / first as f64 } else { 0.0 });
            let (mut dcg, mut ideal, mut found, mut precisions) = (0.0, 0.0, 0.0, 0.0);
            for (before, place) in head.iter().enumerate() {
                let gain = 2f64.ln() / (before as f64 + 2.0).ln();
                ideal += if (before as f64) < relevant { gain } else { 0.0 };
                if place.relevant {
                    dcg += gain;
                    found += 1.0;
                    precisions += found / (before as f64 + 1.0);
                }
            }
            add(format!("ndcg@{k}"), dcg / ideal);
            add(format!("map@{k}"), precisions / relevant.min(k as f64));
            let bits = |place: &Place| {
                let count = (0..train.n_rows()).filter(|&user| train.contains(user, place.item)).count();
                -(count.max(1) as f64 / active).log2()
            };
            add(format!("novelty@{k}"), head.iter().map(bits).sum::<f64>() / head.len() as f64);
        }
    }
    for k in KS {
        let shown: BTreeSet<u32> =
            lists.iter().flat_map(|list| list.iter().take(k)).map(|p| p.item).collect();
        sums.insert(format!("coverage@{k}"), shown.len() as f64 / model.n_items as f64);
    }
    sums
}

#[test]
fn the_judge_equals_its_slow_twin() {
    for seed in 0..60 {
        let mut rng = Pcg64::seed_from_u64(seed);
        let (n_users, n_items) = (rng.random_range(1..12), rng.random_range(8..60));
        let (train, holdout) = seeded(seed, n_users, n_items, 7);
        let levels = rng.random_range(1..40u32);
        let model = Table::of(n_users, n_items, |_, _| match rng.random_range(0..30u32) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            _ => rng.random_range(0..levels) as f32,
        });
        for holdout in [holdout.clone(), drawn(holdout, 0.6, seed)] {
            let options = EvaluateOptions { ks: KS.to_vec(), resamples: 0, ..Default::default() };
            let scores = evaluate(&model, &holdout, &train, &options, &Silent).unwrap();
            let expected = twin(&model, &holdout, &train);
            assert_eq!(scores.metrics.len(), expected.len());
            for (metric, score) in &scores.metrics {
                let expected = expected[&metric.to_string()];
                let near = (score.value - expected).abs() <= 1e-12 * expected.abs().max(1.0);
                assert!(near, "seed {seed}, {metric}: found {}, expected {expected}", score.value);
            }
        }
    }
}
