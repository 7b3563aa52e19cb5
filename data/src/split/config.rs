//! The settings of a split.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::calendar::{date, days_of};
use crate::{Error, Result};

/// How a dataset is split. In a file: a table with `protocol = "leave-one-out"` and the fields beside it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "protocol", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SplitConfig {
    /// The last row of each user by time is test, the one before it valid (He 2017); rows at equal times are
    /// put in a drawn order. Users with fewer than 3 rows stay in training.
    LeaveOneOut {
        /// How many unseen items each held-out one is ranked against; all of them if not given.
        #[serde(default)]
        candidates: Option<u32>,
    },
    /// Rows drawn at random.
    Random {
        /// The share of rows held out for valid, for example 0.1.
        valid: f64,
        /// The share of rows held out for test.
        test: f64,
    },
    /// Rows drawn into folds of equal size: one is test; 10 % of the others are valid.
    KFold {
        /// The number of folds.
        folds: u32,
        /// Which one is test, from 0. The folds of one seed do not overlap.
        fold: u32,
    },
    /// Rows before a time are train, those from a later time on test, those between valid.
    Temporal {
        /// Where valid starts.
        valid_from: TimePoint,
        /// Where test starts.
        test_from: TimePoint,
    },
    /// Users drawn at random have no row in training; of each, a share of the rows is folded in and the
    /// others are held out (strong generalisation, Marlin 2004; Liang 2018).
    UserHoldout {
        /// How many users are held out for valid.
        valid_users: u32,
        /// How many users are held out for test.
        test_users: u32,
        /// The share of a held-out user's rows that is folded in.
        #[serde(default = "default_fold_in")]
        fold_in: f64,
    },
    /// The files bring their own test.
    Given {},
}

/// A moment that cuts the rows in two; those at the moment itself are after the cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TimePoint {
    /// Unix seconds; written as an integer.
    Time(i64),
    /// The time below which this share of the rows lies, between 0 and 1; written with a decimal point.
    Quantile(f64),
}

impl FromStr for TimePoint {
    type Err = Error;

    /// Reads a share (`0.8`), a day (`2001-12-31`, its start in UTC) or Unix seconds (`978307200`).
    fn from_str(text: &str) -> Result<Self> {
        let quantile = || text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0).map(Self::Quantile);
        let day = || days_of(text).map(|days| Self::Time(days * 86_400));
        let time = || text.parse().ok().map(Self::Time);
        let expected = "a share between 0 and 1, a day such as 2001-12-31, or Unix seconds";
        time()
            .or_else(day)
            .or_else(quantile)
            .ok_or_else(|| Error::setting("time", format!("{text:?}"), expected))
    }
}

impl std::fmt::Display for TimePoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{}", date(*time)),
            Self::Quantile(share) => write!(f, "{share} of the rows"),
        }
    }
}

fn default_fold_in() -> f64 {
    0.8
}

impl SplitConfig {
    /// Refuses settings that no data could satisfy.
    pub(super) fn check(&self) -> Result<()> {
        let share = |name: &str, value: f64| {
            let inside = value > 0.0 && value < 1.0;
            let error = || Error::setting(name, value.to_string(), "a share between 0 and 1, both excluded");
            inside.then_some(()).ok_or_else(error)
        };
        match *self {
            Self::LeaveOneOut { candidates: Some(0) } => {
                Err(Error::setting("candidates", "0", "at least 1 item to rank against"))
            }
            Self::Random { valid, test } => {
                share("valid", valid)?;
                share("test", test)?;
                share("valid + test", valid + test)
            }
            Self::KFold { folds: folds @ 0..=1, .. } => {
                Err(Error::setting("folds", folds.to_string(), "at least 2"))
            }
            Self::KFold { folds, fold } if fold >= folds => {
                Err(Error::setting("fold", fold.to_string(), format!("a fold from 0 to {}", folds - 1)))
            }
            Self::Temporal { valid_from, test_from } => {
                [("valid_from", valid_from), ("test_from", test_from)].into_iter().try_for_each(
                    |(name, point)| match point {
                        TimePoint::Quantile(value) => share(name, value),
                        TimePoint::Time(_) => Ok(()),
                    },
                )
            }
            Self::UserHoldout { valid_users, test_users, fold_in } => {
                for (name, n) in [("valid_users", valid_users), ("test_users", test_users)] {
                    if n == 0 {
                        return Err(Error::setting(name, "0", "at least 1 user"));
                    }
                }
                share("fold_in", fold_in)
            }
            Self::LeaveOneOut { .. } | Self::KFold { .. } | Self::Given {} => Ok(()),
        }
    }

    /// Returns the error for [`SplitConfig::Given`] where the files bring no test.
    pub(crate) fn needs_files(&self) -> Error {
        let found = "`given`, but the files bring no test of their own";
        Error::setting("split", found, "leave-one-out, random, k-fold, temporal or user-holdout")
    }
}
