//! The settings of a training run: one flat table in a file, split here by owner.
//!
//! A file says `model = "als"` and then every setting at the top level, whether it belongs to the model, its training,
//! or the run. The table is first cut by owner, and then each piece is decoded strictly, so that every unknown key is
//! refused.

use std::str::FromStr;

use burnrec_models::device::{OpenDevice, is_host};
use burnrec_models::registry::{kind, model_name, with_key};
use burnrec_models::settings::{Settings, refuse_unknown};
use burnrec_models::{Compute, DeviceChoice, Error as ModelError, ModelConfig, Output, Trainable, Trainer};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::Result;
use crate::metrics::Metric;

/// All settings of one training run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// The settings of the model and of its training.
    pub trainer: Trainer,
    /// The settings of the run.
    pub run: RunConfig,
}

impl<F: Trainable> From<F> for TrainConfig {
    /// Takes the defaults for training and run.
    fn from(model: F) -> Self {
        Self::new(model, F::Training::default(), RunConfig::default())
    }
}

impl FromStr for TrainConfig {
    type Err = crate::Error;

    /// Reads a config as it stands in a file.
    fn from_str(text: &str) -> Result<Self> {
        let table = toml::from_str(text);
        let bad = |error: toml::de::Error| ModelError::config("config", error.message(), "a TOML table");
        Self::from_table(table.map_err(bad)?)
    }
}

impl TrainConfig {
    /// Puts the settings of a family, of its training and of the run together.
    pub fn new<F: Trainable>(model: F, training: F::Training, run: RunConfig) -> Self {
        Self { trainer: Trainer::new(model, training), run }
    }

    /// Reads a flat table.
    ///
    /// # Errors
    /// When `model` is missing or unknown, a key is unknown (the error names the nearest known one), or a value has
    /// the wrong type or is out of its range.
    pub fn from_table(mut table: Table) -> Result<Self> {
        let name = model_name(&table)?;
        table.remove("model");
        if table.contains_key("search") {
            let expected = "no such table; a search is run by `burnrec tune`, which writes the best settings as a \
                            config to train";
            return Err(ModelError::config("search", "a table", expected).into());
        }
        let keys = Self::keys(&name)?;
        let others = |key: &&String| !keys.contains(&key.as_str()) && !with_key(key).is_empty();
        if let Some(key) = table.keys().find(others) {
            let expected = format!("no such key for {name}: it is a setting of {}", with_key(key).join(", "));
            return Err(ModelError::config(key, &table[key], expected).into());
        }
        refuse_unknown(&table, "", &format!("a setting of {name}"), &keys)?;
        let trainer = kind(&name)?.trainer(&mut table)?;
        let config = Self { trainer, run: RunConfig::from_table(table)? };
        config.validate()?;
        Ok(config)
    }

    /// Returns the keys that a config of a model may have beside `model`.
    ///
    /// # Errors
    /// When there is no model of this name.
    pub fn keys(model: &str) -> Result<Vec<&'static str>> {
        Ok([kind(model)?.training_keys(), RunConfig::keys()].concat())
    }

    /// Returns all settings as one flat table, with every default written out.
    pub fn to_table(&self) -> Table {
        let mut table = self.trainer.to_table();
        table.extend(self.run.to_table());
        table
    }

    /// Refuses settings that are out of their range or do not go together.
    ///
    /// # Errors
    /// When one is out of its range; the error names it.
    pub fn validate(&self) -> Result<()> {
        self.trainer.validate()?;
        self.run.validate()?;
        if self.select_by().is_rating() && self.model().output() != Output::Rating {
            let expected = "a metric of ranking, as this model predicts no ratings";
            return Err(ModelError::config("select_by", self.select_by(), expected).into());
        }
        Ok(())
    }

    /// Returns the settings of the model.
    pub fn model(&self) -> &ModelConfig {
        self.trainer.model()
    }

    /// Opens the device asked for by name, or the CPU for models that `auto` trains on the host.
    ///
    /// # Errors
    /// When the device cannot be had, or is a GPU by name and the model is trained on the CPU alone.
    pub(crate) fn open_device(&self, choice: DeviceChoice) -> Result<OpenDevice> {
        let compute = self.trainer.trains_on();
        if compute == Compute::Host && !matches!(choice, DeviceChoice::Auto | DeviceChoice::Cpu) {
            let why = format!("{} is trained on the CPU alone; use cpu or auto", self.model().kind());
            return Err(ModelError::Device { asked: choice.to_string(), why }.into());
        }
        Ok(compute.open(choice)?)
    }

    /// Returns the name of the device that a run trains on, for its record: `cpu` for models that are trained on the
    /// host.
    pub fn device_name(&self, device: &OpenDevice) -> String {
        if self.trains_on_device(device) { device.name.clone() } else { "cpu".to_owned() }
    }

    /// Returns whether a run computes on an open device, and not by plain code on the CPU.
    pub fn trains_on_device(&self, device: &OpenDevice) -> bool {
        match self.trainer.trains_on() {
            Compute::Device => true,
            Compute::Host => false,
            Compute::HostOrNamed => !is_host(&device.device),
        }
    }

    /// Returns the metric on valid that chooses the epoch and is shown first.
    pub fn select_by(&self) -> Metric {
        match (self.run.select_by, self.model().output()) {
            (Some(metric), _) => metric,
            (None, Output::Rating) => Metric::Rmse,
            (None, Output::Probability | Output::Raw) => Metric::Ndcg(10),
        }
    }
}

