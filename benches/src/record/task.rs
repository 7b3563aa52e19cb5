//! The tasks of a bench: what models have to predict, and of whom.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What models have to predict, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Which items a user will interact with.
    Ranking,
    /// Which items a user will interact with after a moment at which all training ends.
    Temporal,
    /// Which items a user without any row in training will interact with (strong generalisation).
    UserHoldout,
    /// Which ratings a user will give.
    Rating,
}

impl Task {
    /// All tasks, in the order of a report.
    pub const ALL: [Self; 4] = [Self::Ranking, Self::Temporal, Self::UserHoldout, Self::Rating];

    /// Returns the heading in reports.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ranking => "Ranking",
            Self::Temporal => "Ranking, temporal split",
            Self::UserHoldout => "Ranking, strong generalisation",
            Self::Rating => "Rating",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ranking => "ranking",
            Self::Temporal => "temporal",
            Self::UserHoldout => "user-holdout",
            Self::Rating => "rating",
        })
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let all = || Self::ALL.map(|task| task.to_string()).join(", ");
        let found = Self::ALL.into_iter().find(|task| task.to_string() == text);
        found.ok_or_else(|| format!("found {text:?}, expected one of {}", all()))
    }
}
