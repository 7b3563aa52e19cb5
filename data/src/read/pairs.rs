//! Reads pairs of a user and an item to be scored.

use std::path::Path;

use super::columns::{Columns, is_header, pick};
use super::file::{TextFile, header_of};
use super::layout::Layout;
use super::options::ReadOptions;
use super::parquet;
use super::report::Drops;
use super::separator::Separator;
use super::text::rows;
use crate::{Error, Result};

/// Pairs of outside ids; pair `k` is `(users[k], items[k])`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// The users' ids as text.
    pub users: Vec<String>,
    /// The items' ids as text.
    pub items: Vec<String>,
}

/// Reads the pairs of a Parquet file, or of a text file, whose separator is recognised: the columns with
/// the usual names of users and items, or, where there are none, the first two.
///
/// # Errors
/// When the file cannot be read or has fewer than two columns, and at the first bad row.
pub fn read_pairs(path: &Path) -> Result<Pairs> {
    let two = |names: &[String]| match (pick(path, names, &Columns::default()), names.len()) {
        (Ok(picked), _) => Ok((picked.user, picked.item)),
        (Err(_), 2..) => Ok((0, 1)),
        (Err(error), _) => Err(error),
    };
    let file = TextFile::open(path)?;
    if file.is_parquet() {
        let names = parquet::names(path)?;
        let (user, item) = two(&names)?;
        let mut texts = parquet::texts(path, &[names[user].clone(), names[item].clone()])?.into_iter();
        let (users, items) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        let whole = |ids: Vec<Option<String>>, what: &str| {
            let id = |(row, id): (usize, Option<String>)| {
                let found = || format!("no {what} id in row {}", row + 1);
                id.ok_or_else(|| Error::malformed(path, found(), format!("an id as {what}")))
            };
            ids.into_iter().enumerate().map(id).collect::<Result<Vec<String>>>()
        };
        return Ok(Pairs { users: whole(users, "user")?, items: whole(items, "item")? });
    }
    let line = file.first_line();
    let separator = Separator::recognise(file.bytes()).unwrap_or(Separator::Quoted(b','));
    let names = header_of(&file, separator)?;
    let (user, item) = two(&names)?;
    let start = if is_header(&names, &Columns::default()) { line.len() + 1 } else { 0 };
    let layout = Layout { separator, n_fields: names.len(), user, item, value: None, time: None };
    let start = start.min(file.bytes().len());
    let chunks = rows(path, file.bytes(), start, &layout, &ReadOptions::default(), &mut Drops::default())?;
    let mut pairs = Pairs::default();
    for chunk in chunks {
        pairs.users.extend(chunk.users.texts());
        pairs.items.extend(chunk.items.texts());
    }
    Ok(pairs)
}
