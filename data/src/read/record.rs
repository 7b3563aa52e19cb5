//! Cuts one record of a delimited text file into its fields.

use std::borrow::Cow;

/// The separator between the fields of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// One byte; fields may be quoted as in RFC 4180.
    Quoted(u8),
    /// One byte; a quote is a character like any other.
    Plain(u8),
    /// Two colons, as MovieLens has them.
    Colons,
}

impl Separator {
    /// Returns the separator for a message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quoted(b',') | Self::Plain(b',') => "\",\"",
            Self::Quoted(b'|') | Self::Plain(b'|') => "\"|\"",
            Self::Quoted(_) | Self::Plain(_) => "a tab",
            Self::Colons => "\"::\"",
        }
    }
}

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

/// A quoted field longer than this is an unclosed quote; it bounds how far a search for the end goes.
const LONGEST_QUOTED: usize = 1 << 20;

/// A quote that has no end, or one with text after its end.
pub struct BadQuote;

/// Cuts the record that starts at `at` into `fields` and returns where the next one starts. A line break inside
/// quotes belongs to the field.
pub fn record(
    file: &[u8],
    at: usize,
    separator: Separator,
    fields: &mut Vec<Field>,
) -> Result<usize, BadQuote> {
    fields.clear();
    let (mark, width, quotes) = match separator {
        Separator::Quoted(mark) => (mark, 1, true),
        Separator::Plain(mark) => (mark, 1, false),
        Separator::Colons => (b':', 2, false),
    };
    let (mut start, mut end) = (at, at);
    loop {
        let byte = file.get(end).copied();
        match byte {
            None | Some(b'\n') => {
                fields.push(Field { start, end, escaped: false });
                return Ok(file.len().min(end + 1));
            }
            Some(byte) if byte == mark && (width == 1 || file.get(end + 1) == Some(&mark)) => {
                if fields.len() < MOST_FIELDS {
                    fields.push(Field { start, end, escaped: false });
                }
                end += width;
                start = end;
            }
            Some(b'"') if quotes && end == start => {
                let (field, after) = quoted(file, end).ok_or(BadQuote)?;
                if fields.len() < MOST_FIELDS {
                    fields.push(field);
                }
                match file.get(after) {
                    None | Some(b'\n') => return Ok(file.len().min(after + 1)),
                    Some(b'\r') if matches!(file.get(after + 1), None | Some(b'\n')) => {
                        return Ok(file.len().min(after + 2));
                    }
                    Some(&byte) if byte == mark => end = after + 1,
                    Some(_) => return Err(BadQuote),
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

/// Returns the quoted field that opens at `at`, and where the text after its closing quote starts.
fn quoted(file: &[u8], at: usize) -> Option<(Field, usize)> {
    let start = at + 1;
    let limit = file.len().min(start + LONGEST_QUOTED);
    let (mut end, mut escaped) = (start, false);
    loop {
        end += file[end..limit].iter().position(|&byte| byte == b'"')?;
        if file.get(end + 1) != Some(&b'"') {
            return Some((Field { start, end, escaped }, end + 1));
        }
        escaped = true;
        end += 2;
        if end > limit {
            return None;
        }
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
                Err(BadQuote) => {
                    out.push(vec!["bad quote".to_owned()]);
                    at +=
                        file[at..].iter().position(|&byte| byte == b'\n').map_or(file.len() - at, |n| n + 1);
                }
            }
        }
        out
    }

    #[test]
    fn quotes_hold_separators_quotes_and_line_breaks() {
        let text = "1,\"a, \"\"b\"\"\n c\",\r\n\"x\", 5\" ,\n\"\"\r\nlast";
        let expected: [&[&str]; 4] = [&["1", "a, \"b\"\n c", ""], &["x", "5\"", ""], &[""], &["last"]];
        assert_eq!(records(text, Separator::Quoted(b',')), expected);
    }

    #[test]
    fn a_quote_without_end_costs_one_line() {
        let text = "1,\"a\"b,2\n\"3,4\n5,6\n";
        let expected: [&[&str]; 3] = [&["bad quote"], &["bad quote"], &["5", "6"]];
        assert_eq!(records(text, Separator::Quoted(b',')), expected);
        assert_eq!(records("\"3\t4", Separator::Plain(b'\t')), [["\"3", "4"]]);
    }

    #[test]
    fn two_colons_separate_and_one_does_not() {
        assert_eq!(records("1::a: b:::c::\n", Separator::Colons), [["1", "a: b", ":c", ""]]);
    }
}
