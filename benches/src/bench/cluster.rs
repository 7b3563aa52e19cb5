//! Cluster + ALS: k-means over users, by the items that they have (`k_means.rs`), then ALS on each cluster's rows
//! alone.
//!
//! It is a baseline of the bench, and an example of a model family that another crate adds to the registry.

mod k_means;

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::{Csr, Error as DataError, ItemIx, UserIx};
use burnrec_models::als::{AlsConfig, AlsLearner, AlsModel, Weighting, Weights};
use burnrec_models::device::OpenDevice;
use burnrec_models::registry::{Kind, register};
use burnrec_models::settings::NoSettings;
use burnrec_models::weights::matrix;
use burnrec_models::{
    EpochLoss, Error, Family, FitInput, Learner, Model, ModelConfig, Output, Progress, Result, Scorer, Shape,
    Trainable, UserArray,
};
use burnrec_train::TrainConfig;
use serde::{Deserialize, Serialize};

use k_means::k_means;

/// Settings of ALS on clusters of users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// The number of clusters.
    pub clusters: usize,
    /// The settings of ALS on each of them.
    pub als: AlsConfig,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { clusters: 5, als: AlsConfig::default() }
    }
}

impl ClusterConfig {
    /// Adds the family to the registry, so that its configs and saved runs can be read.
    ///
    /// # Errors
    /// When another family has its name.
    pub fn register() -> Result<()> {
        register(Kind::of::<Self>())
    }

    /// Makes the config of cluster + ALS from a config of plain ALS.
    ///
    /// # Errors
    /// When the config is not one of ALS, or has settings that clusters do not support.
    pub fn of(clusters: usize, als: &TrainConfig) -> burnrec_train::Result<TrainConfig> {
        let kind = als.model().kind();
        let model = als.model().get::<AlsConfig>();
        let model = model.ok_or_else(|| Error::config("clusters", kind, "no such key but for als"))?;
        let config = Self { clusters, als: model.clone() };
        let config = TrainConfig::new(config, NoSettings {}, als.run.clone());
        config.validate()?;
        Ok(config)
    }
}

impl Family for ClusterConfig {
    const KIND: &'static str = "als-clusters";

    fn validate(&self) -> Result<()> {
        if self.clusters == 0 {
            return Err(Error::config("clusters", 0, "at least 1"));
        }
        if self.als.weighting != Weighting::None {
            let found = format!("{:?}", self.als.weighting).to_lowercase();
            return Err(Error::config("als.weighting", found, "none, on clusters"));
        }
        if self.als.biases {
            return Err(Error::config("als.biases", true, "false, on clusters"));
        }
        self.als.validate()
    }

    fn output(&self) -> Output {
        self.als.output()
    }

    fn clips(&self) -> bool {
        self.als.clip
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Some(vec![UserArray::Rows(CLUSTERS), UserArray::Rows(USERS)])
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        self.validate()?;
        let Shape { n_users, n_items } = shape;
        let cluster_of = weights.column::<u32>(CLUSTERS)?;
        let known = |cluster: &u32| (*cluster as usize) < self.clusters;
        if cluster_of.len() != n_users || !cluster_of.iter().all(known) {
            let found = format!("{CLUSTERS:?} of {} numbers", cluster_of.len());
            let expected = format!("{n_users} numbers below {}", self.clusters);
            return Err(DataError::malformed(weights.path(), found, expected).into());
        }
        let users = matrix(weights, USERS, &[n_users, self.als.dim])?;
        let items = matrix(weights, ITEMS, &[self.clusters * n_items, self.als.dim])?;
        Ok(Box::new(ClusterModel::new(self.clone(), Arc::new(cluster_of), users, &items)))
    }
}

impl Trainable for ClusterConfig {
    type Training = NoSettings;

    fn takes_negative_values(&self) -> bool {
        self.als.takes_negative_values()
    }

    fn learner<'a>(&self, _: &NoSettings, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        self.validate()?;
        Ok(Box::new(ClusterLearner {
            config: self.clone(),
            train: fit.train,
            seed: fit.seed,
            clusters: OnceCell::new(),
            learners: Vec::new(),
        }))
    }
}

