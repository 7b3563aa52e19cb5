//! The names of the metrics, as they stand in configs, on the command line and in records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// A metric with its cut `k`, written `ndcg@10`. The order is the one in which scores are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Share of users with a relevant item among the first k.
    Hr(usize),
    /// Normalised discounted cumulative gain of the first k.
    Ndcg(usize),
    /// Share of the relevant items among the first k.
    Recall(usize),
    /// Hits among the first k, of as many as there could be: the recall of published tables of strong generalisation.
    CappedRecall(usize),
    /// Share of the first k that is relevant.
    Precision(usize),
    /// Mean average precision of the first k.
    Map(usize),
    /// Mean reciprocal rank, of the first k or of all.
    Mrr(Option<usize>),
    /// Share of pairs of relevant item and candidate in the right order.
    Auc,
    /// Share of the catalogue in the first k of any user.
    Coverage(usize),
    /// Mean self-information of the first k, in bits.
    Novelty(usize),
    /// Root mean squared error of ratings.
    Rmse,
    /// Mean absolute error of ratings.
    Mae,
}

/// The names that there are.
const NAMES: &str = "hr@K, ndcg@K, recall@K, capped-recall@K, precision@K, map@K, mrr, mrr@K, auc, coverage@K, novelty@K, rmse \
                     or mae, where K is a number of items such as 10";

impl Metric {
    /// Returns whether a larger value is a better one.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Metric::Rmse | Metric::Mae)
    }

    /// Returns the cut k: how many items of the list the metric looks at; `None` where it looks at all, or at ratings.
    pub fn k(self) -> Option<usize> {
        match self {
            Metric::Hr(k) | Metric::Ndcg(k) | Metric::Recall(k) | Metric::CappedRecall(k) => Some(k),
            Metric::Precision(k) | Metric::Map(k) => Some(k),
            Metric::Coverage(k) | Metric::Novelty(k) => Some(k),
            Metric::Mrr(k) => k,
            Metric::Auc | Metric::Rmse | Metric::Mae => None,
        }
    }

    /// Returns whether the metric judges predicted ratings and not an order.
    pub fn is_rating(self) -> bool {
        matches!(self, Metric::Rmse | Metric::Mae)
    }

    fn name(self) -> &'static str {
        match self {
            Metric::Hr(_) => "hr",
            Metric::Ndcg(_) => "ndcg",
            Metric::Recall(_) => "recall",
            Metric::CappedRecall(_) => "capped-recall",
            Metric::Precision(_) => "precision",
            Metric::Map(_) => "map",
            Metric::Mrr(_) => "mrr",
            Metric::Auc => "auc",
            Metric::Coverage(_) => "coverage",
            Metric::Novelty(_) => "novelty",
            Metric::Rmse => "rmse",
            Metric::Mae => "mae",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.k().map_or(Ok(()), |k| write!(f, "@{k}"))
    }
}

impl FromStr for Metric {
    type Err = Error;

    /// Reads a name such as `ndcg@10`, in any case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Metric { found: text.to_owned(), expected: NAMES };
        let lower = text.trim().to_ascii_lowercase();
        let (name, k) = match lower.split_once('@') {
            Some((name, k)) => (name, Some(k.parse().ok().filter(|&k| k > 0).ok_or_else(unknown)?)),
            None => (lower.as_str(), None),
        };
        match (name, k) {
            ("hr", Some(k)) => Ok(Metric::Hr(k)),
            ("ndcg", Some(k)) => Ok(Metric::Ndcg(k)),
            ("recall", Some(k)) => Ok(Metric::Recall(k)),
            ("capped-recall", Some(k)) => Ok(Metric::CappedRecall(k)),
            ("precision", Some(k)) => Ok(Metric::Precision(k)),
            ("map", Some(k)) => Ok(Metric::Map(k)),
            ("mrr", k) => Ok(Metric::Mrr(k)),
            ("auc", None) => Ok(Metric::Auc),
            ("coverage", Some(k)) => Ok(Metric::Coverage(k)),
            ("novelty", Some(k)) => Ok(Metric::Novelty(k)),
            ("rmse", None) => Ok(Metric::Rmse),
            ("mae", None) => Ok(Metric::Mae),
            _ => Err(unknown()),
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let names = [
            "hr@10",
            "ndcg@10",
            "recall@20",
            "precision@5",
            "map@10",
            "mrr",
            "mrr@10",
            "auc",
            "coverage@10",
            "novelty@10",
            "rmse",
            "mae",
        ];
        let metrics: Vec<Metric> = names.iter().map(|name| name.parse().unwrap()).collect();
        assert!(metrics.iter().zip(names).all(|(metric, name)| metric.to_string() == name));
        assert!(metrics.is_sorted(), "the order of showing");
        assert_eq!(" NDCG@10 ".parse::<Metric>().unwrap(), Metric::Ndcg(10));
        assert!(!Metric::Rmse.higher_is_better() && Metric::Auc.higher_is_better());
    }

    #[test]
    fn an_unknown_name_says_what_there_is() {
        for name in ["", "hr", "hr@", "hr@0", "hr@-1", "hr@x", "auc@10", "rmse@3", "ncdg@10", "ndcg10"] {
            let error = name.parse::<Metric>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("metric \"{name}\"")) && error.contains("ndcg@K"), "{error}");
        }
    }
}
