//! The formats of ratings files and their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// A format of ratings files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Recognised by file names and content.
    #[default]
    Auto,
    /// MovieLens 100K: `u.data` with tabs, titles in `u.item`, and the folds `u1.base`, `u1.test` …
    Ml100k,
    /// `ratings.dat` with `::` between fields, titles in `movies.dat`: MovieLens 1M and 10M, and MovieTweetings.
    Ml1m,
    /// `ratings.csv` with a header, titles in `movies.csv`: MovieLens 20M, 25M, 32M and latest.
    MlCsv,
    /// The files of the "Neural Collaborative Filtering" paper: `PREFIX.train.rating`, `.test.rating`,
    /// `.test.negative`.
    Ncf,
    /// Fields separated by commas, one file or a directory of part files.
    Csv,
    /// Fields separated by tabs, one file or a directory of part files.
    Tsv,
    /// Parquet, one file or a directory of part files.
    Parquet,
}

/// All names; the first one of a format is the one it is shown by.
const NAMES: [(&str, Format); 16] = [
    ("auto", Format::Auto),
    ("ml-100k", Format::Ml100k),
    ("ml-1m", Format::Ml1m),
    ("ml-10m", Format::Ml1m),
    ("movietweetings", Format::Ml1m),
    ("ml-csv", Format::MlCsv),
    ("ml-20m", Format::MlCsv),
    ("ml-25m", Format::MlCsv),
    ("ml-32m", Format::MlCsv),
    ("ml-latest", Format::MlCsv),
    ("ml-latest-small", Format::MlCsv),
    ("ncf", Format::Ncf),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("parquet", Format::Parquet),
    ("pq", Format::Parquet),
];

impl Format {
    /// Whether the format defines the order of the fields.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Ml100k | Self::Ml1m | Self::Ncf)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, format)| format == self).expect("every format has a name").0;
        f.pad(name)
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = NAMES.iter().find(|(name, _)| *name == text.to_ascii_lowercase());
        known.map(|&(_, format)| format).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            Error::setting("format", format!("{text:?}"), format!("one of {}", names.join(", ")))
        })
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_read_back_from_its_name() {
        for (name, format) in NAMES {
            assert_eq!(name.parse::<Format>().unwrap(), format);
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        let error = "ml1m".parse::<Format>().unwrap_err().to_string();
        assert!(error.starts_with("format: found \"ml1m\", expected one of auto, ml-100k, ml-1m"), "{error}");
    }
}