const CLUSTERS: &str = "cluster_of";
const USERS: &str = "user_factors";
const ITEMS: &str = "item_factors";

/// Returns the training matrix of one cluster, `[n_users, n_items]`: the rows of all other users are empty.
fn of_cluster(train: &Csr, cluster_of: &[u32], cluster: u32) -> Csr {
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

/// Trains ALS on each cluster; an epoch is one epoch of every cluster. Users are clustered in the first epoch, so that
/// the time of k-means counts as training time.
struct ClusterLearner<'a> {
    config: ClusterConfig,
    train: &'a Csr,
    seed: u64,
    clusters: OnceCell<Arc<Vec<u32>>>,
    /// One learner for each cluster; empty before the first epoch.
    learners: Vec<AlsLearner<'static>>,
}

impl ClusterLearner<'_> {
    fn clusters(&self) -> &Arc<Vec<u32>> {
        self.clusters.get_or_init(|| Arc::new(k_means(self.train, self.config.clusters, self.seed)))
    }

    fn new_learners(&self) -> Result<Vec<AlsLearner<'static>>> {
        let clusters = self.clusters();
        let rows = (0..self.config.clusters as u32).map(|cluster| of_cluster(self.train, clusters, cluster));
        rows.map(|rows| AlsLearner::owning(rows, self.config.als.clone(), self.seed)).collect()
    }
}

impl Learner for ClusterLearner<'_> {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        if self.learners.is_empty() {
            self.learners = self.new_learners()?;
        }
        let mut samples = 0;
        for learner in &mut self.learners {
            samples += learner.epoch(progress)?.samples;
        }
        Ok(EpochLoss { samples, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        let (clusters, dim) = (self.clusters(), self.config.als.dim);
        let mut users = vec![0.0; self.train.n_rows() * dim];
        let mut items = vec![0.0; self.config.clusters * self.train.n_cols() * dim];
        let whole = items.chunks_exact_mut(self.train.n_cols() * dim);
        for (cluster, (learner, items)) in self.learners.iter().zip(whole).enumerate() {
            let (its_users, its_items) = learner.factors();
            items.copy_from_slice(its_items);
            let rows = users.chunks_exact_mut(dim).zip(its_users.chunks_exact(dim)).zip(clusters.iter());
            for ((row, its), _) in rows.filter(|(_, of)| **of as usize == cluster) {
                row.copy_from_slice(its);
            }
        }
        Box::new(ClusterModel::new(self.config.clone(), Arc::clone(clusters), users, &items))
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        self.learners.iter().enumerate().try_for_each(|(cluster, learner)| {
            let dir = dir.join(cluster.to_string());
            std::fs::create_dir_all(&dir).map_err(DataError::io("make", &dir))?;
            learner.save_state(&dir)
        })
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        self.learners = self.new_learners()?;
        let mut learners = self.learners.iter_mut().enumerate();
        learners.try_for_each(|(cluster, learner)| learner.load_state(&dir.join(cluster.to_string())))
    }
}

/// Scores each user by the ALS model of the user's cluster.
struct ClusterModel {
    config: ClusterConfig,
    /// `[n_users]`: the cluster of each user.
    cluster_of: Arc<Vec<u32>>,
    /// `[clusters]`: the models, which share the factors of all users, `[n_users, dim]`.
    models: Vec<AlsModel>,
}

impl ClusterModel {
    /// Makes the model from user factors `[n_users, dim]` and item factors `[clusters, n_items, dim]`.
    fn new(config: ClusterConfig, cluster_of: Arc<Vec<u32>>, users: Vec<f32>, items: &[f32]) -> Self {
        let users = Arc::new(users);
        let model = |items: &[f32]| {
            let (users, items) = (Arc::clone(&users), Arc::new(items.to_vec()));
            AlsModel::new(config.als.clone(), users, items, Weights::from_saved(Weighting::None, Vec::new()))
        };
        let models = items.chunks_exact(items.len() / config.clusters).map(model).collect();
        Self { config, cluster_of, models }
    }

