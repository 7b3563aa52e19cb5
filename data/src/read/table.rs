//! Reads a CSV or TSV table with a header, record by record.

use std::ops::RangeInclusive;
use std::path::Path;

use super::record::{Field, line_at, record};
use super::separator::Separator;
use crate::error::cite;
use crate::{Error, Result};

/// Calls `take` with the fields of every record below the first line; blank lines are passed over.
///
/// # Errors
/// When a record does not have `n_fields` fields or has an unclosed quote, and the errors of `take`.
pub fn records_below_header(
    path: &Path,
    bytes: &[u8],
    separator: Separator,
    n_fields: RangeInclusive<usize>,
    mut take: impl FnMut(&[Field]) -> Result<()>,
) -> Result<()> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (line, start) = (line_at(bytes, at), at);
        let whole = record(bytes, at, separator, &mut fields);
        at = whole.as_ref().map_or(start + line.len() + 1, |&next| next);
        let blank = whole.is_ok() && fields.len() == 1 && line.trim_ascii().is_empty();
        if start == 0 || blank {
            continue;
        }
        if whole.is_err() || !n_fields.contains(&fields.len()) {
            let number = 1 + bytes[..start].iter().filter(|&&byte| byte == b'\n').count() as u64;
            let least = if n_fields.start() < n_fields.end() { "at most " } else { "" };
            let expected = match &whole {
                Err(bad) => bad.expected(),
                Ok(_) => format!("{least}{} fields separated by {}", n_fields.end(), separator.name()),
            };
            return Err(Error::Malformed {
                path: path.to_owned(),
                line: Some(number),
                found: cite(line),
                expected,
            });
        }
        take(&fields)?;
    }
    Ok(())
}
