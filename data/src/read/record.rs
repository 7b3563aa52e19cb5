//! Cuts one record of a delimited text file into its fields.

use std::borrow::Cow;

use super::report::Reason;
use super::separator::Separator;
use crate::error::cite;

/// The range of a field in the file, without its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its first byte.
    pub start: usize,
    end: usize,
    /// Whether a doubled quote inside stands for one.
    escaped: bool,
}

impl Field {
    /// Returns the bytes between the separators, blanks around them cut off.
    pub fn bytes<'a>(&self, file: &'a [u8]) -> Cow<'a, [u8]> {
        self.unquoted(file[self.start..self.end].trim_ascii())
    }

    /// Returns the bytes between the separators with the blanks around them, but without a line break.
    pub fn untrimmed<'a>(&self, file: &'a [u8]) -> Cow<'a, [u8]> {
        let (bytes, ends_line) =
            (&file[self.start..self.end], matches!(file.get(self.end), None | Some(b'\n')));
        self.unquoted(if ends_line { bytes.strip_suffix(b"\r").unwrap_or(bytes) } else { bytes })
    }

    /// Returns `bytes` with one quote for every doubled one.
    fn unquoted<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut bytes = bytes.iter().peekable();
        while let Some(&byte) = bytes.next() {
            out.push(byte);
            if byte == b'"' {
                bytes.next_if(|&&next| next == b'"');
            }
        }
        Cow::Owned(out)
    }
}

/// Fields beyond this many are not kept: it bounds what a file without line breaks costs.
const MOST_FIELDS: usize = 1 << 16;

/// The most bytes of a field. A longer one has swallowed others.
pub const LONGEST_FIELD: usize = 4096;

/// A field that is none.
#[derive(Debug)]
pub struct BadField {
    /// Its column, counted from 1.
    column: usize,
    /// Its bytes where it is longer than [`LONGEST_FIELD`]; none where its quote has no end on its line, or text after its end.
    too_long: Option<usize>,
}

impl BadField {
    /// Returns the first of a line's fields that is longer than [`LONGEST_FIELD`].
    pub fn too_long<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut lengths = fields.map(|field| field.trim().len()).zip(1..);
        let (bytes, column) = lengths.find(|&(bytes, _)| bytes > LONGEST_FIELD)?;
        Some(Self { column, too_long: Some(bytes) })
    }

    /// Returns the reason to drop its line for.
    pub fn reason(&self) -> Reason {
        if self.too_long.is_some() { Reason::Long } else { Reason::Quote }
    }

    /// Says what was found, where `line` is the field's.
    pub fn found(&self, line: &[u8]) -> String {
        match self.too_long {
            Some(bytes) => format!("{bytes} bytes in column {}: {}", self.column, cite(line)),
            None => cite(line),
        }
    }

    /// Says what a reader expects in its place.
    pub fn expected(&self) -> String {
        match self.too_long {
            Some(_) => format!("at most {LONGEST_FIELD} bytes in a field"),
            None => format!(
                "in column {} a quote that ends before a separator or the end of the line",
                self.column
            ),
        }
    }
}

/// Cuts the line that starts at `at` into `fields` and returns where the next one starts.
pub fn record(
    file: &[u8],
    at: usize,
    separator: Separator,
    fields: &mut Vec<Field>,
) -> Result<usize, BadField> {
    fields.clear();
    let (mark, width, quotes) = match separator {
        Separator::Quoted(mark) => (mark, 1, true),
        Separator::Plain(mark) => (mark, 1, false),
        Separator::Colons => (b':', 2, false),
    };
    let (mut start, mut end) = (at, at);
    let add = |fields: &mut Vec<Field>, field: Field| {
        let bytes = field.end - field.start;
        if bytes > LONGEST_FIELD {
            return Err(BadField { column: fields.len() + 1, too_long: Some(bytes) });
        }
        if fields.len() < MOST_FIELDS {
            fields.push(field);
        }
        Ok(())
    };
    loop {
        let byte = file.get(end).copied();
        match byte {
            None | Some(b'\n') => {
                add(fields, Field { start, end, escaped: false })?;
                return Ok(file.len().min(end + 1));
            }
            Some(byte) if byte == mark && (width == 1 || file.get(end + 1) == Some(&mark)) => {
                add(fields, Field { start, end, escaped: false })?;
                end += width;
                start = end;
            }
            Some(b'"') if quotes && end == start => {
                let bad = BadField { column: fields.len() + 1, too_long: None };
                let Some((field, after)) = quoted(file, end) else { return Err(bad) };
                add(fields, field)?;
                match file.get(after) {
                    None | Some(b'\n') => return Ok(file.len().min(after + 1)),
                    Some(b'\r') if matches!(file.get(after + 1), None | Some(b'\n')) => {
                        return Ok(file.len().min(after + 2));
                    }
                    Some(&byte) if byte == mark => end = after + 1,
                    Some(_) => return Err(bad),
                }
                start = end;
            }
            Some(_) => end += 1,
        }
    }
}

