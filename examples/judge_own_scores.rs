//! Judges scores that were computed elsewhere, by the same code as any model: ties and NaN count against them.

use burnrec::data::synth::{SynthConfig, synth};
use burnrec::{EvaluateOptions, ItemIx, Metric, PrepareOptions, Scorer, UserIx};

/// Scores of all users and items: `[n_users, n_items]`.
struct Table {
    n_items: usize,
    scores: Vec<f32>,
}

impl Scorer for Table {
    fn n_users(&self) -> usize {
        self.scores.len() / self.n_items
    }

    fn n_items(&self) -> usize {
        self.n_items
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for ((out, user), item) in out.iter_mut().zip(users).zip(items) {
            *out = self.scores[user.at() * self.n_items + item.at()];
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        for (out, user) in out.chunks_exact_mut(self.n_items).zip(users) {
            out.copy_from_slice(&self.scores[user.at() * self.n_items..][..self.n_items]);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dataset = synth(&SynthConfig::new(300, 200, 9_000, 1))?;
    let data = burnrec::prepare_dataset(dataset, &PrepareOptions::default())?;
    let (n_users, n_items) = (data.users.len(), data.items.len());
    let train = data.split.train.to_csr(n_users, n_items);

    // Two scorers: one scores an item by its popularity, the other gives every item the same score.
    let mut counts = vec![0.0; n_items];
    train.cols().iter().for_each(|&item| counts[item as usize] += 1.0);
    let popular = Table { n_items, scores: counts.repeat(n_users) };
    let constant = Table { n_items, scores: vec![0.5; n_users * n_items] };
    for (name, scorer) in [("popularity", &popular), ("a constant", &constant)] {
        let scores = burnrec::evaluate(scorer, &data.split.test, &train, &EvaluateOptions::default())?;
        println!("{name}\n{scores}\n");
        if name == "a constant" {
            assert_eq!(scores.value(Metric::Ndcg(10)), Some(0.0), "ties count against the scorer");
        }
    }
    Ok(())
}
