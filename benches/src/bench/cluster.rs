//! Cluster and ALS: k-means over users, then ALS on each cluster's rows alone. A baseline.
//!
//! Users are clustered by the items they have: spherical k-means (Dhillon and Modha 2001, "Concept decompositions for large
//! sparse text data using clustering") over rows scaled to length 1, started as k-means++ is (Arthur and Vassilvitskii 2007).

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burnrec_data::rng::stream;
use burnrec_data::tensors::Tensor;
use burnrec_data::{Csr, ItemIx, Prepared, UserIx};
use burnrec_models::als::AlsConfig;
use burnrec_models::{Error as ModelError, Model, ModelConfig, Scorer};
use burnrec_train::als::AlsLearner;
use burnrec_train::evaluate::{EvaluateOptions, evaluate};
use burnrec_train::fit::{FitState, Judge, fit};
use burnrec_train::machine::{Machine, peak_memory_bytes};
use burnrec_train::record::EpochRecord;
use burnrec_train::run::options;
use burnrec_train::{EpochLoss, Learner, Progress, Result, TrainConfig};
use rand::RngExt;
use rayon::prelude::*;

use super::outcome::{Outcome, versions};
use super::{inference, seen};
use crate::record::EpochPoint;

/// Rounds of k-means, at most; it stops where no user moves.
const ROUNDS: usize = 30;

/// Trains and judges as `burnrec train` does: the epoch chosen on valid, a final fit on both, test once.
///
/// # Errors
/// When the config is not one of ALS, or training or judging fails.
pub fn run(
    data: &Prepared,
    config: &TrainConfig,
    clusters: usize,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let ModelConfig::Als(als) = &config.model else {
        return Err(ModelError::config("clusters", config.model.name(), "no such key but for als").into());
    };
    let start = Instant::now();
    let (seed, split) = (config.run.seed, &data.split);
    let train = split.train.to_csr(data.users.len(), data.items.len());
    let options = options(config);
    let quick = EvaluateOptions { resamples: 0, ..options.clone() };
    let on_valid = |scorer: &dyn Scorer| evaluate(scorer, &split.valid, &train, &quick, progress);
    let judge = Judge { evaluate: &on_valid, metric: config.select_by() };
    let mut epochs = Vec::new();
    let mut after = |epoch: &EpochRecord, _: &dyn Learner, _: &FitState| {
        epochs.push(EpochPoint::of(epoch, config.select_by()));
        Ok(())
    };
    let parts = Parts::new(&train, clusters, seed);
    let mut learner = parts.learner(als, seed)?;
    let best = fit(
        &mut learner,
        &config.run,
        config.run.epochs,
        Some(judge),
        FitState::default(),
        &mut after,
        progress,
    )?;
    let valid = evaluate(&*best.model, &split.valid, &train, &options, progress)?;

    let both = seen(data);
    let clustering = Instant::now();
    let parts = Parts::new(&both, clusters, seed);
    let clustering = clustering.elapsed().as_secs_f64();
    let mut learner = parts.learner(als, seed)?;
    let last = fit(&mut learner, &config.run, best.epoch, None, FitState::default(), &mut after, progress)?;
    let test = evaluate(&*last.model, &split.test, &both, &options, progress)?;
    let total_seconds = start.elapsed().as_secs_f64();
    let peak_memory_bytes = peak_memory_bytes();
    let inference = inference::measure(&*last.model, &both, None).unwrap_or_default();
    Ok(Outcome {
        config: serde_json::json!({ "clusters": clusters, "als": config.to_table() }),
        epochs,
        chosen_epochs: last.epoch,
        fit_seconds: clustering + last.seconds,
        total_seconds,
        peak_memory_bytes,
        parameters: last.model.weights().iter().map(|(_, tensor)| tensor.len() as u64).sum(),
        device: "cpu".into(),
        threads: rayon::current_num_threads(),
        machine: Machine::read(),
        versions: versions(),
        inference,
        valid,
        test,
    })
}

/// The rows of each cluster, as matrices of the whole size.
struct Parts {
    /// `[n_users]`
    cluster_of: Arc<Vec<usize>>,
    /// `[clusters]` of `[n_users, n_items]`
    rows: Vec<Csr>,
}

impl Parts {
    fn new(train: &Csr, clusters: usize, seed: u64) -> Self {
        let cluster_of = k_means(train, clusters, seed);
        let rows = (0..clusters).map(|cluster| of_cluster(train, &cluster_of, cluster)).collect();
        Self { cluster_of: Arc::new(cluster_of), rows }
    }

