//! Reads a CSV or TSV table with a header, record by record.

use std::ops::RangeInclusive;
use std::path::Path;

use super::record::{Field, line_at, line_number, record};
use super::separator::Separator;
use crate::error::cite;
use crate::{Error, Result};

/// Calls `take` with the fields of every record below the first line; blank lines are passed over.
///
/// # Errors
/// When a record does not have `n_fields` fields or has one that is none, and the errors of `take`.
pub fn records_below_header(
    path: &Path,
    bytes: &[u8],
    separator: Separator,
    n_fields: RangeInclusive<usize>,
    mut take: impl FnMut(&[Field]) -> Result<()>,
) -> Result<()> {
    records(path, bytes, separator, true, n_fields, |_, fields| take(fields))
}

/// Calls `take` with the first byte and the fields of every record, those of the first line only where that is no header.
///
/// # Errors
/// As [`records_below_header`].
pub fn records(
    path: &Path,
    bytes: &[u8],
    separator: Separator,
    header: bool,
    n_fields: RangeInclusive<usize>,
    mut take: impl FnMut(usize, &[Field]) -> Result<()>,
) -> Result<()> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (line, start) = (line_at(bytes, at), at);
        let whole = record(bytes, at, separator, &mut fields);
        at = whole.as_ref().map_or(start + line.len() + 1, |&next| next);
        let blank = whole.is_ok() && fields.len() == 1 && line.trim_ascii().is_empty();
        if (header && start == 0) || blank {
            continue;
        }
        if whole.is_err() || !n_fields.contains(&fields.len()) {
            let least = if n_fields.start() < n_fields.end() { "at most " } else { "" };
            let (found, expected) = match &whole {
                Err(bad) => (bad.found(line), bad.expected()),
                Ok(_) => {
                    let expected =
                        format!("{least}{} fields separated by {}", n_fields.end(), separator.name());
                    (cite(line), expected)
                }
            };
            let line = Some(line_number(bytes, start));
            return Err(Error::Malformed { path: path.to_owned(), line, found, expected });
        }
        take(start, &fields)?;
    }
    Ok(())
}
