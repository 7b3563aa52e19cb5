//! Prepared data: a dataset filtered and split once, saved with hashes of what went in and what came out, so
//! that every model is trained and evaluated on the same rows and candidates.
//!
//! A directory holds `split.safetensors`, `vocab.safetensors`, `titles.safetensors` where there are titles, and
//! `manifest.json`, written last: without it there is no prepared data.

mod files;
mod manifest;
mod person;

pub use manifest::{FORMAT, PreparedManifest};
pub use person::UserRows;

use crate::counts::Counts;
use crate::filter::{self, Duplicates, FilterSummary, Filters};
use crate::read::ReadSummary;
use crate::split::{GivenSplit, Split, SplitConfig, split, split_given};
use crate::{Csr, Dataset, Error, Interactions, Result, Titles, Vocab};

/// A dataset, ready for training and evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// What the dataset is called.
    pub name: String,
    /// Whether the rows were drawn by `synth`.
    pub synthetic: bool,
    /// The users' ids.
    pub users: Vocab,
    /// The items' ids.
    pub items: Vocab,
    /// The items' titles.
    pub titles: Option<Titles>,
    /// The training rows and the holdouts.
    pub split: Split,
    /// The settings, counts and hash of the data.
    pub manifest: PreparedManifest,
}

impl Prepared {
    /// Filters and splits a dataset; one whose files brought their own test (`given`) is split by
    /// [`SplitConfig::Given`] and cannot be filtered.
    ///
    /// # Errors
    /// Those of [`filter::apply`], [`split()`] and [`split_given`], and when only one of `given` and
    /// [`SplitConfig::Given`] is set, or filters beside them.
    pub fn build(
        dataset: Dataset,
        given: Option<GivenSplit>,
        read: Option<ReadSummary>,
        filters: &Filters,
        config: &SplitConfig,
        seed: u64,
    ) -> Result<Self> {
        let (dataset, filtered, (split, summary)) = match (given, config) {
            (Some(given), SplitConfig::Given {}) => {
                let Filters { duplicates, positive_from, min_user, min_item } = *filters;
                let cores = min_user > 1 || min_item > 1;
                if duplicates != Duplicates::Last || positive_from.is_some() || cores {
                    let expected = "no filter, as the test that the files bring is taken as it stands";
                    return Err(Error::setting("filters", format!("{filters:?}"), expected));
                }
                let split = split_given(&dataset, given, seed)?;
                let summary = FilterSummary::of(&dataset.interactions);
                (dataset, summary, split)
            }
            (Some(_), _) => {
                let found = "another protocol for files that bring their own test";
                return Err(Error::setting("split", found, "no --split and no --candidates"));
            }
            (None, _) => {
                let (dataset, filtered) = filter::apply(dataset, filters)?;
                let split = split(&dataset, config, seed)?;
                (dataset, filtered, split)
            }
        };
        let mut prepared = Self {
            manifest: PreparedManifest {
                kind: manifest::KIND.to_owned(),
                format: FORMAT,
                burnrec: env!("CARGO_PKG_VERSION").to_owned(),
                name: dataset.name.clone(),
                synthetic: dataset.synthetic,
                read,
                filters: filters.clone(),
                split: *config,
                seed,
                counts: Counts::of(&dataset),
                filtered,
                summary,
                hash: String::new(),
                held_out_times: None,
                before: Vec::new(),
            },
            name: dataset.name,
            synthetic: dataset.synthetic,
            users: dataset.users,
            items: dataset.items,
            titles: dataset.titles,
            split,
        };
        prepared.set_hashes();
        Ok(prepared)
    }

    /// Returns some of the data's rows, such as `split.train`, as a matrix `[n_users, n_items]`; with `in_order`, in the
    /// order of their times ([`Interactions::to_histories`], with the split's seed), if the data has times.
    pub fn matrix(&self, rows: &Interactions, in_order: bool) -> Csr {
        let (n_users, n_items) = (self.users.len(), self.items.len());
        let Split { train, valid_rows, .. } = &self.split;
        let mut times = train.times.iter().chain(&valid_rows.times);
        let first = times.next();
        if in_order && times.any(|time| Some(time) != first) {
            return rows.to_histories(n_users, n_items, self.manifest.seed);
        }
        rows.to_csr(n_users, n_items)
    }
}

#[cfg(test)]
mod tests;
