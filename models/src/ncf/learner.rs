//! Training GMF, MLP and NeuMF: the learner of all networks, and for NeuMF a start from runs of GMF and MLP.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig, pretrained};
use crate::learner::{FitInput, Learner};
use crate::model::Compute;
use crate::nn::{NnLearner, NnTraining};
use crate::settings::{Settings, decode};
use crate::trainer::Trainable;
use crate::{Error, Result};

/// Implements `Trainable` for GMF and MLP. Their runs keep the weights chosen on valid, because NeuMF may start from
/// them.
macro_rules! trained_from_scratch {
    ($($config:ident),*) => {$(
        impl Trainable for $config {
            type Training = NnTraining;

            fn validate_training(training: &NnTraining) -> Result<()> {
                training.validate()
            }

            fn trains_on(&self) -> Compute {
                Compute::Device
            }

            fn keeps_chosen(&self) -> bool {
                true
            }

            fn learner<'a>(
                &self,
                training: &NnTraining,
                fit: &FitInput<'a>,
            ) -> Result<Box<dyn Learner + 'a>> {
                Ok(Box::new(NnLearner::new(fit.train, &NcfSpec::from(self), training, fit.seed, fit.device)?))
            }
        }
    )*};
}

trained_from_scratch!(GmfConfig, MlpConfig);

impl Trainable for NeumfConfig {
    type Training = NeumfTraining;

    fn validate_training(training: &NeumfTraining) -> Result<()> {
        training.nn.validate()?;
        match training.pretrained.as_ref().map(|pretrained| pretrained.alpha) {
            Some(alpha) if !(0.0..=1.0).contains(&alpha) => {
                Err(Error::config("pretrained.alpha", alpha, "a share from 0 to 1"))
            }
            _ => Ok(()),
        }
    }

    fn trains_on(&self) -> Compute {
        Compute::Device
    }

    fn starts_from_runs(training: &NeumfTraining) -> Option<&'static str> {
        training.pretrained.is_some().then_some("pretrained")
    }

    fn learner<'a>(&self, training: &NeumfTraining, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        let spec = NcfSpec::from(self);
        let weights = match &training.pretrained {
            None => Default::default(),
            Some(pretrained) => pretrained::weights(pretrained, &spec, fit.data, fit.phase)?,
        };
        Ok(Box::new(NnLearner::with_weights(fit.train, &spec, &training.nn, fit.seed, weights, fit.device)?))
    }
}

/// The settings of NeuMF that only training reads; in files all keys stand in one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NeumfTraining {
    /// How the network learns.
    pub nn: NnTraining,
    /// Trained runs to start from.
    pub pretrained: Option<Pretrained>,
}

/// Trained runs that NeuMF starts from, on the same prepared data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretrained {
    /// The directory of a run of GMF.
    pub gmf: PathBuf,
    /// The directory of a run of MLP.
    pub mlp: PathBuf,
    /// The weight `alpha` of GMF's output layer in the output layer that NeuMF starts with; that of MLP is `1 - alpha`
    /// (He et al. 2017, equation 13).
    #[serde(default = "half")]
    pub alpha: f32,
}

fn half() -> f32 {
    0.5
}

/// The key `pretrained`; the other keys of the table belong to [`NnTraining`].
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Start {
    pretrained: Option<Pretrained>,
}

impl Settings for NeumfTraining {
    fn keys() -> Vec<&'static str> {
        [NnTraining::keys(), Start::keys()].concat()
    }

    fn from_table(mut table: Table) -> Result<Self> {
        let start: Table = table.remove_entry("pretrained").into_iter().collect();
        let Start { pretrained } = decode(start)?;
        Ok(Self { nn: NnTraining::from_table(table)?, pretrained })
    }

    fn to_table(&self) -> Table {
        let mut table = self.nn.to_table();
        if let Some(pretrained) = &self.pretrained {
            table.insert("pretrained".to_owned(), Value::Table(pretrained.to_table()));
        }
        table
    }
}
