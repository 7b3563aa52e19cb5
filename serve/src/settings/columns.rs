//! The columns of CSV replies.

use super::join::Join;
use crate::config::OutputConfig;
use crate::{Error, Result};

/// Checks that every column of the CSV template of replies is known.
///
/// # Errors
/// When one is unknown.
pub fn check(output: &OutputConfig, join: Option<&Join>) -> Result<()> {
    let own = ["user", "item", "id", "model", "version", "score"];
    let known: Vec<&str> =
        own.into_iter().chain(join.iter().flat_map(|join| join.columns()).map(String::as_str)).collect();
    let mut columns = output.csv.iter().flat_map(|csv| csv.split(',')).map(str::trim);
    match columns.find(|column| !known.contains(column)) {
        Some(column) => Err(Error::config(
            "output.csv",
            format!("the column {column:?}"),
            format!("one of {}", known.join(", ")),
        )),
        None => Ok(()),
    }
}