    fn learner(&self, als: &AlsConfig, seed: u64) -> Result<ClusterLearner<'_>> {
        let learners = self.rows.iter().map(|rows| AlsLearner::new(rows, als.clone(), seed));
        let learners = learners.collect::<Result<Vec<_>>>()?;
        Ok(ClusterLearner { config: als.clone(), cluster_of: Arc::clone(&self.cluster_of), learners })
    }
}

/// The rows of one cluster's users; those of the others are empty.
fn of_cluster(train: &Csr, cluster_of: &[usize], cluster: usize) -> Csr {
    let (mut offsets, mut cols, mut values) = (vec![0], Vec::new(), Vec::new());
    for (user, &its) in cluster_of.iter().enumerate() {
        if its == cluster {
            let (items, ratings) = train.row(user);
            cols.extend_from_slice(items);
            values.extend_from_slice(ratings);
        }
        offsets.push(cols.len());
    }
    Csr::new(train.n_cols(), offsets, cols, values)
}

/// The cluster of each user of `train`, `[n_users, n_items]`. The same for any number of threads.
pub fn k_means(train: &Csr, clusters: usize, seed: u64) -> Vec<usize> {
    let (n_users, n_items) = (train.n_rows(), train.n_cols());
    let mut rng = stream(seed, "k-means", 0);
    let mut centres: Vec<Vec<f32>> = Vec::with_capacity(clusters);
    // 1 less the cosine to the nearest centre.
    let mut distance = vec![1.0f32; n_users];
    for _ in 0..clusters {
        let all: f64 = distance.iter().map(|&d| f64::from(d)).sum();
        let mut left = rng.random::<f64>() * all;
        let drawn = distance.iter().position(|&d| {
            left -= f64::from(d);
            left < 0.0
        });
        let mut centre = vec![0.0; n_items];
        add(&mut centre, train, drawn.unwrap_or(n_users - 1));
        normalise(&mut centre);
        distance
            .par_iter_mut()
            .enumerate()
            .for_each(|(user, d)| *d = d.min((1.0 - cosine(&centre, train, user)).max(0.0)));
        centres.push(centre);
    }
    let mut cluster_of = vec![usize::MAX; n_users];
    for _ in 0..ROUNDS {
        let nearest = |user: usize| {
            let cosines = centres.iter().map(|centre| cosine(centre, train, user)).enumerate();
            // Of equal ones the first.
            cosines.fold((0, f32::NEG_INFINITY), |best, found| if found.1 > best.1 { found } else { best }).0
        };
        let found: Vec<usize> = (0..n_users).into_par_iter().map(nearest).collect();
        if found == cluster_of {
            break;
        }
        cluster_of = found;
        centres.par_iter_mut().enumerate().for_each(|(cluster, centre)| {
            // A cluster that nobody is in keeps its centre.
            if cluster_of.contains(&cluster) {
                centre.fill(0.0);
                (0..n_users)
                    .filter(|&user| cluster_of[user] == cluster)
                    .for_each(|user| add(centre, train, user));
                normalise(centre);
            }
        });
    }
    cluster_of
}

/// The cosine of a user's items and a centre of length 1.
fn cosine(centre: &[f32], train: &Csr, user: usize) -> f32 {
    let items = train.row(user).0;
    items.iter().map(|&item| centre[item as usize]).sum::<f32>() / (items.len().max(1) as f32).sqrt()
}

/// Adds a user's items, scaled to length 1.
fn add(centre: &mut [f32], train: &Csr, user: usize) {
    let items = train.row(user).0;
    let each = 1.0 / (items.len().max(1) as f32).sqrt();
    items.iter().for_each(|&item| centre[item as usize] += each);
}

fn normalise(centre: &mut [f32]) {
    let length = centre.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        centre.iter_mut().for_each(|x| *x /= length);
    }
}

/// ALS on each cluster, an epoch of all at a time.
struct ClusterLearner<'a> {
    config: AlsConfig,
    cluster_of: Arc<Vec<usize>>,
    learners: Vec<AlsLearner<'a>>,
}

impl Learner for ClusterLearner<'_> {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        let mut samples = 0;
        for learner in &mut self.learners {
            samples += learner.epoch(progress)?.samples;
        }
        Ok(EpochLoss { samples, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        let models = self.learners.iter().map(|learner| learner.model()).collect();
        Box::new(ClusterModel {
            config: self.config.clone(),
            cluster_of: Arc::clone(&self.cluster_of),
            models,
        })
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        self.learners.iter().enumerate().try_for_each(|(cluster, learner)| {
            let dir = dir.join(cluster.to_string());
            std::fs::create_dir_all(&dir).map_err(burnrec_data::Error::io("make", &dir))?;
            learner.save_state(&dir)
        })
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        let mut learners = self.learners.iter_mut().enumerate();
        learners.try_for_each(|(cluster, learner)| learner.load_state(&dir.join(cluster.to_string())))
    }
}