    /// Returns, for each cluster, the positions in `users` of its users.
    fn places(&self, users: &[UserIx]) -> Vec<Vec<usize>> {
        let mut places = vec![Vec::new(); self.models.len()];
        users.iter().enumerate().for_each(|(at, user)| places[self.cluster_of[user.at()] as usize].push(at));
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
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let dim = self.config.als.dim;
        let vectors = |values: &[f32]| Tensor::new(&[values.len() / dim, dim], values.iter().copied());
        let users = self.models.iter().find_map(|model| model.user_vectors());
        let items: Vec<f32> = self
            .models
            .iter()
            .filter_map(|model| model.item_vectors())
            .flat_map(|vectors| vectors.values.iter().copied())
            .collect();
        vec![
            (CLUSTERS.to_owned(), Tensor::new(&[self.cluster_of.len()], self.cluster_of.iter().copied())),
            (USERS.to_owned(), vectors(users.map_or(&[], |vectors| vectors.values))),
            (ITEMS.to_owned(), vectors(&items)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use burnrec_models::testing::{Expect, conforms};
    use burnrec_models::{DeviceChoice, Silent, device};

    use super::k_means::tests::two_tastes;
    use super::*;

    fn fitted(config: &ClusterConfig, train: &Csr, epochs: usize) -> Box<dyn Model> {
        let mut learner = ClusterLearner {
            config: config.clone(),
            train,
            seed: 7,
            clusters: OnceCell::new(),
            learners: Vec::new(),
        };
        (0..epochs).for_each(|_| assert!(learner.epoch(&Silent).is_ok()));
        learner.model()
    }

    #[test]
    fn it_conforms() {
        let config = ClusterConfig { clusters: 2, als: AlsConfig { dim: 8, ..AlsConfig::default() } };
        let cpu = device::open(DeviceChoice::Cpu).expect("the CPU");
        conforms(&|train| fitted(&config, train, 10), Expect { personal: true, folds_in: false }, &cpu);
    }

    #[test]
    fn each_cluster_is_als_on_its_rows() {
        let (train, als) = (two_tastes(), AlsConfig { dim: 4, ..AlsConfig::default() });
        let clusters = k_means(&train, 2, 7);
        let model = fitted(&ClusterConfig { clusters: 2, als: als.clone() }, &train, 1);
        let rows = of_cluster(&train, &clusters, clusters[30]);
        assert!(rows.row(0).0.is_empty() && rows.row(30) == train.row(30));
        let mut alone = AlsLearner::new(&rows, als, 7).expect("a learner");
        alone.epoch(&Silent).expect("an epoch");
        let (users, items) = ([30, 0, 30].map(UserIx), [3, 3, 17].map(ItemIx));
        let (mut found, mut expected, mut catalog) = ([0.0; 3], [0.0; 3], [0.0; 40]);
        model.score_pairs(&users, &items, &mut found);
        alone.model().score_pairs(&users, &items, &mut expected);
        assert_eq!([found[0], found[2]], [expected[0], expected[2]]);
        model.score_catalog(&[UserIx(0), UserIx(30)], &mut catalog);
        assert!((catalog[20 + 17] - found[2]).abs() < 1e-6 && (catalog[3] - found[1]).abs() < 1e-6);
        assert_ne!(found[1], 0.0, "user 0 is scored by the other cluster's model");
    }

    #[test]
    fn its_configs_are_read_once_it_is_registered() {
        ClusterConfig::register().expect("the name is free");
        ClusterConfig::register().expect("again changes nothing");
        let text = "model = 'als-clusters'\nclusters = 3\nepochs = 2\n[als]\ndim = 4";
        let config = TrainConfig::from_table(toml::from_str(text).expect("TOML")).expect("a config");
        let model = config.model().get::<ClusterConfig>().expect("of clusters");
        assert_eq!((model.clusters, model.als.dim, config.run.epochs), (3, 4, 2));
        assert_eq!(TrainConfig::from_table(config.to_table()).expect("round trip"), config);
    }
}
