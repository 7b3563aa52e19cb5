//! The trained blend: scores by its parts, folds users in by each of them, and is saved and loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::vocab_file::{lists_tensors, read_lists};
use burnrec_data::{Csr, Error as DataError, ItemIx, Lists, UserIx};
use rayon::prelude::*;

use super::part::SavedPart;
use super::{BlendConfig, Part};
use crate::device::OpenDevice;
use crate::model::{Family, Model, ModelConfig};
use crate::scorer::{FoldIn, Scorer, Shape, check_histories};
use crate::{Error, Result};

/// A weighted sum of the scores of saved runs.
#[derive(Clone)]
pub struct Blend {
    sum: WeightedSum<Arc<Part>>,
}

/// The weighted sum of the scores of parts, which are models or scorers of folded-in users.
#[derive(Clone)]
struct WeightedSum<P> {
    config: BlendConfig,
    parts: Vec<P>,
    /// The items that each user has had, ascending.
    seen: Lists,
    n_items: usize,
}

/// What a part scores by.
trait AsScorer: Send + Sync {
    fn as_scorer(&self) -> &dyn Scorer;
}

impl AsScorer for Arc<Part> {
    fn as_scorer(&self) -> &dyn Scorer {
        self.model()
    }
}

impl AsScorer for Box<dyn Scorer> {
    fn as_scorer(&self) -> &dyn Scorer {
        &**self
    }
}

const PARTS: &str = "parts";
pub(super) const SEEN: &str = "seen";

/// Of how many users pairs are scored at once, by their whole catalogues.
const USERS: usize = 64;

impl Blend {
    /// Blends parts for the users of histories, `[n_users, n_items]`.
    ///
    /// # Errors
    /// When there is not one weight for each part, a part has other numbers of users or items, or the settings say otherwise
    /// than the parts whether the order of rows is read.
    pub fn new(config: BlendConfig, parts: Vec<Part>, histories: &Csr) -> Result<Self> {
        Self::of(config, parts, items_of(histories), histories.n_cols())
    }

    fn of(config: BlendConfig, parts: Vec<Part>, seen: Lists, n_items: usize) -> Result<Self> {
        config.validate()?;
        if config.weights.len() != parts.len() || parts.is_empty() {
            let expected = format!("one for each of {} parts", parts.len());
            return Err(Error::config("weights", format!("{:?}", config.weights), expected));
        }
        let told = |part: &Part| part.run().display().to_string();
        let size = |part: &Part| (part.model().n_users(), part.model().n_items());
        if let Some(part) = parts.iter().find(|part| size(part) != (seen.len(), n_items)) {
            let (n_users, items) = size(part);
            let found = format!("{} with {n_users} users and {items} items", told(part));
            return Err(Error::config("parts", found, format!("{} and {n_items}", seen.len())));
        }
        let ordered = parts.iter().find(|part| part.model().config().reads_order());
        if ordered.is_some() != config.reads_order {
            let why = ordered.map_or("no part does".to_owned(), |part| format!("{} does", told(part)));
            let expected = format!("{}, as {why}", !config.reads_order);
            return Err(Error::config("reads_order", config.reads_order, expected));
        }
        let parts = parts.into_iter().map(Arc::new).collect();
        Ok(Self { sum: WeightedSum { config, parts, seen, n_items } })
    }

    /// Opens a saved blend, with all its parts.
    ///
    /// # Errors
    /// When a part is gone or was replaced, or the file is not that of a blend of these settings and this shape.
    pub fn load(
        weights: &TensorFile,
        config: BlendConfig,
        shape: Shape,
        device: &OpenDevice,
    ) -> Result<Self> {
        let bad = |found: String, expected: &str| DataError::malformed(weights.path(), found, expected);
        let named = named(weights)?;
        let seen = read_lists(weights, SEEN, shape.n_items)?;
        let ascend = (0..seen.len()).all(|user| seen.row(user).is_sorted_by(|a, b| a < b));
        if seen.len() != shape.n_users || !ascend {
            let expected = format!("{} lists of ascending items", shape.n_users);
            return Err(bad(format!("{SEEN:?} with {} lists", seen.len()), &expected).into());
        }
        let dir = folder(weights);
        let parts = named.iter().map(|part| part.open(dir, device)).collect::<Result<_>>()?;
        Self::of(config, parts, seen, shape.n_items)
    }

    /// Returns the directories of the parts that a saved blend names.
    ///
    /// # Errors
    /// When the file is not that of a blend.
    pub fn runs_in(weights: &TensorFile) -> Result<Vec<PathBuf>> {
        Ok(named(weights)?.iter().map(|part| part.run_from(folder(weights))).collect())
    }

