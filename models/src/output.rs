//! What the scores of a model mean.

use serde::{Deserialize, Serialize};

/// What a score means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// The logit of the probability that the user takes the item.
    Probability,
    /// The rating the user would give.
    Rating,
    /// A number of which only the order within one user means something.
    Raw,
}

impl Output {
    /// Turns a logit into the score that users see: the probability, the rating, or the raw value.
    pub fn score(self, logit: f32) -> f32 {
        match self {
            Self::Probability => 1.0 / (1.0 + (-logit).exp()),
            Self::Rating | Self::Raw => logit,
        }
    }

    /// Returns the name of what [`Output::score`] gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probability => "probability",
            Self::Rating => "rating",
            Self::Raw => "score",
        }
    }
}
