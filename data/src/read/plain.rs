//! A fast parser for plain rows, as nearly all are: canonical whole numbers as ids and time, a short decimal number as
//! rating, no quotes, no blanks. Any other row is left to the general parser, which takes it or finds what is wrong
//! with it; the two agree on every row that this one takes.

use super::layout::Layout;
use super::number::LATEST;
use super::record::LONGEST_FIELD;
use super::separator::Separator;

/// A row of integer ids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlainRow {
    /// The user's id.
    pub user: i64,
    /// The item's id.
    pub item: i64,
    /// The value, 1 where there is none.
    pub value: f32,
    /// The time, 0 where there is none.
    pub time: i64,
}

/// Parses plain rows of one layout.
pub struct PlainParser {
    fields: Vec<Use>,
    separator: &'static [u8],
    /// A field that starts with this byte is not plain.
    quote: u8,
}

/// What a field of a row holds.
#[derive(Clone, Copy)]
enum Use {
    User,
    Item,
    Value,
    Time,
    Nothing,
}

impl PlainParser {
    /// Builds the parser of a layout; none where two columns share a field.
    pub fn new(layout: &Layout) -> Option<Self> {
        let mut fields = vec![Use::Nothing; layout.n_fields];
        let uses = [
            (Some(layout.user), Use::User),
            (Some(layout.item), Use::Item),
            (layout.value, Use::Value),
            (layout.time, Use::Time),
        ];
        for (at, field) in uses {
            let Some(at) = at else { continue };
            if !matches!(fields.get(at)?, Use::Nothing) {
                return None;
            }
            fields[at] = field;
        }
        let (mark, quote) = match layout.separator {
            Separator::Quoted(mark) => (mark, b'"'),
            Separator::Plain(mark) => (mark, b'\n'),
            Separator::Colons => (b':', b'\n'),
        };
        let separator: &[u8] = match mark {
            b',' => b",",
            b'\t' => b"\t",
            b';' => b";",
            b'|' => b"|",
            b' ' => b" ",
            b':' => b"::",
            _ => return None,
        };
        Some(Self { fields, separator, quote })
    }

    /// Parses the row at the start of `text`; returns it and its length in bytes with the line break.
    #[inline]
    pub fn row(&self, text: &[u8]) -> Option<(PlainRow, usize)> {
        let mut row = PlainRow { user: 0, item: 0, value: 1.0, time: 0 };
        let mut rest = text;
        for (place, field) in self.fields.iter().enumerate() {
            if place > 0 {
                rest = match self.separator {
                    &[mark] => rest.strip_prefix(&[mark])?,
                    marks => rest.strip_prefix(marks)?,
                };
            }
            match field {
                Use::User => (row.user, rest) = whole(rest)?,
                Use::Item => (row.item, rest) = whole(rest)?,
                Use::Time => {
                    (row.time, rest) = whole(rest)?;
                    if row.time > LATEST {
                        return None;
                    }
                }
                Use::Value => (row.value, rest) = decimal(rest)?,
                Use::Nothing => rest = self.skip(rest)?,
            }
        }
        let rest = match rest {
            [] => rest,
            [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => rest,
            _ => return None,
        };
        Some((row, text.len() - rest.len()))
    }

    fn skip<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        if text.first() == Some(&self.quote) {
            return None;
        }
        let end =
            |at: usize| text[at] == b'\n' || text[at] == b'\r' || text[at..].starts_with(self.separator);
        let length = (0..text.len()).find(|&at| end(at)).unwrap_or(text.len());
        (length <= LONGEST_FIELD).then(|| &text[length..])
    }
}

/// Parses the digits at the start of `text`; returns their number and how many they are.
#[inline]
fn digits(text: &[u8]) -> (i64, usize) {
    let (mut number, mut len) = (0i64, 0);
    while let Some(digit) = text.get(len).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
        len += 1;
    }
    (number, len)
}

/// Parses a whole number of at most 18 digits in the canonical form of [`crate::Id`].
#[inline]
fn whole(text: &[u8]) -> Option<(i64, &[u8])> {
    let (number, len) = digits(text);
    let canonical = len == 1 || (2..=18).contains(&len) && text[0] != b'0';
    canonical.then(|| (number, &text[len..]))
}

/// Parses a decimal number of at most 7 digits: both its digits and the power of ten are exact in `f32`.
#[inline]
fn decimal(text: &[u8]) -> Option<(f32, &[u8])> {
    const TEN: [f32; 8] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
    let (number, len) = digits(text);
    if len == 0 || len > 7 {
        return None;
    }
    if text.get(len) != Some(&b'.') {
        return Some((number as f32, &text[len..]));
    }
    let (after, decimals) = digits(&text[len + 1..]);
    if len + decimals > 7 {
        return None;
    }
    let mantissa = number * TEN[decimals] as i64 + after;
    Some((mantissa as f32 / TEN[decimals], &text[len + 1 + decimals..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_plain_rows_and_leaves_the_rest() {
        let layout = Layout {
            separator: Separator::Quoted(b','),
            n_fields: 4,
            user: 1,
            item: 0,
            value: Some(3),
            time: None,
        };
        let parser = PlainParser::new(&layout).unwrap();
        let row =
            |text: &str| parser.row(text.as_bytes()).map(|(row, len)| (row.user, row.item, row.value, len));
        assert_eq!(row("7,12,a b,3.75\r\n9"), Some((12, 7, 3.75, 15)));
        assert_eq!(row("0,12,,5"), Some((12, 0, 5.0, 7)));
        for text in [
            "",
            "7,012,,5",
            "7,12,5",
            "7,12,\"a\",5",
            "7,12,,5,",
            "7,-12,,5",
            " 7,12,,5",
            "7,12,,.5",
            "7,12,,x",
        ] {
            assert_eq!(row(text), None, "{text:?}");
        }
        assert!(PlainParser::new(&Layout { value: Some(0), ..layout }).is_none());
    }
}
