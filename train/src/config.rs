//! The settings of a training run: one flat table in a file, split here by owner.
//!
//! A file says `model = "als"` and then every setting at the top level, whoever it belongs to: the model, the way
//! a Burn model learns, or the run. The table is cut by owner first and each part decoded strictly, so that an
//! unknown key is refused whatever its place.

mod burn;

use std::path::PathBuf;

use burnrec_models::device::OpenDevice;
use burnrec_models::fields::{did_you_mean, fields_of};
use burnrec_models::{Error as ModelError, ModelConfig, Output};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Result;
use crate::metrics::Metric;

pub use burn::{BurnConfig, EmbeddingUpdate, Optimizer, Schedule, ScheduleKind};

/// All settings of one training run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// The model's own settings.
    pub model: ModelConfig,
    /// How a Burn model learns; `None` for the others.
    pub burn: Option<BurnConfig>,
    /// The run's settings.
    pub run: RunConfig,
}

impl TrainConfig {
    /// Of a flat table.
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
        refuse_unknown(&table, "", &format!("a setting of {name}"), &Self::keys(&name)?)?;
        let mut model = cut(&mut table, ModelConfig::keys(&name)?);
        model.insert("model".into(), Value::String(name.clone()));
        let burn = cut(&mut table, burn_keys(&name));
        let config = Self {
            model: decode(model)?,
            burn: learns_on_burn(&name).then(|| decode(burn)).transpose()?,
            run: decode(table)?,
        };
        config.validate()?;
        Ok(config)
    }

    /// The keys that a config of a model may have beside `model`.
    ///
    /// # Errors
    /// When there is no model of this name.
    pub fn keys(model: &str) -> Result<Vec<&'static str>> {
        Ok([ModelConfig::keys(model)?, burn_keys(model), fields_of::<RunConfig>()].concat())
    }

    /// As one flat table again, with every default written out.
    pub fn to_table(&self) -> Table {
        let mut table = Table::new();
        let parts = [Table::try_from(&self.model), Table::try_from(&self.burn), Table::try_from(&self.run)];
        for part in parts.into_iter().flatten() {
            table.extend(part);
        }
        table.iter_mut().for_each(|(_, value)| shorten(value));
        table
    }

    fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.burn.as_ref().map_or(Ok(()), BurnConfig::validate)?;
        self.run.validate()?;
        if let (Some(run), false) = (&self.run.warm_start, matches!(self.model, ModelConfig::Als(_))) {
            let expected = "no such key, as only als starts from an earlier run";
            return Err(ModelError::config("warm_start", run.display(), expected).into());
        }
        if let Some(Pretrained { gmf, alpha, .. }) = &self.run.pretrained {
            if !matches!(self.model, ModelConfig::Neumf(_)) {
                let expected = "no such key, as only neumf starts from runs of gmf and mlp";
                return Err(ModelError::config("pretrained", gmf.display(), expected).into());
            }
            if !(0.0..=1.0).contains(alpha) {
                return Err(ModelError::config("pretrained.alpha", alpha, "a share from 0 to 1").into());
            }
        }
        if self.select_by().is_rating() && self.model.output() != Output::Rating {
            let expected = "a metric of ranking, as this model predicts no ratings";
            return Err(ModelError::config("select_by", self.select_by(), expected).into());
        }
        Ok(())
    }

    /// Where a run computes, as its record has it: on Burn's device, or the host.
    pub fn device_name(&self, device: &OpenDevice) -> String {
        if self.burn.is_some() { device.name.clone() } else { "cpu".to_owned() }
    }

    /// The metric on valid that chooses the epoch and is shown first.
    pub fn select_by(&self) -> Metric {
        match (self.run.select_by, self.model.output()) {
            (Some(metric), _) => metric,
            (None, Output::Rating) => Metric::Rmse,
            (None, Output::Probability | Output::Raw) => Metric::Ndcg(10),
        }
    }
}

/// An `f32` on its way through `f64` becomes the short number that was written: 0.007, not 0.007000000216066837.
fn shorten(value: &mut Value) {
    if let Value::Float(number) = value
        && f64::from(*number as f32) == *number
    {
        *number = (*number as f32).to_string().parse().unwrap_or(*number);
    }
}

/// The value of the `model` key.
pub(crate) fn model_name(table: &Table) -> Result<String> {
    match table.get("model") {
        Some(Value::String(name)) => Ok(name.clone()),
        Some(other) => Err(ModelError::config("model", other, "the name of a model, in quotes").into()),
        None => {
            let expected = format!("one of {}", ModelConfig::NAMES.join(", "));
            Err(ModelError::config("model", "no such key", expected).into())
        }
    }
}

