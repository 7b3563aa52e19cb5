//! Writes a table of columns to a Parquet or CSV file: scores, recommendations, exported factors.

mod csv;
#[cfg(feature = "parquet")]
mod parquet;

use std::path::Path;

use crate::write::write_file_with;
use crate::{Error, Result, Vocab};

/// A column of a table to be written.
#[derive(Clone, Debug)]
pub enum TableColumn<'a> {
    /// Integers.
    I64(Vec<i64>),
    /// Integers of 32 bits, for programs that take no longer ones.
    I32(Vec<i32>),
    /// Texts.
    Str(Vec<String>),
    /// Numbers.
    F32(Vec<f32>),
    /// Counts, ranks.
    U32(Vec<u32>),
    /// Vectors of `dim` numbers, one after the other, as lists; Parquet only.
    F32List {
        /// Numbers per row.
        dim: usize,
        /// The numbers of all rows.
        values: Vec<f32>,
    },
    /// The outside ids of some rows of a vocabulary, as integers or texts.
    Ids(&'a Vocab, Vec<u32>),
}

impl TableColumn<'_> {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::I64(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::Str(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::F32List { dim, values } => values.len() / (*dim).max(1),
            Self::Ids(_, rows) => rows.len(),
        }
    }

    /// Whether the column has no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Writes the columns, which have one length, to `path`, in the format its extension names: `.parquet` or `.csv`.
/// The file appears whole or not at all.
///
/// # Errors
/// When the extension is another one, a CSV file is to hold lists, a Parquet file is asked of a build without the
/// feature `parquet`, or the file cannot be written.
///
/// # Panics
/// When the columns are of different lengths, or a row of a vocabulary is not in it.
pub fn write_table(path: &Path, columns: &[(&str, TableColumn)]) -> Result<()> {
    write_table_with(path, columns, &[])
}

/// Does the same as [`write_table`], with texts by name in the metadata of a Parquet file; CSV has no place for them.
///
/// # Errors
/// As [`write_table`].
///
/// # Panics
/// As [`write_table`].
pub fn write_table_with(
    path: &Path,
    columns: &[(&str, TableColumn)],
    metadata: &[(&str, &str)],
) -> Result<()> {
    #[cfg(not(feature = "parquet"))]
    let _ = metadata;
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    assert!(columns.iter().all(|(_, column)| column.len() == rows), "columns of one length");
    let lists = columns.iter().find(|(_, column)| matches!(column, TableColumn::F32List { .. }));
    match (path.extension().and_then(|extension| extension.to_str()), lists) {
        #[cfg(feature = "parquet")]
        (Some("parquet"), _) => write_file_with(path, |file| parquet::write(file, rows, columns, metadata)),
        #[cfg(not(feature = "parquet"))]
        (Some("parquet"), _) => Err(Error::NotBuilt { path: path.to_owned(), feature: "parquet" }),
        (Some("csv"), None) => write_file_with(path, |file| csv::write(file, rows, columns)),
        (Some("csv"), Some((name, _))) => {
            let found = format!("{} for lists ({name})", path.display());
            Err(Error::setting("output", found, "a .parquet file"))
        }
        _ => {
            let found = path.display().to_string();
            Err(Error::setting("output", found, "a file that ends in .parquet or .csv"))
        }
    }
}

/// Writes a Parquet file again without some of its rows: those for which `gone` is set, in order. Columns, their types and the texts
/// in the metadata stay; the file is the old one or the new one, whole.
///
/// # Errors
/// When the file cannot be read or written, or has another number of rows than `gone`.
pub fn drop_rows(path: &Path, gone: &[bool]) -> Result<()> {
    #[cfg(feature = "parquet")]
    return parquet::drop_rows(path, gone);
    #[cfg(not(feature = "parquet"))]
    {
        let _ = gone;
        Err(Error::NotBuilt { path: path.to_owned(), feature: "parquet" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{Columns, ReadOptions, read, read_pairs};

    /// A file of each format that is built.
    const FILES: &[&str] = if cfg!(feature = "parquet") { &["t.csv", "t.parquet"] } else { &["t.csv"] };

    fn columns(vocab: &Vocab) -> [(&'static str, TableColumn<'_>); 4] {
        [
            ("user", TableColumn::I64(vec![5_000_000_000, -1, 7])),
            ("item", TableColumn::Ids(vocab, vec![1, 0, 1])),
            ("title", TableColumn::Str(vec!["a, \"b\"".into(), String::new(), "é, f".into()])),
            ("score", TableColumn::F32(vec![0.5, -1.25, 3.0e7])),
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        for vocab in [Vocab::from_strs(["x", "007"]), Vocab::from_ints(vec![3, 40])] {
            for name in FILES {
                let path = folder.path().join(name);
                write_table(&path, &columns(&vocab)).unwrap();
                let dataset = read(&path, &ReadOptions::default()).unwrap().dataset;
                assert_eq!(dataset.users, Vocab::Int(vec![-1, 7, 5_000_000_000]), "{name}");
                assert_eq!(dataset.items, vocab, "{name}");
                assert_eq!(dataset.interactions.values, [0.5, -1.25, 3.0e7], "{name}");
                let pairs = read_pairs(&path).unwrap();
                assert_eq!(pairs.users, ["5000000000", "-1", "7"]);
                assert_eq!(pairs.items[0], vocab.id(1).to_string());
                let titles = crate::read::read_titles(&path, &vocab, &Columns::default()).unwrap().1;
                assert_eq!(titles.0[0], "", "of two lines of one item the last counts");
                assert_eq!(titles.0[1], "é, f", "{name}");
            }
        }
    }

    #[test]
    fn lists_do_not_go_into_csv() {
        let folder = tempfile::tempdir().unwrap();
        let list = [("factors", TableColumn::F32List { dim: 2, values: vec![1.0, 2.0, 3.0, 4.0] })];
        let error = write_table(&folder.path().join("f.csv"), &list).unwrap_err().to_string();
        assert!(error.contains("expected a .parquet file"), "{error}");
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn a_parquet_file_asks_for_the_feature() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let column = [("n", TableColumn::U32(vec![1]))];
        let error = write_table(&path, &column).unwrap_err().to_string();
        assert!(error.contains("built without the feature `parquet`"), "{error}");
        assert!(!path.exists());
        std::fs::write(&path, "PAR1").unwrap();
        let error = read(&path, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("built without the feature `parquet`"), "{error}");
        let error = read_pairs(&path).unwrap_err().to_string();
        assert!(error.contains("built without the feature `parquet`"), "{error}");
    }

    #[test]
    fn nothing_is_left_where_writing_fails() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_table(&folder.path().join("t.xlsx"), &[]).unwrap_err().to_string();
        assert!(error.ends_with("expected a file that ends in .parquet or .csv"), "{error}");
        std::fs::create_dir(folder.path().join("t.csv")).unwrap();
        let column = || [("n", TableColumn::U32(vec![1]))];
        let error = write_table(&folder.path().join("t.csv"), &column()).unwrap_err().to_string();
        assert!(error.starts_with("cannot write "), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
