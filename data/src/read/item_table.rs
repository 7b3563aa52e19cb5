//! A table of facts about items, such as an offer list, as texts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use super::file::{TextFile, csv_separator, header_of};
use super::parquet;
use super::record::Field;
use super::separator::Separator;
use super::table::records_below_header;
use crate::{Error, Result};

/// Columns of texts by item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemTable {
    /// The columns' names, without the one with the items.
    pub columns: Vec<String>,
    /// The cells of each item, by its id as text, in the order of `columns`; an empty text where there is no value.
    pub rows: HashMap<String, Vec<String>>,
}

/// Reads a text file (names in its first line; its separator is recognised, a comma by default) or a Parquet file; `on`
/// names the column with the items, `columns` the others to keep, all of them if it is empty.
///
/// # Errors
/// When the file cannot be read or lacks a column, and when an item is missing in a row or has two rows.
pub fn read_item_table(path: &Path, on: &str, columns: &[String]) -> Result<ItemTable> {
    let file = TextFile::open(path)?;
    let (is_parquet, separator) = (file.is_parquet(), csv_separator(file.bytes()));
    let names = match is_parquet {
        true => parquet::names(path)?,
        false => header(path, &file, separator)?,
    };
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
    let taken: Vec<String> = std::iter::once(on.to_owned()).chain(columns.iter().cloned()).collect();
    let mut cells = match is_parquet {
        true => parquet::texts(path, &taken)?,
        false => csv_texts(path, file.bytes(), separator, &names, &taken)?,
    };
    let items = cells.remove(0);
    let mut rows = HashMap::with_capacity(items.len());
    for (row, item) in items.into_iter().enumerate() {
        // As with ratings, blanks around a field of a text file do not belong to an id; those in a Parquet cell do.
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
    /// Returns the index of a column's cell in every row.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

/// Returns the names in the first line of a text file.
fn header(path: &Path, file: &TextFile, separator: Separator) -> Result<Vec<String>> {
    let names = header_of(file, separator)?;
    match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        None => Ok(names),
        Some((_, name)) => {
            Err(Error::malformed(path, format!("a second column {name}"), "columns of different names"))
        }
    }
}

/// Returns some columns of a CSV file with the names `names`, each with one entry per row; none where a cell is empty
/// or its line ends before it.
fn csv_texts(
    path: &Path,
    bytes: &[u8],
    separator: Separator,
    names: &[String],
    taken: &[String],
) -> Result<Vec<Vec<Option<String>>>> {
    let places: Vec<usize> =
        taken.iter().filter_map(|name| names.iter().position(|known| known == name)).collect();
    let mut cells = vec![Vec::new(); places.len()];
    records_below_header(path, bytes, separator, 1..=names.len(), |fields| {
        for (column, &place) in cells.iter_mut().zip(&places) {
            let cell = fields.get(place).map(|field| text(path, field, bytes)).transpose()?;
            column.push(cell.filter(|cell| !cell.is_empty()));
        }
        Ok(())
    })?;
    Ok(cells)
}

fn text(path: &Path, field: &Field, bytes: &[u8]) -> Result<String> {
    let bytes: Cow<'_, [u8]> = field.untrimmed(bytes);
    let other = |_| Error::malformed(path, "a cell in another encoding", "UTF-8");
    String::from_utf8(bytes.into_owned()).map_err(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "parquet")]
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
    fn lines_may_end_early_or_with_a_carriage_return_and_be_blank() {
        let table = read("item,offer,reward\r\n7, x ,\r\n\r\n8\r\n\"9\",\"y, z\",\"\"\r\n", &[]).unwrap();
        assert_eq!(table.rows["7"], [" x ", ""]);
        assert_eq!(table.rows["8"], ["", ""]);
        assert_eq!(table.rows["9"], ["y, z", ""]);
        let bom = read("\u{feff}item,offer\n7,x\n", &[]).unwrap();
        assert_eq!(bom.rows["7"], ["x"]);
    }

    #[cfg(feature = "parquet")]
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
            ("item,offer\n7,x\n8,y,z\n", "offers.csv:3: found \"8,y,z\", expected at most 2 fields"),
            ("item,offer,offer\n7,x,y\n", "a second column offer"),
        ];
        for (text, expected) in cases {
            let error = read(text, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = read("item,offer\n7,x\n", &["reward"]).unwrap_err().to_string();
        assert!(error.contains("expected a column reward"), "{error}");
    }
}
