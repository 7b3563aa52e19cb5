//! The settings of every model, as they stand in a config file and in a saved run.

use serde::{Deserialize, Serialize};

use crate::als::{AlsConfig, Feedback};
use crate::fields::{did_you_mean, fields_of};
use crate::loss::Loss;
use crate::mf::MfConfig;
use crate::ncf::{GmfConfig, MlpConfig, NeumfConfig, Parts};
use crate::popularity::PopularityConfig;
use crate::{Error, Result};

/// Which model, with all that its scores depend on beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "lowercase")]
pub enum ModelConfig {
    /// Every user gets the items by how many users had them.
    Popularity(PopularityConfig),
    /// Alternating least squares.
    Als(AlsConfig),
    /// Matrix factorisation with biases.
    Mf(MfConfig),
    /// Generalised matrix factorisation.
    Gmf(GmfConfig),
    /// An MLP tower over both embeddings.
    Mlp(MlpConfig),
    /// Neural matrix factorisation: GMF and a tower.
    Neumf(NeumfConfig),
}

/// What a score says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// The logit of the probability that the user takes the item.
    Probability,
    /// The rating the user would give.
    Rating,
    /// Only the order means something.
    Raw,
}

impl Output {
    /// A logit as it means something to a person: the probability, the rating, or the raw value.
    pub fn score(self, logit: f32) -> f32 {
        match self {
            Self::Probability => 1.0 / (1.0 + (-logit).exp()),
            Self::Rating | Self::Raw => logit,
        }
    }

    /// The name of what [`Output::score`] gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probability => "probability",
            Self::Rating => "rating",
            Self::Raw => "score",
        }
    }
}

impl ModelConfig {
    /// The values that the `model` key may have.
    pub const NAMES: [&'static str; 6] = ["popularity", "als", "mf", "gmf", "mlp", "neumf"];

    /// The keys that the settings of a model may have.
    ///
    /// # Errors
    /// When there is no model of this name.
    pub fn keys(name: &str) -> Result<&'static [&'static str]> {
        match name {
            "popularity" => Ok(fields_of::<PopularityConfig>()),
            "als" => Ok(fields_of::<AlsConfig>()),
            "mf" => Ok(fields_of::<MfConfig>()),
            "gmf" => Ok(fields_of::<GmfConfig>()),
            "mlp" => Ok(fields_of::<MlpConfig>()),
            "neumf" => Ok(fields_of::<NeumfConfig>()),
            other => {
                let near = did_you_mean(other, Self::NAMES).map(|name| format!("; did you mean {name:?}?"));
                let expected = format!("one of {}{}", Self::NAMES.join(", "), near.unwrap_or_default());
                Err(Error::config("model", format!("{other:?}"), expected))
            }
        }
    }

    /// Refuses what no model of this kind can be made of.
    ///
    /// # Errors
    /// When a setting is out of its range; the error names it.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Popularity(_) => Ok(()),
            Self::Als(als) => als.validate(),
            Self::Mf(mf) => mf.validate(),
            Self::Gmf(_) | Self::Mlp(_) | Self::Neumf(_) => {
                self.ncf().map_or(Ok(()), |parts| parts.validate())
            }
        }
    }

    /// The parts of a network of neural collaborative filtering; `None` for other models.
    pub fn ncf(&self) -> Option<Parts> {
        match self {
            Self::Gmf(gmf) => Some(gmf.into()),
            Self::Mlp(mlp) => Some(mlp.into()),
            Self::Neumf(neumf) => Some(neumf.into()),
            Self::Popularity(_) | Self::Als(_) | Self::Mf(_) => None,
        }
    }

    /// The loss, and the drawn negatives of each row, of a model that learns on Burn.
    pub fn loss(&self) -> Option<(Loss, usize)> {
        let (loss, negatives) = match (self, self.ncf()) {
            (Self::Mf(mf), _) => (mf.loss, mf.negatives),
            (_, Some(parts)) => (parts.loss, parts.negatives),
            (_, None) => return None,
        };
        Some((loss, loss.negatives(negatives)))
    }

    /// Whether scoring runs on a Burn device; the others score on the host whatever trained them.
    pub fn scores_on_burn(&self) -> bool {
        self.ncf().is_some()
    }

    /// The value of the `model` key.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Popularity(_) => "popularity",
            Self::Als(_) => "als",
            Self::Mf(_) => "mf",
            Self::Gmf(_) => "gmf",
            Self::Mlp(_) => "mlp",
            Self::Neumf(_) => "neumf",
        }
    }

    /// What the model's scores say.
    pub fn output(&self) -> Output {
        match (self, self.loss()) {
            (_, Some((Loss::Bce, _))) => Output::Probability,
            (_, Some((Loss::Mse, _))) => Output::Rating,
            (Self::Als(als), _) if als.feedback == Feedback::Explicit => Output::Rating,
            _ => Output::Raw,
        }
    }
}