/// Returns the line that starts at `at`, without its break.
pub fn line_at(file: &[u8], at: usize) -> &[u8] {
    let line = &file[at..];
    line.iter().position(|&byte| byte == b'\n').map_or(line, |end| &line[..end])
}

/// Returns the number of the line, counted from 1, that starts at `at`.
pub fn line_number(file: &[u8], at: usize) -> u64 {
    1 + file[..at].iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Returns the quoted field that opens at `at`, and where the text after its closing quote starts; none where the line ends
/// before it.
fn quoted(file: &[u8], at: usize) -> Option<(Field, usize)> {
    let start = at + 1;
    let (mut end, mut escaped) = (start, false);
    loop {
        end += file[end..].iter().position(|&byte| byte == b'"' || byte == b'\n')?;
        if file[end] == b'\n' {
            return None;
        }
        if file.get(end + 1) != Some(&b'"') {
            return Some((Field { start, end, escaped }, end + 1));
        }
        escaped = true;
        end += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str, separator: Separator) -> Vec<Vec<String>> {
        let (file, mut fields, mut at, mut out) = (text.as_bytes(), Vec::new(), 0, Vec::new());
        while at < file.len() {
            match record(file, at, separator, &mut fields) {
                Ok(next) => {
                    let texts =
                        fields.iter().map(|field| String::from_utf8_lossy(&field.bytes(file)).into_owned());
                    out.push(texts.collect());
                    at = next;
                }
                Err(BadField { column, too_long }) => {
                    let what = too_long.map_or("bad quote".to_owned(), |bytes| format!("{bytes} bytes"));
                    out.push(vec![format!("{what} in {column}")]);
                    at +=
                        file[at..].iter().position(|&byte| byte == b'\n').map_or(file.len() - at, |n| n + 1);
                }
            }
        }
        out
    }

    #[test]
    fn quotes_hold_separators_and_quotes() {
        let text = "1,\"a, \"\"b\"\" c\",\r\n\"x\", 5\" ,\n\"\"\r\nlast";
        let expected: [&[&str]; 4] = [&["1", "a, \"b\" c", ""], &["x", "5\"", ""], &[""], &["last"]];
        assert_eq!(records(text, Separator::Quoted(b',')), expected);
    }

    #[test]
    fn a_quote_without_end_costs_one_line() {
        let text = "1,\"a\"b,2\n\"3,4\n5,6\n7,\"8\n9\",1";
        let expected: [&[&str]; 5] =
            [&["bad quote in 2"], &["bad quote in 1"], &["5", "6"], &["bad quote in 2"], &["9\"", "1"]];
        assert_eq!(records(text, Separator::Quoted(b',')), expected);
        assert_eq!(records("\"3\t4", Separator::Plain(b'\t')), [["\"3", "4"]]);
    }

    #[test]
    fn a_field_over_the_bound_costs_one_line() {
        let (longest, longer) = ("x".repeat(4096), "y".repeat(4097));
        let text = format!("1,{longest}\n{longer},1\n2,\"{longer}\",\n\"{longest}\",3\n4,{longer}");
        let expected: [&[&str]; 5] = [
            &["1", &longest],
            &["4097 bytes in 1"],
            &["4097 bytes in 2"],
            &[&longest, "3"],
            &["4097 bytes in 2"],
        ];
        assert_eq!(records(&text, Separator::Quoted(b',')), expected);
    }

    #[test]
    fn two_colons_separate_and_one_does_not() {
        assert_eq!(records("1::a: b:::c::\n", Separator::Colons), [["1", "a: b", ":c", ""]]);
    }
}
