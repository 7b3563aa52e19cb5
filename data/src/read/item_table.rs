//! A table of facts about items, such as an offer list, as texts.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::{
    CsvParseOptions, CsvReadOptions, DataFrame, DataType, ParquetReader, PolarsResult, SerReader,
};

use super::parquet::guarded;
use crate::{Error, Result};

/// Columns of texts by item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemTable {
    /// The columns' names, without the one with the items.
    pub columns: Vec<String>,
    /// By the item's id as text, its cells in the order of `columns`; an empty text where there is no value.
    pub rows: HashMap<String, Vec<String>>,
}

/// Reads a CSV file (`,` between fields, names in its first line) or a Parquet file; `on` names the column with the
/// items, `columns` the others to keep, all of them if it is empty.
///
/// # Errors
/// When the file cannot be read or lacks a column, and when an item is missing in a row or has two rows.
pub fn read_item_table(path: &Path, on: &str, columns: &[String]) -> Result<ItemTable> {
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let is_parquet = path.extension().is_some_and(|extension| extension == "parquet");
    let table = guarded(path, || match is_parquet {
        true => ParquetReader::new(file).finish(),
        false => CsvReadOptions::default()
            .with_infer_schema_length(Some(0))
            .with_parse_options(CsvParseOptions::default().with_truncate_ragged_lines(false))
            .into_reader_with_file_handle(file)
            .finish(),
    })?;
    let names: Vec<String> = table.get_column_names().iter().map(|name| name.to_string()).collect();
    let has = |column: &String| match names.contains(column) {
        true => Ok(()),
        false => {
            let found = format!("the columns {}", names.join(", "));
            Err(Error::malformed(path, found, format!("a column {column}")))
        }
    };
    has(&on.to_owned())?;
    columns.iter().try_for_each(has)?;
    let columns: Vec<String> = match columns {
        [] => names.iter().filter(|name| *name != on).cloned().collect(),
        some => some.to_vec(),
    };
    let items = guarded(path, || texts(&table, on))?;
    let cells =
        columns.iter().map(|name| guarded(path, || texts(&table, name))).collect::<Result<Vec<_>>>()?;
    let mut rows = HashMap::with_capacity(items.len());
    for (row, item) in items.into_iter().enumerate() {
        // As with ratings: blanks around a field of a text file are not part of an id, those of a Parquet cell are.
        let item = item.map(|item| if is_parquet { item } else { item.trim_ascii().to_owned() });
        let item = match item {
            Some(item) if !item.is_empty() => item,
            _ => {
                let found = format!("no {on} in row {}", row + 1);
                return Err(Error::malformed(path, found, "an item in every row"));
            }
        };
        let of_row = cells.iter().map(|column| column[row].clone().unwrap_or_default()).collect();
        if rows.insert(item.clone(), of_row).is_some() {
            let found = format!("{on} {item} a second time in row {}", row + 1);
            return Err(Error::malformed(path, found, "one row an item"));
        }
    }
    Ok(ItemTable { columns, rows })
}

impl ItemTable {
    /// The place of a column in every row.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

fn texts(table: &DataFrame, name: &str) -> PolarsResult<Vec<Option<String>>> {
    let column = table.column(name)?.strict_cast(&DataType::String)?;
    Ok(column.str()?.iter().map(|text| text.map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{TableColumn, write_table};

    fn read(text: &str, columns: &[&str]) -> Result<ItemTable> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offers.csv");
        std::fs::write(&path, text).unwrap();
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        read_item_table(&path, "item", &columns)
    }

    #[test]
    fn cells_are_kept_as_they_stand() {
        let table = read("item,offer,reward\n007,\"a,b\",1.50\n8,,2\n", &[]).unwrap();
        assert_eq!(table.columns, ["offer", "reward"]);
        assert_eq!(table.rows["007"], ["a,b", "1.50"]);
        assert_eq!(table.rows["8"], ["", "2"]);
        let some = read("item,offer,reward\n7,x,1\n", &["reward"]).unwrap();
        assert_eq!((some.column("reward"), some.column("offer")), (Some(0), None));
    }

    #[test]
    fn a_parquet_file_gives_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offers.parquet");
        let columns = [
            ("item", TableColumn::I64(vec![7, 8])),
            ("reward", TableColumn::Str(vec!["1".into(), "2".into()])),
        ];
        write_table(&path, &columns).unwrap();
        let table = read_item_table(&path, "item", &[]).unwrap();
        assert_eq!(table, read("item,reward\n7,1\n8,2\n", &[]).unwrap());
    }

    #[test]
    fn what_cannot_be_joined_is_refused() {
        let cases = [
            ("item,offer\n7,x\n7,y\n", "item 7 a second time in row 2"),
            ("item,offer\n,x\n", "no item in row 1"),
            ("product,offer\n7,x\n", "expected a column item"),
        ];
        for (text, expected) in cases {
            let error = read(text, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = read("item,offer\n7,x\n", &["reward"]).unwrap_err().to_string();
        assert!(error.contains("expected a column reward"), "{error}");
    }
}