    /// Returns the parts, in the order of their weights.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.sum.parts.iter().map(|part| &**part)
    }
}

/// Reads how a saved blend names its parts.
fn named(weights: &TensorFile) -> Result<Vec<SavedPart>> {
    serde_json::from_slice(&weights.column::<u8>(PARTS)?).map_err(|error| {
        let found = format!("{PARTS:?}: {error}");
        DataError::malformed(weights.path(), found, "the parts of a blend, as JSON").into()
    })
}

/// Returns the directory that a file is in.
fn folder(file: &TensorFile) -> &Path {
    file.path().parent().unwrap_or(Path::new(""))
}

/// Returns the items of each row, ascending.
fn items_of(histories: &Csr) -> Lists {
    Lists::from_parts(
        histories.offsets().to_vec(),
        histories.cols().iter().map(|&item| ItemIx(item)).collect(),
    )
}

impl<P: AsScorer> Scorer for WeightedSum<P> {
    fn n_users(&self) -> usize {
        self.seen.len()
    }

    fn n_items(&self) -> usize {
        self.n_items
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        let mut order: Vec<usize> = (0..users.len()).collect();
        order.sort_by_key(|&at| users[at]);
        let of_users: Vec<&[usize]> = order.chunk_by(|&a, &b| users[a] == users[b]).collect();
        let mut scores = Vec::new();
        for of_users in of_users.chunks(USERS) {
            let users: Vec<UserIx> = of_users.iter().map(|pairs| users[pairs[0]]).collect();
            scores.resize(users.len() * self.n_items, 0.0);
            self.score_catalog(&users, &mut scores);
            for (pairs, scores) in of_users.iter().zip(scores.chunks_exact(self.n_items.max(1))) {
                pairs.iter().for_each(|&at| out[at] = scores[items[at].at()]);
            }
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        out.fill(0.0);
        let (scale, n_items) = (self.config.scale, self.n_items.max(1));
        let mut scores = vec![0.0; out.len()];
        for (part, &weight) in
            self.parts.iter().zip(&self.config.weights).filter(|(_, weight)| **weight > 0.0)
        {
            part.as_scorer().score_catalog(users, &mut scores);
            let rows = out.par_chunks_exact_mut(n_items).zip(scores.par_chunks_exact_mut(n_items)).zip(users);
            rows.for_each(|((out, scores), user)| {
                scale.apply(scores, self.seen.row(user.at()));
                out.iter_mut().zip(scores).for_each(|(out, score)| *out += weight * *score);
            });
        }
    }
}

impl Scorer for Blend {
    fn n_users(&self) -> usize {
        self.sum.n_users()
    }

    fn n_items(&self) -> usize {
        self.sum.n_items()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        self.sum.score_pairs(users, items, out);
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        self.sum.score_catalog(users, out);
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        let all_fold_in = self.parts().all(|part| part.model().as_fold_in().is_some());
        all_fold_in.then_some(self as &dyn FoldIn)
    }
}

impl FoldIn for Blend {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        let folded = |part: &Part| {
            let (kind, lacks) = (part.model().config().kind(), "way to fold users in");
            part.model().as_fold_in().ok_or(Error::Unable { kind, lacks })?.fold_in(histories)
        };
        let parts: Vec<Box<dyn Scorer>> = self.parts().map(folded).collect::<Result<_>>()?;
        let (config, seen) = (self.sum.config.clone(), items_of(histories));
        Ok(Box::new(WeightedSum { config, parts, seen, n_items: self.n_items() }))
    }
}

impl Model for Blend {
    fn config(&self) -> ModelConfig {
        self.sum.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        // From the root, a path leads to the same run for a file in any directory.
        self.weights_in(Path::new("/"))
    }

    fn runs(&self) -> Vec<&Path> {
        self.parts().map(Part::run).collect()
    }

    fn n_parameters(&self) -> u64 {
        let parts: u64 = self.parts().map(|part| part.model().n_parameters()).sum();
        parts + self.sum.config.weights.len() as u64
    }

    fn weights_in(&self, dir: &Path) -> Vec<(String, Tensor)> {
        let parts: Vec<SavedPart> = self.parts().map(|part| part.named_from(dir)).collect();
        let parts = serde_json::to_vec(&parts).expect("parts have only string keys");
        let mut weights = vec![(PARTS.to_owned(), Tensor::new(&[parts.len()], parts))];
        weights.extend(lists_tensors(SEEN, &self.sum.seen));
        weights
    }
}
