//! Untrained models for the service and its peers: the cost of a score does not depend on the values of the weights.

use std::io;
use std::path::{Path, PathBuf};

use burnrec_data::Vocab;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::NcfSpec;
use burnrec_models::ncf::NeumfConfig;
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{NnLearner, NnTraining};
use burnrec_models::{DataFacts, Learner, Recommender};
use burnrec_models::{DeviceChoice, Shape, Vectors, device};

use super::requests::Requests;

/// Run directories of MF and NeuMF, and the vectors of MF for programs that cannot read run directories.
pub struct Models {
    /// A run of MF, all biases and the mean 0.
    pub mf: PathBuf,
    /// A run of NeuMF.
    pub neumf: PathBuf,
    /// A file with MF's vectors: little-endian i32 `n_users`, `n_items`, `dim`, then f32 `[n_users, dim]` and
    /// `[n_items, dim]`.
    pub vectors: PathBuf,
    /// `[n_users, dim]`: MF's user vectors.
    users: Vec<f32>,
    /// `[n_items, dim]`: MF's item vectors.
    items: Vec<f32>,
    dim: usize,
}

impl Models {
    /// Makes the models and writes them into a directory. Ids of users and items count from 1; the histories are
    /// synthetic, as dense as those of ml-1m.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(dir: &Path, shape: Shape, dim: usize, seed: u64) -> io::Result<Self> {
        let rows = (1_000_209.0 * (shape.n_users * shape.n_items) as f64 / (6040.0 * 3706.0)) as u32;
        let (n_users, n_items) = (shape.n_users as u32, shape.n_items as u32);
        let config = SynthConfig::new(n_users, n_items, rows.max(n_users).max(n_items), seed);
        let seen =
            synth(&config).map_err(io::Error::other)?.interactions.to_csr(shape.n_users, shape.n_items);
        let device = device::open(DeviceChoice::Cpu).map_err(io::Error::other)?;
        // With this deviation of the vectors' values, the standard deviation of a logit is about 1, so that scores
        // differ.
        let init_std = (dim as f32).powf(-0.25);
        // With one negative for each positive MF's global mean starts at 0, so that a logit is the dot product alone.
        let mf = MfConfig { dim, init_std, negatives: 1, ..MfConfig::default() };
        let neumf = NcfSpec::from(&NeumfConfig { dim, ..NeumfConfig::default() });
        let architectures: [(&str, &dyn Architecture); 2] = [("mf", &mf), ("neumf", &neumf)];
        let mut users = Vec::new();
        let mut items = Vec::new();
        for (name, architecture) in architectures {
            let learner = NnLearner::new(&seen, architecture, &NnTraining::default(), seed, &device);
            let model = learner.map_err(io::Error::other)?.model();
            if name == "mf" {
                users = all(model.user_vectors());
                items = all(model.item_vectors());
            }
            let ids = |n| Vocab::from_ints((1..=n as i64).collect());
            let (user_ids, item_ids) = (ids(shape.n_users), ids(shape.n_items));
            let facts =
                DataFacts { name: "untrained".into(), synthetic: true, hash: String::new(), path: None };
            let recommender = Recommender::new(model, user_ids, item_ids, seen.clone());
            let recommender = recommender.with_record(facts, serde_json::Value::Null);
            recommender.save(dir.join(name)).map_err(io::Error::other)?;
        }
        let vectors = dir.join("vectors.bin");
        let head = [shape.n_users, shape.n_items, dim].map(|n| (n as i32).to_le_bytes());
        let rows = users.iter().chain(&items).map(|value| value.to_le_bytes());
        std::fs::write(&vectors, head.into_iter().chain(rows).flatten().collect::<Vec<u8>>())?;
        Ok(Self { mf: dir.join("mf"), neumf: dir.join("neumf"), vectors, users, items, dim })
    }

    /// Returns the score that MF must give each request.
    pub fn scores(&self, requests: &Requests) -> Vec<f32> {
        let row = |values: &[f32], id: u32| {
            let at = (id as usize - 1) * self.dim;
            values[at..at + self.dim].to_vec()
        };
        let score = |(&user, &item): (&u32, &u32)| {
            let pairs = row(&self.users, user).into_iter().zip(row(&self.items, item));
            let logit: f64 = pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum();
            (1.0 / (1.0 + (-logit).exp())) as f32
        };
        requests.users.iter().zip(&requests.items).map(score).collect()
    }
}

fn all(vectors: Option<Vectors<'_>>) -> Vec<f32> {
    vectors.map(|vectors| vectors.values.to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use burnrec_data::{ItemIx, UserIx};

    use super::*;
    use crate::kafka::requests::Kind;

    #[test]
    fn the_saved_model_scores_as_the_check_expects() {
        let dir = tempfile::tempdir().expect("a directory");
        let models = Models::write(dir.path(), Shape { n_users: 30, n_items: 20 }, 8, 1).expect("models");
        let requests = Requests::draw(Kind::Score, 100, 30, 20, 1);
        let expected = models.scores(&requests);
        let run = Recommender::open_on(&models.mf, DeviceChoice::Cpu).expect("a run");
        let users: Vec<_> = requests.users.iter().map(|id| UserIx(id - 1)).collect();
        let items: Vec<_> = requests.items.iter().map(|id| ItemIx(id - 1)).collect();
        let mut logits = vec![0.0; 100];
        run.model.score_pairs(&users, &items, &mut logits);
        for (logit, expected) in logits.iter().zip(&expected) {
            assert!((1.0 / (1.0 + (-logit).exp()) - expected).abs() < 1e-6, "{logit} {expected}");
        }
        let spread =
            expected.iter().cloned().fold((1.0f32, 0.0f32), |(low, high), x| (low.min(x), high.max(x)));
        assert!(spread.1 - spread.0 > 0.3, "{spread:?}");
        assert_eq!(std::fs::metadata(&models.vectors).expect("vectors").len(), 12 + 4 * 8 * 50);
        assert!(Recommender::open_on(&models.neumf, DeviceChoice::Cpu).is_ok());
    }
}
