//! Reads ratings files into a [`Dataset`].
//!
//! Text files are parsed by this crate: fields go straight from the mapped file into columns, so that no column exists
//! twice and an error names its line. Parquet files are read by polars. The ids of a text file are integers where all
//! ids of the column are integers in their canonical form, else strings; see [`crate::Id`].

mod assemble;
mod columns;
mod file;
mod format;
mod id_list;
mod item_table;
mod layout;
mod names;
mod ncf;
mod number;
mod options;
mod pairs;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "read/without_parquet.rs"]
mod parquet;
mod plain;
mod record;
mod report;
mod separator;
mod source;
#[cfg(feature = "parquet")]
mod stream;
mod table;
mod text;
mod titles;
mod vectors;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use columns::Columns;
pub use format::Format;
pub use id_list::read_ids;
pub use item_table::{ItemTable, read_item_table};
pub use options::ReadOptions;
pub use pairs::{Pairs, read_pairs};
#[cfg(feature = "parquet")]
pub(crate) use parquet::guarded;
pub use report::{Dropped, FileRead, OnBadRow, Reason};
pub use separator::{Quotes, Separator};
#[cfg(feature = "parquet")]
pub use stream::read_stream;
pub use titles::read_titles;
pub use vectors::{IdVectors, read_text_columns, read_vectors};

use crate::split::GivenSplit;
use crate::synth::synthetic_name;
use crate::{Dataset, Error, Result};
use assemble::{assemble, count};
use ncf::CandidateLines;
use report::Drops;
use text::Rows;

/// What [`read`] returns: a dataset, with a summary of what was read for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadOutcome {
    /// The rows (the training rows, where `given` is set), ids and titles.
    pub dataset: Dataset,
    /// The files read, and the rows taken and dropped.
    pub summary: ReadSummary,
    /// The test rows that the files bring, if they do.
    pub given: Option<GivenSplit>,
}

/// The files, columns and rows that a reader took, and the rows it dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSummary {
    /// The format that was taken, never `auto`.
    pub format: Format,
    /// The names of the columns taken: user, item, and value and time where there are such; numbers counted from 0
    /// where a file has no header.
    pub columns: Vec<String>,
    /// The files read, in this order.
    pub files: Vec<FileRead>,
    /// The rows read, those dropped among them.
    pub rows: u64,
    /// The rows dropped, by reason.
    pub dropped: Vec<Dropped>,
}

impl std::fmt::Display for ReadSummary {
    /// Writes a line for each file and each reason of dropped rows.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "read {} rows as {} with columns {}", self.rows, self.format, self.columns.join(", "))?;
        for file in &self.files {
            writeln!(f, "  {} ({} bytes)", file.path.display(), file.bytes)?;
        }
        for Dropped { reason, rows, example } in &self.dropped {
            writeln!(f, "dropped {rows}: {reason}; the first: {example}")?;
        }
        Ok(())
    }
}

/// Reads the ratings that `path` stands for: a file, a directory that holds a known file or part files, the prefix
/// of the NCF paper's files, or a fold (`u1.base`, or `u1`).
///
/// # Errors
/// When a file cannot be read, its format is not known or not as expected, there is no row, or, with
/// [`OnBadRow::Fail`], a row cannot be taken; when it is asked to stop.
pub fn read(path: &Path, options: &ReadOptions) -> Result<ReadOutcome> {
    let source = source::find(path, options)?;
    let asked = options.separator.is_some() || options.quotes != Quotes::Auto;
    if asked && (source.format.is_fixed() || source.format == Format::Parquet) {
        let found = format!("a separator or quotes asked for, but format {}", source.format);
        return Err(Error::setting("separator", found, "one of the formats ml-csv, csv and tsv"));
    }
    if source.format.is_fixed() && !options.columns.is_default() && options.titles.is_none() {
        let found = format!("columns asked for, but format {}", source.format);
        return Err(Error::setting("columns", found, "one of the formats ml-csv, csv, tsv and parquet"));
    }
    let (format, drops) = (source.format, Drops::default());
    let mut reading = Reading { options, format, files: Vec::new(), columns: Vec::new(), drops };
    let mut chunks = Vec::new();
    for file in &source.files {
        chunks.extend(reading.rows(file)?);
    }
    let n_train = count(&chunks);
    if n_train == 0 {
        let dropped = reading.drops.rows();
        let found = if dropped > 0 {
            format!("only bad rows, {dropped} of them")
        } else {
            "no rating row".to_owned()
        };
        return Err(Error::malformed(path, found, "at least one rating row"));
    }
    for file in &source.valid {
        chunks.extend(reading.rows(file)?);
    }
    let n_known = count(&chunks);
    for file in &source.test {
        chunks.extend(reading.rows(file)?);
    }
    let n_rows = count(&chunks) as u64 + reading.drops.rows();
    let lines = match &source.candidates {
        Some(candidates) => {
            let (file, lines) = CandidateLines::read(candidates, options.on_bad_row, &mut reading.drops)?;
            reading.files.push(file);
            lines
        }
        None => CandidateLines::default(),
    };
    options.stop.check()?;
    let mut joined = assemble(chunks, lines.ids)?;
    let given = match &source.candidates {
        None if source.test.is_empty() => None,
        None if source.valid.is_empty() => Some(GivenSplit::Fold { test: joined.split_off(n_train) }),
        None => {
            let test = joined.split_off(n_known);
            Some(GivenSplit::Parts { valid: joined.split_off(n_train), test })
        }
        Some(_) => {
            let test = joined.split_off(n_train);
            let ids = &joined.candidates;
            let (test, candidates) = lines.places.align(test, ids, options.on_bad_row, &mut reading.drops)?;
            Some(GivenSplit::Ncf { test, candidates })
        }
    };
    let mut titles = None;
    if let Some(file) = options.titles.as_ref().or(source.titles.as_ref()) {
        let (file, read) = read_titles(file, &joined.items, &options.columns)?;
        reading.files.push(file);
        titles = Some(read);
    }
    let synthetic = synthetic_name(path);
    let dataset = Dataset {
        name: options.name.clone().or(synthetic.clone()).unwrap_or(source.name.clone()),
        synthetic: synthetic.is_some(),
        interactions: joined.interactions,
        users: joined.users,
        items: joined.items,
        titles,
    };
    let summary = ReadSummary {
        format: source.format,
        columns: reading.columns,
        files: reading.files,
        rows: n_rows,
        dropped: reading.drops.into_dropped(),
    };
    Ok(ReadOutcome { dataset, summary, given })
}

/// The state of a reading: files, columns and drops so far.
struct Reading<'a> {
    options: &'a ReadOptions,
    format: Format,
    files: Vec<FileRead>,
    columns: Vec<String>,
    drops: Drops,
}

impl Reading<'_> {
    fn rows(&mut self, path: &Path) -> Result<Vec<Rows>> {
        self.options.stop.check()?;
        let (file, columns, rows) = match self.format {
            Format::Parquet => parquet::read_parquet(path, self.options, &mut self.drops)?,
            format => file::read_text(path, format, self.options, &mut self.drops)?,
        };
        self.files.push(file);
        if self.columns.is_empty() {
            self.columns = columns;
        }
        Ok(rows)
    }
}