/// Refuses a table with a key that is none of `known`; the error names the key behind `prefix`, and the nearest known one.
pub(crate) fn refuse_unknown(table: &Table, prefix: &str, what: &str, known: &[&str]) -> Result<()> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let expected = match did_you_mean(key, known.iter().copied()) {
        Some(near) => format!("{what}; did you mean {near:?}?"),
        None => format!("{what}: {}", known.join(", ")),
    };
    Err(ModelError::config(format!("{prefix}{key}"), "an unknown key", expected).into())
}

fn burn_keys(model: &str) -> &'static [&'static str] {
    if learns_on_burn(model) { fields_of::<BurnConfig>() } else { &[] }
}

fn learns_on_burn(model: &str) -> bool {
    !matches!(model, "popularity" | "als")
}

fn cut(table: &mut Table, keys: &[&str]) -> Table {
    keys.iter().filter_map(|key| table.remove_entry(*key)).collect()
}

/// Decodes a table strictly; the error names the key to blame.
pub(crate) fn decode<T: DeserializeOwned>(table: Table) -> Result<T> {
    let tag = table.get_key_value("model").map(|(key, value)| (key.clone(), value.clone()));
    let alone = |key: &str| -> Table {
        tag.clone().into_iter().chain(table.get(key).map(|value| (key.to_owned(), value.clone()))).collect()
    };
    table.clone().try_into().map_err(|error: toml::de::Error| {
        // A key that does not even decode alone is the one to blame.
        let blamed = table.keys().find(|key| alone(key).try_into::<T>().is_err());
        let key = blamed.cloned().unwrap_or_default();
        let found = table.get(&key).map(Value::to_string).unwrap_or_default();
        let message = error.message().trim();
        let expected = message.rsplit_once(", expected ").map_or(message, |(_, expected)| expected);
        ModelError::config(key, found, expected).into()
    })
}

/// The settings of a run that do not depend on the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Seeds every draw of the run: first weights, order, negatives.
    pub seed: u64,
    /// The most epochs.
    pub epochs: u32,
    /// Whether the best setting is trained once more on train and valid together before test is touched.
    pub refit: bool,
    /// The metric on valid that chooses the epoch; by default `rmse` for models of ratings, else `ndcg@10`.
    pub select_by: Option<Metric>,
    /// Epochs from one evaluation on valid to the next.
    pub eval_every: u32,
    /// Whether an ALS epoch computes its loss and the parts of it, for about a tenth of the epoch's time.
    pub track_loss: bool,
    /// An earlier run of ALS whose factors to start from.
    pub warm_start: Option<PathBuf>,
    /// Trained runs that NeuMF starts from.
    pub pretrained: Option<Pretrained>,
    /// Epochs from one checkpoint to the next, for `--resume`; 0 writes none.
    pub checkpoint_every: u32,
    /// When to stop before `epochs`.
    pub early_stopping: Option<EarlyStopping>,
}

/// Trained runs that NeuMF starts from, on the same prepared data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretrained {
    /// A run of GMF.
    pub gmf: PathBuf,
    /// A run of MLP.
    pub mlp: PathBuf,
    /// The share of GMF in the first output layer; that of MLP is the rest (He et al. 2017, equation 13).
    #[serde(default = "half")]
    pub alpha: f32,
}

fn half() -> f32 {
    0.5
}

/// When to stop before the last epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Evaluations on valid without a better value.
    pub patience: u32,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            epochs: 20,
            refit: true,
            select_by: None,
            eval_every: 1,
            track_loss: false,
            warm_start: None,
            pretrained: None,
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
        assert_eq!((config.run.epochs, config.burn.as_ref().expect("burn").batch_size), (3, 11));
        assert_eq!(config.run.early_stopping, Some(EarlyStopping { patience: 2 }));
        assert_eq!(TrainConfig::from_table(config.to_table()).expect("round trip"), config);
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_named() {
        assert!(error("model = 'als'\nepoch = 3").contains("did you mean \"epochs\"?"));
        assert!(error("model = 'asl'").contains("did you mean \"als\"?"));
        assert!(error("dim = 3").starts_with("model: found no such key"));
        assert!(error("model = 'als'\nbatch_size = 3").starts_with("batch_size: found an unknown key"));
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