/// Each user is scored by the model of the user's cluster.
struct ClusterModel {
    config: AlsConfig,
    cluster_of: Arc<Vec<usize>>,
    models: Vec<Box<dyn Model>>,
}

impl ClusterModel {
    /// The places of `users` that are of each cluster.
    fn places(&self, users: &[UserIx]) -> Vec<Vec<usize>> {
        let mut places = vec![Vec::new(); self.models.len()];
        users.iter().enumerate().for_each(|(at, user)| places[self.cluster_of[user.at()]].push(at));
        places
    }
}

impl Scorer for ClusterModel {
    fn n_users(&self) -> usize {
        self.cluster_of.len()
    }

    fn n_items(&self) -> usize {
        self.models.first().map_or(0, |model| model.n_items())
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for (model, places) in self.models.iter().zip(self.places(users)) {
            let (its_users, its_items): (Vec<_>, Vec<_>) =
                places.iter().map(|&at| (users[at], items[at])).unzip();
            let mut scores = vec![0.0; places.len()];
            model.score_pairs(&its_users, &its_items, &mut scores);
            places.iter().zip(scores).for_each(|(&at, score)| out[at] = score);
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let n_items = self.n_items();
        for (model, places) in self.models.iter().zip(self.places(users)) {
            let its_users: Vec<UserIx> = places.iter().map(|&at| users[at]).collect();
            let mut scores = vec![0.0; places.len() * n_items];
            model.score_catalog(&its_users, &mut scores);
            for (&at, scores) in places.iter().zip(scores.chunks_exact(n_items)) {
                out[at * n_items..(at + 1) * n_items].copy_from_slice(scores);
            }
        }
    }
}

impl Model for ClusterModel {
    fn config(&self) -> ModelConfig {
        ModelConfig::Als(self.config.clone())
    }

    fn weights(&self) -> Vec<(&'static str, Tensor)> {
        self.models.iter().flat_map(|model| model.weights()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users 0 to 19 have items of the first ten, the others those of the last ten.
    fn two_tastes() -> Csr {
        let mut rng = stream(3, "tastes", 0);
        let (mut users, mut items) = (Vec::new(), Vec::new());
        for user in 0..40u32 {
            for item in 0..10u32 {
                if rng.random_range(0..2u32) == 0 || item == user % 10 {
                    users.push(UserIx(user));
                    items.push(ItemIx(item + 10 * (user / 20)));
                }
            }
        }
        let values = vec![1.0; users.len()];
        Csr::from_rows(40, 20, &users, &items, &values)
    }

    #[test]
    fn two_tastes_are_two_clusters() {
        let clusters = k_means(&two_tastes(), 2, 1);
        assert!(clusters[..20].iter().all(|&cluster| cluster == clusters[0]));
        assert!(clusters[20..].iter().all(|&cluster| cluster == 1 - clusters[0]));
    }

    #[test]
    fn each_cluster_is_als_on_its_rows() {
        let (train, als) = (two_tastes(), AlsConfig { dim: 4, ..AlsConfig::default() });
        let parts = Parts::new(&train, 2, 1);
        let mut learner = parts.learner(&als, 7).expect("a learner");
        learner.epoch(&burnrec_train::Silent).expect("an epoch");
        let model = learner.model();
        let cluster = parts.cluster_of[30];
        let rows = of_cluster(&train, &parts.cluster_of, cluster);
        assert!(rows.row(0).0.is_empty() && rows.row(30) == train.row(30));
        let mut alone = AlsLearner::new(&rows, als, 7).expect("a learner");
        alone.epoch(&burnrec_train::Silent).expect("an epoch");
        let (users, items) = ([30, 0, 30].map(UserIx), [3, 3, 17].map(ItemIx));
        let (mut found, mut expected, mut catalog) = ([0.0; 3], [0.0; 3], [0.0; 40]);
        model.score_pairs(&users, &items, &mut found);
        alone.model().score_pairs(&users, &items, &mut expected);
        assert_eq!([found[0], found[2]], [expected[0], expected[2]]);
        model.score_catalog(&[UserIx(0), UserIx(30)], &mut catalog);
        assert!((catalog[20 + 17] - found[2]).abs() < 1e-6 && (catalog[3] - found[1]).abs() < 1e-6);
        assert_ne!(found[1], 0.0, "user 0 is scored by the other cluster's model");
    }
}
