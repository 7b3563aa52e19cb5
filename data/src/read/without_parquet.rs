//! Stands in for the Parquet reader in a build without the feature `parquet`: every file is refused with an error
//! that says so.

use std::path::Path;

use super::options::ReadOptions;
use super::report::{Drops, FileRead};
use super::text::Rows;
use crate::{Error, Result};

/// Refuses a file of ratings.
pub fn read_parquet(
    path: &Path,
    _: &ReadOptions,
    _: &mut Drops,
) -> Result<(FileRead, Vec<String>, Vec<Rows>)> {
    Err(not_built(path))
}

/// Refuses a file whose columns are asked for.
pub fn names(path: &Path) -> Result<Vec<String>> {
    Err(not_built(path))
}

/// Refuses a file of texts.
pub fn texts(path: &Path, _: &[String]) -> Result<Vec<Vec<Option<String>>>> {
    Err(not_built(path))
}

/// Refuses a file of vectors.
pub fn vectors(path: &Path, _: &str, _: &str) -> Result<(Vec<i64>, Vec<Vec<f32>>)> {
    Err(not_built(path))
}

fn not_built(path: &Path) -> Error {
    match std::fs::File::open(path) {
        Ok(_) => Error::NotBuilt { path: path.to_owned(), feature: "parquet" },
        Err(error) => Error::io("read", path)(error),
    }
}
