//! Reads the rows of a delimited text file, in parallel, straight into columns.
//!
//! The file is cut into chunks at line breaks, which no field holds, and each chunk is parsed on its own.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::layout::Layout;
use super::number;
use super::options::ReadOptions;
use super::plain::{PlainParser, PlainRow};
use super::record::{Field, line_at, line_number, record};
use super::report::{Drops, OnBadRow, Reason};
use crate::error::cite;
use crate::id_builder::IdBuilder;
use crate::{Error, Result};

/// Rows as columns of equal length, not yet joined with those of other chunks and files.
#[derive(Debug, Default)]
pub struct Rows {
    /// Outside ids of the users.
    pub users: IdBuilder,
    /// Outside ids of the items.
    pub items: IdBuilder,
    /// Finite values.
    pub values: Vec<f32>,
    /// Unix seconds, or 0.
    pub times: Vec<i64>,
}

/// A row that cannot be taken: where it starts in the file, and why.
struct BadRow {
    /// Its first byte.
    at: usize,
    /// Why.
    reason: Reason,
    /// What was found.
    found: String,
    /// What was expected.
    expected: String,
}

impl BadRow {
    /// Returns the error that names the line.
    fn into_error(self, path: &Path, file: &[u8]) -> Error {
        Error::Malformed {
            path: path.to_owned(),
            line: Some(line_number(file, self.at)),
            found: self.found,
            expected: self.expected,
        }
    }
}

/// Bytes per chunk: small enough for an even load of the threads, large enough that joining costs little.
const CHUNK_BYTES: usize = 4 << 20;

/// Reads the rows of `file` from byte `start` on, in order, as one element per chunk; `path` is for messages.
///
/// # Errors
/// With `OnBadRow::Fail`, the first bad row; when asked to stop.
pub fn rows(
    path: &Path,
    file: &[u8],
    start: usize,
    layout: &Layout,
    options: &ReadOptions,
    drops: &mut Drops,
) -> Result<Vec<Rows>> {
    rows_in_chunks(CHUNK_BYTES, path, file, start, layout, options, drops)
}

fn rows_in_chunks(
    chunk_bytes: usize,
    path: &Path,
    file: &[u8],
    start: usize,
    layout: &Layout,
    options: &ReadOptions,
    drops: &mut Drops,
) -> Result<Vec<Rows>> {
    let (cuts, on_bad_row) = (cuts(file, start, chunk_bytes), options.on_bad_row);
    let parse = |range| {
        options.stop.check()?;
        Ok(Chunk::parse(file, range, layout, on_bad_row))
    };
    let chunks = cuts.into_par_iter().map(parse).collect::<Result<Vec<Chunk>>>()?;
    let mut out = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        for bad in chunk.bad {
            let (reason, first) = (bad.first.reason, bad.first.into_error(path, file));
            if on_bad_row == OnBadRow::Fail {
                return Err(first);
            }
            drops.add(bad.rows, first, reason);
        }
        out.push(chunk.rows);
    }
    Ok(out)
}

/// Ranges of about `chunk_bytes` bytes that end after a line break.
fn cuts(file: &[u8], start: usize, chunk_bytes: usize) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut at = start;
    while at < file.len() {
        let rest = &file[file.len().min(at + chunk_bytes)..];
        let end = file.len() - rest.len();
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(file.len(), |n| end + n + 1);
        cuts.push(at..end);
        at = end;
    }
    cuts
}

/// The rows of one chunk, and those that cannot be taken.
struct Chunk {
    rows: Rows,
    bad: Vec<BadRows>,
}

/// Bad rows of one reason.
struct BadRows {
    rows: u64,
    first: BadRow,
}

impl Chunk {
    /// Parses the records that start in `range`.
    fn parse(file: &[u8], range: Range<usize>, layout: &Layout, on_bad_row: OnBadRow) -> Self {
        let mut chunk = Self { rows: Rows::default(), bad: Vec::new() };
        let (mut fields, plain) = (Vec::new(), PlainParser::new(layout));
        let mut next = range.start;
        while next < range.end {
            let at = next;
            if let Some((row, length)) = plain.as_ref().and_then(|plain| plain.row(&file[at..])) {
                chunk.rows.push_plain(row);
                next += length;
                continue;
            }
            let taken = match record(file, at, layout.separator, &mut fields) {
                Ok(after) => {
                    next = after;
                    let blank = fields.len() == 1 && fields[0].bytes(file).is_empty();
                    if blank { Ok(()) } else { chunk.rows.push(file, &fields, layout) }
                }
                Err(bad) => {
                    let line = line_at(file, at);
                    next = file.len().min(at + line.len() + 1);
                    Err((bad.reason(), bad.found(line), bad.expected()))
                }
            };
            if let Err((reason, found, expected)) = taken {
                chunk.count(BadRow { at, reason, found, expected });
                if on_bad_row == OnBadRow::Fail {
                    break;
                }
            }
        }
        chunk.rows.shrink();
        chunk
    }

