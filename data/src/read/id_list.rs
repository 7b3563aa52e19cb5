//! Reads a list of item ids.

use std::path::Path;

use super::columns::{Columns, ITEM, find, is_header, list};
use super::file::{TextFile, csv_separator, header_of};
use super::names::extension;
use super::parquet;
use super::record::line_number;
use super::separator::Separator;
use super::table::records;
use super::text::id;
use crate::{Error, Result};

/// Reads the item ids of a file, in its order: of a `.csv`, `.tsv` or Parquet file those of the column with a usual name of
/// items, or of its only column; of another text file each line is an id. The first line of a text file is a header where it
/// has a usual name.
///
/// # Errors
/// When the file cannot be read, has no such column or no id, and at the first line without an id.
pub fn read_ids(path: &Path) -> Result<Vec<String>> {
    let file = TextFile::open(path)?;
    let column = |names: &[String], header: bool| match find(path, names, &None, ITEM)? {
        Some(at) if header => Ok(at),
        _ if names.len() == 1 => Ok(0),
        _ => {
            let expected = "one column of item ids, or one with a usual name, such as \"item\"";
            Err(Error::malformed(path, format!("columns {}", list(names)), expected))
        }
    };
    let mut ids = Vec::new();
    if file.is_parquet() {
        let names = parquet::names(path)?;
        let name = names[column(&names, true)?].clone();
        for (row, id) in parquet::texts(path, &[name])?.remove(0).into_iter().enumerate() {
            let found = || format!("no item id in row {}", row + 1);
            let id = id.filter(|id| !id.is_empty());
            ids.push(id.ok_or_else(|| Error::malformed(path, found(), "an id as item"))?);
        }
    } else {
        let separator = match extension(path).as_str() {
            "csv" => csv_separator(file.bytes()),
            "tsv" => Separator::Plain(b'\t'),
            // Each line is one field.
            _ => Separator::Plain(b'\n'),
        };
        let (bytes, names) = (file.bytes(), header_of(&file, separator)?);
        let header = is_header(&names, &Columns::default());
        let (column, n) = (column(&names, header)?, names.len());
        records(path, bytes, separator, header, n..=n, |at, fields| {
            let field = fields[column].bytes(bytes);
            let bad = |(_, found, expected)| {
                let line = Some(line_number(bytes, at));
                Error::Malformed { path: path.to_owned(), line, found, expected }
            };
            ids.push(id(&field, "item").map_err(bad)?.to_owned());
            Ok(())
        })?;
    }
    match ids.is_empty() {
        true => Err(Error::malformed(path, "no id", "at least one item id")),
        false => Ok(ids),
    }
}
