//! Adds a model family of one's own, which is trained, judged, saved, opened and served like those of burnrec.
//!
//! The model scores an item by the damped mean of its ratings. The settings struct implements [`Family`]; one line
//! registers it.

use std::path::Path;

use burnrec::data::synth::{SynthConfig, synth};
use burnrec::data::tensors::{Tensor, TensorFile};
use burnrec::models::settings::NoSettings;
use burnrec::models::weights::matrix;
use burnrec::registry::{Kind, register};
use burnrec::{
    Csr, DeviceChoice, EpochLoss, Family, FitInput, ItemIx, Learner, Model, ModelConfig, Output,
    PrepareOptions, Progress, Recommender, RunConfig, Scorer, Shape, TrainConfig, Trainable, UserIx,
};
use serde::{Deserialize, Serialize};

type Result<T> = std::result::Result<T, burnrec::models::Error>;

/// The settings of the model, in a config file (`model = "item-mean"`, `damping = 5`) and in a saved run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ItemMean {
    /// How many ratings equal to the overall mean are added to an item's own ratings.
    damping: f32,
}

impl Default for ItemMean {
    fn default() -> Self {
        Self { damping: 5.0 }
    }
}

impl Family for ItemMean {
    const KIND: &'static str = "item-mean";

    fn validate(&self) -> Result<()> {
        match self.damping.is_finite() && self.damping >= 0.0 {
            true => Ok(()),
            false => Err(burnrec::models::Error::config("damping", self.damping, "a number of at least 0")),
        }
    }

    fn output(&self) -> Output {
        Output::Raw
    }

    fn user_arrays(&self) -> Option<Vec<burnrec::models::UserArray>> {
        Some(Vec::new()) // The means have no row of a user, so that one is erased from a run by its history alone.
    }

    fn load(
        &self,
        weights: &TensorFile,
        shape: Shape,
        _: &burnrec::device::OpenDevice,
    ) -> Result<Box<dyn Model>> {
        let means = matrix(weights, "means", &[shape.n_items])?;
        Ok(Box::new(Means { config: self.clone(), n_users: shape.n_users, means }))
    }
}

impl Trainable for ItemMean {
    type Training = NoSettings;

    fn takes_negative_values(&self) -> bool {
        true
    }

    fn learner<'a>(&self, _: &NoSettings, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Ok(Box::new(Counting { config: self.clone(), train: fit.train }))
    }
}

/// Computes the means. An epoch has nothing to do, since [`Learner::model`] computes them from the training rows.
struct Counting<'a> {
    config: ItemMean,
    train: &'a Csr,
}

impl Learner for Counting<'_> {
    fn epoch(&mut self, _: &dyn Progress) -> Result<EpochLoss> {
        Ok(EpochLoss { samples: self.train.nnz() as u64, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        let (train, damping) = (self.train, self.config.damping);
        let mean = train.values().iter().sum::<f32>() / train.nnz().max(1) as f32;
        let (mut sums, mut counts) = (vec![damping * mean; train.n_cols()], vec![damping; train.n_cols()]);
        for (&item, value) in train.cols().iter().zip(train.values()) {
            sums[item as usize] += value;
            counts[item as usize] += 1.0;
        }
        let means = sums.iter().zip(&counts).map(|(sum, count)| sum / count.max(1.0)).collect();
        Box::new(Means { config: self.config.clone(), n_users: train.n_rows(), means })
    }

    fn save_state(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn load_state(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }
}

struct Means {
    config: ItemMean,
    n_users: usize,
    means: Vec<f32>,
}

impl Scorer for Means {
    fn n_users(&self) -> usize {
        self.n_users
    }

    fn n_items(&self) -> usize {
        self.means.len()
    }

    fn score_pairs(&self, _: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        out.iter_mut().zip(items).for_each(|(out, item)| *out = self.means[item.at()]);
    }

    fn score_catalog(&self, _: &[UserIx], out: &mut [f32]) {
        out.chunks_exact_mut(self.means.len()).for_each(|row| row.copy_from_slice(&self.means));
    }
}

impl Model for Means {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        vec![("means".to_owned(), Tensor::new(&[self.means.len()], self.means.iter().copied()))]
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // The line that registers the family.
    register(Kind::of::<ItemMean>())?;

    let dataset = synth(&SynthConfig::new(300, 200, 9_000, 1))?;
    let data = burnrec::prepare_dataset(dataset, &PrepareOptions::default())?;
    let run = RunConfig { epochs: 1, ..RunConfig::default() };
    let trained = burnrec::train(&data, TrainConfig::new(ItemMean { damping: 20.0 }, NoSettings {}, run))?;
    println!("{}\n", trained.record.metrics.test);

    let folder = std::env::temp_dir().join("burnrec-example-item-mean");
    trained.recommender.save(&folder)?;
    let opened = Recommender::open_on(&folder, DeviceChoice::Cpu)?;
    assert_eq!(opened.kind(), "item-mean");
    let user = data.users.id(0).to_string();
    assert_eq!(opened.recommend(&user, 5)?, trained.recommender.recommend(&user, 5)?);

    // Config files may now name it, and an unknown key in them is refused as for any model.
    let config: TrainConfig = "model = 'item-mean'\ndamping = 3".parse()?;
    assert_eq!(config.model().get::<ItemMean>(), Some(&ItemMean { damping: 3.0 }));
    println!("{}", "model = 'item-mean'\ndampning = 3".parse::<TrainConfig>().expect_err("a mistyped key"));

    // The service can load it, too.
    let config = format!("[http]\nlisten = '127.0.0.1:0'\n[models.main]\nrun = '{}'", folder.display());
    let engine = burnrec::serve::Engine::open(&config.parse()?)?;
    println!("served: {}", engine.models.set()["main"].label());
    Ok(())
}
