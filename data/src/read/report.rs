//! The report of a reader: the files it read, and the rows it dropped and why.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, hash};

/// What to do with a row that cannot be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// The first one is an error that names its line.
    #[default]
    Fail,
    /// They are dropped, and counted by reason in the summary.
    Skip,
}

impl std::str::FromStr for OnBadRow {
    type Err = Error;

    /// Reads `fail` or `skip`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            other => Err(Error::setting("on-bad-row", format!("{other:?}"), "fail or skip")),
        }
    }
}

/// Why a row was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The line has another number of fields than the file.
    Fields,
    /// A quoted field has no end on its line, or text after its end.
    Quote,
    /// A field is longer than any field is.
    Long,
    /// No user or item id.
    MissingId,
    /// An id that is not UTF-8.
    Encoding,
    /// A rating that is no number.
    Number,
    /// A rating that is NaN or infinite.
    NotFinite,
    /// A time that is neither a number nor a date.
    Time,
    /// A test row without a line of candidates.
    NoCandidates,
    /// A candidate that is the test item itself.
    CandidateIsTest,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fields => "wrong number of fields",
            Self::Quote => "unclosed quote",
            Self::Long => "field too long",
            Self::MissingId => "missing id",
            Self::Encoding => "id not in UTF-8",
            Self::Number => "rating not a number",
            Self::NotFinite => "rating not finite",
            Self::Time => "time not a number or date",
            Self::NoCandidates => "test row without candidates",
            Self::CandidateIsTest => "candidate equal to the test item",
        })
    }
}

/// Rows dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub rows: u64,
    /// The first of them: `file:line: found …, expected …`.
    pub example: String,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRead {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

impl FileRead {
    /// Reads the file once for its hash.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let bytes = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
        Ok(Self { path: path.to_owned(), bytes, sha256: hash::file(path)? })
    }
}

/// Counts the dropped rows.
#[derive(Debug, Default)]
pub struct Drops(Vec<Dropped>);

impl Drops {
    /// Counts `rows` rows of which `first` is the first.
    pub fn add(&mut self, rows: u64, first: Error, reason: Reason) {
        match self.0.iter_mut().find(|dropped| dropped.reason == reason) {
            Some(dropped) => dropped.rows += rows,
            None => self.0.push(Dropped { reason, rows, example: first.to_string() }),
        }
    }

    /// Returns how many rows were dropped.
    pub fn rows(&self) -> u64 {
        self.0.iter().map(|dropped| dropped.rows).sum()
    }

    /// Returns the counts, by reason.
    pub fn into_dropped(mut self) -> Vec<Dropped> {
        self.0.sort_by_key(|dropped| dropped.reason);
        self.0
    }
}
