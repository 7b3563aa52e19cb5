//! The manifest of prepared data: every setting that can change a number, and the numbers.

use serde::{Deserialize, Serialize};

use crate::counts::Counts;
use crate::filter::{FilterSummary, Filters, ValueRange};
use crate::read::ReadSummary;
use crate::split::{SplitConfig, SplitSummary};

/// The version of the directory's format; a directory with another one is not opened.
pub const FORMAT: u32 = 1;

/// The kind that the manifest names, so that the directory of a model is not taken for prepared data.
pub(super) const KIND: &str = "burnrec prepared data";

/// The settings, counts and hash of prepared data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedManifest {
    /// The kind of directory.
    pub kind: String,
    /// Its format, [`FORMAT`].
    pub format: u32,
    /// The version of burnrec that wrote it.
    pub burnrec: String,
    /// What the dataset is called.
    pub name: String,
    /// Whether the rows were drawn by `synth`.
    pub synthetic: bool,
    /// The files that were read, with their hashes, and the rows dropped while reading; none for rows that were drawn.
    pub read: Option<ReadSummary>,
    /// The filters that were applied.
    pub filters: Filters,
    /// The split that was drawn.
    pub split: SplitConfig,
    /// The seed of the split.
    pub seed: u64,
    /// The size of the data after the filters.
    pub counts: Counts,
    /// What the filters dropped.
    pub filtered: FilterSummary,
    /// The sizes of the split.
    pub summary: SplitSummary,
    /// SHA-256 of all ids, titles, rows and candidates.
    pub hash: String,
    /// SHA-256 of the times of the held-out rows, which `hash` is without, so that it is that of data prepared before they
    /// were kept; none there, and for data without times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_times: Option<String>,
    /// The hashes that the data had before a user was erased from it, each time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
}

impl std::fmt::Display for PreparedManifest {
    /// Writes the summary that `prepare` prints: sizes, dates, dropped rows and why, and the parts of the split.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(read) = &self.read {
            write!(f, "{read}")?;
        }
        let synthetic = if self.synthetic { " (synthetic: nobody gave these ratings)" } else { "" };
        writeln!(f, "{}{synthetic}", self.name)?;
        write!(f, "{}", self.counts)?;
        self.write_values(f)?;
        let FilterSummary { rows, repeated, not_positive, outside_core, .. } = self.filtered;
        let reasons = [
            (outside_core, "rows of users or items with too few rows"),
            (self.filtered.users_dropped, "users left without a row"),
            (self.filtered.items_dropped, "items left without a row"),
        ];
        for (n, reason) in reasons.iter().filter(|(n, _)| *n > 0) {
            writeln!(f, "dropped {n} {reason}")?;
        }
        let dropped = repeated + not_positive + outside_core;
        if dropped > 0 {
            writeln!(f, "        {dropped} of {rows} rows dropped in all")?;
        }
        write!(f, "{}", self.summary)
    }
}

impl PreparedManifest {
    /// Writes the range of the values that were read, which rows are positives, and what became of repeated rows.
    fn write_values(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FilterSummary { values, repeated, not_positive, .. } = self.filtered;
        if let Some(ValueRange { least, greatest, negative }) = values {
            write!(f, "values  {least} to {greatest}, ")?;
            match negative {
                0 => writeln!(f, "none negative")?,
                n => writeln!(f, "{n} of them negative")?,
            }
            match (self.filters.positive_from, negative) {
                (Some(from), _) => {
                    writeln!(f, "        from {from} on a row is a positive and its value is 1")?;
                    writeln!(f, "dropped {not_positive} rows with a value below {from}")?;
                }
                (None, 0) => writeln!(f, "        models of implicit feedback count each row as a positive")?,
                (None, _) => writeln!(
                    f,
                    "        models of implicit feedback count each row as a positive and refuse negative values; \
                     --positive-from says which rows are positives"
                )?,
            }
        }
        match repeated + self.summary.repeated_rows {
            0 => writeln!(f, "repeats none of a user and item"),
            n => {
                let counts = self.filters.duplicates.what_counts();
                writeln!(f, "repeats {n} rows of a user and item that have another row; {counts}")
            }
        }
    }
}
