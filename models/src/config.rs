//! The settings of every model, as they stand in a config file and in a saved run.

use serde::{Deserialize, Serialize};

use crate::als::AlsConfig;
use crate::fields::{did_you_mean, fields_of};
use crate::mf::MfConfig;
use crate::neumf::NeumfConfig;
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
    /// Neural matrix factorisation.
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

/// What a neural model minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Binary cross-entropy on positives and drawn negatives.
    Bce,
    /// Squared error on ratings.
    Mse,
}

impl ModelConfig {
    /// The values that the `model` key may have.
    pub const NAMES: [&'static str; 4] = ["popularity", "als", "mf", "neumf"];

    /// The keys that the settings of a model may have.
    ///
    /// # Errors
    /// When there is no model of this name.
    pub fn keys(name: &str) -> Result<&'static [&'static str]> {
        match name {
            "popularity" => Ok(fields_of::<PopularityConfig>()),
            "als" => Ok(fields_of::<AlsConfig>()),
            "mf" => Ok(fields_of::<MfConfig>()),
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
            Self::Neumf(neumf) => neumf.validate(),
        }
    }

    /// Whether scoring runs on a Burn device; the others score on the host whatever trained them.
    pub fn scores_on_burn(&self) -> bool {
        matches!(self, Self::Neumf(_))
    }

    /// The value of the `model` key.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Popularity(_) => "popularity",
            Self::Als(_) => "als",
            Self::Mf(_) => "mf",
            Self::Neumf(_) => "neumf",
        }
    }

    /// What the model's scores say.
    pub fn output(&self) -> Output {
        let of_loss = |loss| match loss {
            Loss::Bce => Output::Probability,
            Loss::Mse => Output::Rating,
        };
        match self {
            Self::Popularity(_) => Output::Raw,
            Self::Als(als) => match als.feedback {
                crate::als::Feedback::Explicit => Output::Rating,
                crate::als::Feedback::Implicit => Output::Raw,
            },
            Self::Mf(mf) => of_loss(mf.loss),
            Self::Neumf(_) => Output::Probability,
        }
    }
}