    fn count(&mut self, row: BadRow) {
        match self.bad.iter_mut().find(|bad| bad.first.reason == row.reason) {
            Some(bad) => bad.rows += 1,
            None => self.bad.push(BadRows { rows: 1, first: row }),
        }
    }
}

impl Rows {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    fn push_plain(&mut self, row: PlainRow) {
        self.users.push_int(row.user);
        self.items.push_int(row.item);
        self.values.push(row.value);
        self.times.push(row.time);
    }

    /// Appends a row of a text file, or returns why it cannot.
    fn push(
        &mut self,
        file: &[u8],
        fields: &[Field],
        layout: &Layout,
    ) -> Result<(), (Reason, String, String)> {
        if fields.len() != layout.n_fields {
            let line = fields.first().map_or(&b""[..], |first| line_at(file, first.start));
            let n = fields.len();
            let found = format!("{n} {} in {}", if n == 1 { "field" } else { "fields" }, cite(line));
            let separator = layout.separator.name();
            let expected = format!("{} fields separated by {separator}", layout.n_fields);
            return Err((Reason::Fields, found, expected));
        }
        let value = match layout.value {
            None => 1.0,
            Some(at) => {
                let field = fields[at].bytes(file);
                let value = number::float(&field).ok_or_else(|| not_a(Reason::Number, "rating", &field))?;
                if !value.is_finite() {
                    return Err((Reason::NotFinite, cite(&field), "a finite number as rating".to_owned()));
                }
                value
            }
        };
        let time = match layout.time {
            None => 0,
            Some(at) => {
                let field = fields[at].bytes(file);
                number::seconds(&field).ok_or_else(|| not_a(Reason::Time, "time", &field))?
            }
        };
        let (user, item) = (fields[layout.user].bytes(file), fields[layout.item].bytes(file));
        let (user, item) = (id(&user, "user")?, id(&item, "item")?);
        self.users.push(user);
        self.items.push(item);
        self.values.push(value);
        self.times.push(time);
        Ok(())
    }

    /// Gives back the memory beyond the last row.
    fn shrink(&mut self) {
        self.users.shrink();
        self.items.shrink();
        self.values.shrink_to_fit();
        self.times.shrink_to_fit();
    }
}

fn not_a(reason: Reason, what: &str, field: &[u8]) -> (Reason, String, String) {
    let kind = if reason == Reason::Time { "Unix seconds or an ISO date" } else { "a number" };
    (reason, cite(field), format!("{kind} as {what}"))
}

/// Returns a field as the id of a `what`, or why it is none.
pub fn id<'a>(field: &'a [u8], what: &str) -> Result<&'a str, (Reason, String, String)> {
    if field.is_empty() {
        return Err((Reason::MissingId, format!("no {what} id"), format!("an id as {what}")));
    }
    std::str::from_utf8(field).map_err(|_| (Reason::Encoding, cite(field), format!("UTF-8 as {what} id")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id_builder::join;
    use crate::read::separator::Separator;

    const CSV: Layout = Layout {
        separator: Separator::Quoted(b','),
        n_fields: 3,
        user: 0,
        item: 1,
        value: Some(2),
        time: None,
    };

    #[test]
    fn the_size_of_the_chunks_changes_nothing() {
        let text = "a,x,1\n\"b b,\",y,2\n\nc,\"x\",3\nd,z,4,\n\"e,z,5\nf,\"z\n\",n\ng,z,7";
        let mut seen = None;
        for chunk in 1..80 {
            let mut drops = Drops::default();
            let (path, file) = (Path::new("f"), text.as_bytes());
            let options = ReadOptions { on_bad_row: OnBadRow::Skip, ..ReadOptions::default() };
            let rows = rows_in_chunks(chunk, path, file, 0, &CSV, &options, &mut drops).unwrap();
            let values: Vec<f32> = rows.iter().flat_map(|rows| rows.values.clone()).collect();
            let users = join(rows.into_iter().map(|rows| rows.users).collect(), |row| row);
            assert_eq!(values, [1.0, 2.0, 3.0, 7.0]);
            assert_eq!(users.0, crate::Vocab::from_strs(["a", "b b,", "c", "g"]));
            let result = (users, drops.into_dropped());
            assert_eq!(seen.get_or_insert_with(|| result.clone()), &result);
        }
    }

    #[test]
    fn no_chunk_is_read_after_it_is_asked_to_stop() {
        let options = ReadOptions::default();
        let read =
            || rows_in_chunks(1, Path::new("f"), b"a,x,1\nb,y,2\n", 0, &CSV, &options, &mut Drops::default());
        assert_eq!(read().unwrap().len(), 2);
        options.stop.clone().ask();
        assert!(matches!(read(), Err(Error::Stopped)));
    }
}