/// The settings of a run that do not depend on the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Seeds every draw of the run: initial weights, order, negatives.
    pub seed: u64,
    /// The most epochs.
    pub epochs: u32,
    /// Whether a model is trained again on train and valid together, for the chosen number of epochs, before it is
    /// judged on test.
    pub refit: bool,
    /// Whether the saved run keeps the weights that were chosen on valid beside the final ones, for a blend to be chosen on
    /// valid.
    pub keep_chosen: bool,
    /// The metric on valid that chooses the epoch; by default `rmse` for models of ratings, else `ndcg@10`.
    pub select_by: Option<Metric>,
    /// Epochs from one evaluation on valid to the next.
    pub eval_every: u32,
    /// Epochs from one checkpoint to the next, for `--resume`; 0 writes none.
    pub checkpoint_every: u32,
    /// When to stop before `epochs`; where it is missing, all epochs are run.
    pub early_stopping: Option<EarlyStopping>,
}

/// When to stop before the last epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Training stops after this many evaluations on valid in a row without a better value of `select_by`.
    pub patience: u32,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            epochs: 20,
            refit: true,
            keep_chosen: false,
            select_by: None,
            eval_every: 1,
            checkpoint_every: 1,
            early_stopping: None,
        }
    }
}

impl RunConfig {
    fn validate(&self) -> Result<()> {
        let patience = self.early_stopping.map_or(1, |stop| stop.patience);
        let counts =
            [("epochs", self.epochs), ("eval_every", self.eval_every), ("early_stopping.patience", patience)];
        match counts.into_iter().find(|&(_, value)| value == 0) {
            Some((key, _)) => Err(ModelError::config(key, 0, "at least 1").into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use burnrec_models::nn::NnTraining;

    use super::*;

    fn parse(text: &str) -> Result<TrainConfig> {
        TrainConfig::from_table(toml::from_str(text).expect("TOML"))
    }

    fn error(text: &str) -> String {
        parse(text).expect_err("an error").to_string()
    }

    #[test]
    fn a_flat_table_goes_to_its_owners_and_back() {
        let text = "model = 'mf'\ndim = 7\nepochs = 3\nbatch_size = 11\n[early_stopping]\npatience = 2";
        let config = parse(text).expect("a config");
        let training = config.trainer.training::<NnTraining>().expect("a network's");
        assert_eq!((config.run.epochs, training.batch_size), (3, 11));
        assert_eq!(config.run.early_stopping, Some(EarlyStopping { patience: 2 }));
        assert_eq!(TrainConfig::from_table(config.to_table()).expect("round trip"), config);
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_named() {
        assert!(error("model = 'als'\nepoch = 3").contains("did you mean \"epochs\"?"));
        assert!(error("model = 'asl'").contains("did you mean \"als\"?"));
        assert!(error("dim = 3").starts_with("model: found no such key"));
        let other = error("model = 'als'\nbatch_size = 3");
        assert!(
            other.starts_with("batch_size: found 3, expected no such key for als: it is a setting of mf"),
            "{other}"
        );
        let wrong = error("model = 'als'\ndim = 'many'\nreg = 0.1");
        assert!(wrong.starts_with("dim: found \"many\""), "{wrong}");
        assert!(error("model = 'als'\nepochs = 0").starts_with("epochs: found 0"));
        assert!(error("model = 'als'\nselect_by = 'rmse'").starts_with("select_by: found rmse"));
        assert!(error("model = 'mf'\nlearning_rate = inf").starts_with("learning_rate: found inf"));
        assert!(error("model = 'als'\n[search]\ntrials = 3").contains("`burnrec tune`"));
        assert!(error("model = 'als'\nselect_by = 'hrr@10'").contains("hrr@10"));
        assert!(error("model = 'als'\n[early_stopping]\npatiance = 1").contains("patiance"));
        let table = parse("model = 'als'\nreg = 0.007").expect("a config").to_table();
        assert_eq!(table["reg"].to_string(), "0.007");
    }
}
