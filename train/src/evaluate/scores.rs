//! The result of judging: a value and an interval for every metric.

use std::collections::BTreeMap;
use std::fmt;

use burnrec_data::UserIx;
use serde::{Deserialize, Serialize};

use super::{EvaluateOptions, Judged};
use crate::bootstrap::{interval, resampled_sums};
use crate::metrics::{self, Metric, RatingErrors};
use crate::{Error, Result};

/// One metric of one model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The value over all users, or over all rated pairs.
    pub value: f64,
    /// Lower end of the 95 % bootstrap interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl fmt::Display for Score {
    /// Writes the value with its interval: `0.7130 [0.7020, 0.7240]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.value)?;
        match (self.low, self.high) {
            (Some(low), Some(high)) => write!(f, " [{low:.4}, {high:.4}]"),
            _ => Ok(()),
        }
    }
}

/// All metrics of one model on one holdout. As JSON, one object: `protocol`, `users`, `cold_pairs` where ratings
/// were judged, then each metric by its name, in the order of [`Metric`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// What relevant items were ranked against: `full ranking`, or `99 drawn candidates`.
    pub protocol: String,
    /// How many users were judged.
    pub users: usize,
    /// Held-out pairs left out of the rating metrics, because the user or the item has no training row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_pairs: Option<usize>,
    /// Each metric's value and interval.
    #[serde(flatten)]
    pub metrics: BTreeMap<Metric, Score>,
    /// The users judged, ascending: the rows of `per_user` and `errors`.
    #[serde(skip)]
    pub judged_users: Vec<UserIx>,
    /// Each user's value of the metrics that are means over users.
    #[serde(skip)]
    pub per_user: BTreeMap<Metric, Vec<f32>>,
    /// Each user's rating errors; all zero where ratings were not judged.
    #[serde(skip)]
    pub errors: Vec<RatingErrors>,
    /// How often each item was recommended, and how often it was relevant.
    #[serde(skip)]
    pub per_item: ItemCounts,
}

/// The length of the lists that [`ItemCounts`] counts in.
pub const ITEM_K: usize = 10;

/// How often each item is in the lists of all judged users. Lists have [`ITEM_K`] items, or fewer where no metric looks
/// that far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemCounts {
    /// `[items]`: in how many lists each item is: its true and false positives.
    pub shown: Vec<u32>,
    /// `[items]`: in how many of these it is relevant: its true positives.
    pub hits: Vec<u32>,
}

impl fmt::Display for Scores {
    /// Writes a line for each metric, with its value and interval.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} users", self.protocol, self.users)?;
        self.metrics.iter().try_for_each(|(metric, score)| write!(f, "\n{:14} {score}", metric.to_string()))
    }
}

impl Scores {
    /// Returns a metric's value, if it was computed.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        self.metrics.get(&metric).map(|score| score.value)
    }

    /// Computes every metric, with its interval, from the values of each user.
    ///
    /// Means over users, and RMSE and MAE as ratios of sums over users, get an interval. Coverage gets none: a
    /// resample holds only 63 % of the users, whose lists cover less than all lists do, so that its interval
    /// would lie below the value.
    pub(super) fn of(
        protocol: String,
        judged_users: Vec<UserIx>,
        columns: &[Metric],
        judged: Judged,
        first_at: &[usize],
        options: &EvaluateOptions,
    ) -> Result<Self> {
        let n_users = judged_users.len();
        let n_cols = columns.len() + if options.rating { 3 } else { 0 };
        let mut table = Vec::with_capacity(n_users * n_cols);
        for (values, errors) in judged.values.chunks_exact(columns.len()).zip(&judged.errors) {
            table.extend_from_slice(values);
            if options.rating {
                table.extend([errors.squared, errors.absolute, errors.pairs]);
            }
        }
        let mut totals = vec![0.0; n_cols];
        for row in table.chunks_exact(n_cols) {
            totals.iter_mut().zip(row).for_each(|(total, value)| *total += value);
        }
        let resampled = resampled_sums(&table, n_cols, options.resamples, options.seed);
        let score = |statistic: &dyn Fn(&[f64]) -> f64| {
            let interval = interval(resampled.chunks_exact(n_cols).map(statistic).collect());
            Score { value: statistic(&totals), low: interval.map(|i| i.low), high: interval.map(|i| i.high) }
        };

        let mut metrics = BTreeMap::new();
        for (col, &metric) in columns.iter().enumerate() {
            metrics.insert(metric, score(&|sums| sums[col] / n_users as f64));
        }
        for &k in &options.ks {
            let value = metrics::coverage(first_at, k);
            metrics.insert(Metric::Coverage(k), Score { value, low: None, high: None });
        }
        if options.rating {
            let errors = |sums: &[f64]| {
                let at = columns.len();
                RatingErrors { squared: sums[at], absolute: sums[at + 1], pairs: sums[at + 2] }
            };
            let all = errors(&totals);
            if !all.squared.is_finite() {
                return Err(Error::evaluate("a predicted rating that is not finite", "finite ratings"));
            }
            // A resample that has drawn only users without a rated pair is left out of the interval.
            let of = |sums: &[f64], value: fn(&RatingErrors) -> f64| match errors(sums) {
                errors if errors.pairs > 0.0 => value(&errors),
                _ => f64::NAN,
            };
            // Where all pairs are cold there is no rating to judge, as the number of cold pairs says.
            if all.pairs > 0.0 {
                metrics.insert(Metric::Rmse, score(&|sums| of(sums, RatingErrors::rmse)));
                metrics.insert(Metric::Mae, score(&|sums| of(sums, RatingErrors::mae)));
            }
        }
        let per_user = columns.iter().enumerate().map(|(col, &metric)| {
            let values = judged.values.iter().skip(col).step_by(columns.len());
            (metric, values.map(|&value| value as f32).collect())
        });
        Ok(Self {
            protocol,
            users: n_users,
            cold_pairs: options.rating.then_some(judged.cold_pairs),
            metrics,
            per_user: per_user.collect(),
            errors: judged.errors,
            judged_users,
            per_item: ItemCounts::default(),
        })
    }
}
