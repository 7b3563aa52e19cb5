//! Reads the titles of items from the file that lies beside the ratings or from any table with an item and a title.

use std::path::Path;

use super::columns::{Columns, ITEM, TITLE, find, list};
use super::file::{TextFile, csv_separator, header_of};
use super::names::uncompressed;
use super::parquet;
use super::record::BadField;
use super::report::FileRead;
use super::table::records_below_header;
use crate::error::cite;
use crate::{Error, Result, Titles, Vocab};

/// Reads the titles of the items of a vocabulary. Lines of other items are passed over; of two lines of one item
/// the last counts. The format of the file is told by its name: `u.item`, `movies.dat`, or else a table with an
/// item and a title column.
///
/// # Errors
/// When the file cannot be read, does not have the columns, or a line does not have the fields.
pub fn read_titles(path: &Path, items: &Vocab, columns: &Columns) -> Result<(FileRead, Titles)> {
    let mut titles = Titles(vec![String::new(); items.len()]);
    let mut take = |id: &str, title: &str| {
        if let Some(row) = items.find(id) {
            titles.0[row as usize] = title.trim().to_owned();
        }
    };
    let file = TextFile::open(path)?;
    if file.is_parquet() {
        let names = parquet::names(path)?;
        let (item, title) = pick(path, &names, columns)?;
        let texts = parquet::texts(path, &[names[item].clone(), names[title].clone()])?;
        for (id, title) in texts[0].iter().zip(&texts[1]) {
            if let (Some(id), Some(title)) = (id, title) {
                take(id, title);
            }
        }
        return Ok((FileRead::of(path)?, titles));
    }
    let text = file.text();
    match uncompressed(&path.file_name().unwrap_or_default().to_string_lossy()) {
        "u.item" => {
            // Fields are divided by `|`: id, title, dates, address, and 19 genres.
            for (number, line) in lines(&text) {
                check(path, number, line, "|")?;
                let mut fields = line.split('|');
                let both = fields.next().zip(fields.next());
                let (id, title) =
                    both.ok_or_else(|| bad(path, number, cite(line.as_bytes()), "id|title|…"))?;
                take(id.trim_ascii(), title);
            }
        }
        "movies.dat" => {
            // A title may hold colons, even two, but neither ids nor genres do.
            for (number, line) in lines(&text) {
                check(path, number, line, "::")?;
                let both = line.split_once("::").and_then(|(id, rest)| Some((id, rest.rsplit_once("::")?.0)));
                let (id, title) =
                    both.ok_or_else(|| bad(path, number, cite(line.as_bytes()), "id::title::genres"))?;
                take(id.trim_ascii(), title);
            }
        }
        _ => table(path, &file, &text, columns, take)?,
    }
    Ok((file.summary(), titles))
}

/// Reads the items and titles of a text table with a header.
fn table(
    path: &Path,
    file: &TextFile,
    text: &str,
    columns: &Columns,
    mut take: impl FnMut(&str, &str),
) -> Result<()> {
    let separator = csv_separator(file.bytes());
    let names = header_of(file, separator)?;
    let (item, title) = pick(path, &names, columns)?;
    let bytes = text.as_bytes();
    records_below_header(path, bytes, separator, names.len()..=names.len(), |fields| {
        let (id, title) = (fields[item].bytes(bytes), fields[title].bytes(bytes));
        take(&String::from_utf8_lossy(&id), &String::from_utf8_lossy(&title));
        Ok(())
    })
}

/// Finds the item and the title column. The item column asked for is one of the ratings file; it is used here if this
/// file has it too.
fn pick(path: &Path, names: &[String], columns: &Columns) -> Result<(usize, usize)> {
    let need = |asked: &Option<String>, usual: &[&str], what: &str| {
        let expected = format!("a column of {what}, such as {:?}", usual[0]);
        let missing = || Error::malformed(path, format!("columns {}", list(names)), expected);
        find(path, names, asked, usual)?.ok_or_else(missing)
    };
    let item = columns.item.clone().filter(|item| names.contains(item));
    Ok((need(&item, ITEM, "item ids")?, need(&columns.title, TITLE, "titles")?))
}

fn lines(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

/// Refuses a line with a field that is too long.
fn check(path: &Path, number: u64, line: &str, separator: &str) -> Result<()> {
    match BadField::too_long(line.split(separator)) {
        None => Ok(()),
        Some(field) => Err(bad(path, number, field.found(line.as_bytes()), field.expected())),
    }
}

fn bad(path: &Path, line: u64, found: String, expected: impl Into<String>) -> Error {
    Error::Malformed { path: path.to_owned(), line: Some(line), found, expected: expected.into() }
}
