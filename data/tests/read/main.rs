//! Reads ratings files of every format, whole and damaged.

mod bad;
mod damaged;
mod formats;
mod lists;
#[cfg(feature = "parquet")]
mod parquet;
mod real;

use std::path::{Path, PathBuf};

use burnrec_data::read::{OnBadRow, ReadOptions, ReadOutcome, read};
use burnrec_data::{Dataset, Interactions};
use tempfile::TempDir;

/// Returns a folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a parent")).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

/// Returns a folder with one file, and the file's path.
fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = folder(&[(name, bytes)]);
    let path = folder.path().join(name);
    (folder, path)
}

/// Reads with the default options.
fn take(path: impl AsRef<Path>) -> ReadOutcome {
    read(path.as_ref(), &ReadOptions::default()).unwrap()
}

/// Returns options that drop bad rows.
fn skip() -> ReadOptions {
    ReadOptions { on_bad_row: OnBadRow::Skip, ..ReadOptions::default() }
}

/// Returns rows as `user item value time`, with the outside ids.
fn shown(dataset: &Dataset, rows: &Interactions) -> Vec<String> {
    let row = |k: usize| {
        let (user, item) = (dataset.users.id(rows.users[k].0), dataset.items.id(rows.items[k].0));
        format!("{user} {item} {} {}", rows.values[k], rows.times[k])
    };
    (0..rows.len()).map(row).collect()
}
