//! Reads ratings, filters them and splits them into prepared data.

use std::path::Path;

use burnrec_data::filter::Filters;
use burnrec_data::read::{ReadOptions, ReadOutcome, read};
use burnrec_data::split::SplitConfig;
use burnrec_data::{Dataset, Prepared};

use crate::Result;

/// How ratings are read, filtered and split.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// How the file is read: its format, its columns, what to do with bad rows.
    pub read: ReadOptions,
    /// Which rows are kept.
    pub filters: Filters,
    /// How rows are split into train, valid and test. By default leave-one-out, or the split of files that bring their
    /// own test.
    pub split: Option<SplitConfig>,
    /// The seed of every draw of the split.
    pub seed: u64,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self { read: ReadOptions::default(), filters: Filters::default(), split: None, seed: 42 }
    }
}

/// Reads a ratings file, or a folder with one, filters and splits it: MovieLens in all its forms, MovieTweetings, any
/// CSV, TSV or Parquet with columns of users and items.
///
/// # Errors
/// When the file cannot be read (the error names file and line), or the filters or the split leave nothing.
pub fn prepare(ratings: impl AsRef<Path>, options: &PrepareOptions) -> Result<Prepared> {
    let ReadOutcome { dataset, summary, given } = read(ratings.as_ref(), &options.read)?;
    options.read.stop.check()?;
    let split = match (&options.split, &given) {
        (Some(split), _) => *split,
        (None, Some(_)) => SplitConfig::Given {},
        (None, None) => SplitConfig::LeaveOneOut { candidates: None },
    };
    Ok(Prepared::build(dataset, given, Some(summary), &options.filters, &split, options.seed)?)
}

/// Filters and splits ratings that are in memory, such as the columns of a data frame.
///
/// # Errors
/// When the filters or the split leave nothing.
pub fn prepare_dataset(dataset: Dataset, options: &PrepareOptions) -> Result<Prepared> {
    let split = options.split.unwrap_or(SplitConfig::LeaveOneOut { candidates: None });
    Ok(Prepared::build(dataset, None, None, &options.filters, &split, options.seed)?)
}
