//! Item-item k nearest neighbours, defined as the recommenders of `implicit.nearest_neighbours` are: the similarity of two items is
//! the dot product of their columns of weighted values, and each item keeps the `k` most similar ones, itself among them.
//!
//! | `similarity` | weight of a user's value `v` of an item | as in `implicit` |
//! |---|---|---|
//! | `cosine` | `v`, columns scaled to length 1 | `CosineRecommender` |
//! | `tfidf` | `sqrt(v) idf_u`, columns scaled to length 1 | `TFIDFRecommender` |
//! | `bm25` | `v (k1 + 1) / (k1 norm_i + v) idf_u` | `BM25Recommender` |
//!
//! with `idf_u = ln n_items - ln(1 + n_u)` for a user of `n_u` items, and
//! `norm_i = 1 - b + b * sum of the item's values / mean of these sums`. A user's score of an item is the sum of its similarities
//! to items of the history, each times the value there: to those that keep it (`neighbours_of = "history"`, as in `implicit`), or to
//! those that it keeps (`"target"`; Sarwar et al. 2001, "Item-Based Collaborative Filtering Recommendation Algorithms").

use serde::{Deserialize, Serialize};

use crate::item_item::{ItemItem, NeighboursOf};
use crate::{Error, Recency, Result};

#[cfg(feature = "train")]
mod learner;

/// The settings of the k nearest neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnnConfig {
    /// How values are weighted before items are compared.
    pub similarity: Similarity,
    /// How many items each keeps, itself among them.
    pub k: usize,
    /// Whose neighbours score an item: those of the history's items, or its own.
    pub neighbours_of: NeighboursOf,
    /// The parameter K1 of BM25: how slowly a value saturates.
    pub k1: f32,
    /// The parameter B of BM25: how much the values of popular items are scaled down, from 0 to 1.
    pub b: f32,
    /// What the popularity of an item adds to its scores ([`ItemItem::popularity`]).
    pub popularity: f32,
    /// How the weight of a history's rows falls with their age, in scores.
    pub recency: Recency,
}

/// How values are weighted before items are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// As they are; the similarity is the cosine of the angle between two columns.
    Cosine,
    /// Term frequency by inverse document frequency; the similarity is the cosine.
    Tfidf,
    /// Okapi BM25; the similarity is the dot product.
    Bm25,
}

impl Default for KnnConfig {
    fn default() -> Self {
        Self {
            similarity: Similarity::Cosine,
            k: 100,
            neighbours_of: NeighboursOf::History,
            k1: 1.2,
            b: 0.75,
            popularity: 0.0,
            recency: Recency::None,
        }
    }
}

impl ItemItem for KnnConfig {
    const NAME: &'static str = "knn";

    fn check_settings(&self) -> Result<()> {
        if self.k == 0 {
            return Err(Error::config("k", 0, "at least 1"));
        }
        if !(self.k1 >= 0.0 && self.k1.is_finite()) {
            return Err(Error::config("k1", self.k1, "a finite number of at least 0"));
        }
        if !(0.0..=1.0).contains(&self.b) {
            return Err(Error::config("b", self.b, "a number from 0 to 1"));
        }
        if !(self.popularity >= 0.0 && self.popularity.is_finite()) {
            return Err(Error::config("popularity", self.popularity, "a finite number of at least 0"));
        }
        Ok(())
    }

    fn recency(&self) -> Recency {
        self.recency
    }

    fn popularity(&self) -> f32 {
        self.popularity
    }

    fn count(&self, value: f32) -> f32 {
        value
    }
}
