//! The options of the reader.

use std::path::PathBuf;

use super::columns::Columns;
use super::format::Format;
use super::report::OnBadRow;
use super::separator::{Quotes, Separator};
use crate::Stop;

/// The options of [`read`](super::read).
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The format; recognised by default.
    pub format: Format,
    /// The columns of `csv`, `tsv` and `parquet` files, and of the file of titles.
    pub columns: Columns,
    /// The separator between the fields of text files; recognised by default.
    pub separator: Option<Separator>,
    /// Whether fields of text files may be quoted.
    pub quotes: Quotes,
    /// What to do with a row that cannot be taken.
    pub on_bad_row: OnBadRow,
    /// What to call the dataset; by default the name of its file or directory.
    pub name: Option<String>,
    /// A file of titles; by default the one that the format has beside its ratings.
    pub titles: Option<PathBuf>,
    /// What tells the reader to stop.
    pub stop: Stop,
}
