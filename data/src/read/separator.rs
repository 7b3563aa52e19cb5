//! The separator between the fields of a line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The separator between the fields of a line, and whether fields may be quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// One byte; fields may be quoted as in RFC 4180.
    Quoted(u8),
    /// One byte; a quote is a character like any other.
    Plain(u8),
    /// Two colons, as MovieLens has them; nothing is quoted.
    Colons,
}

/// The marks between fields that are taken for separators, with their names; the first is taken where several would do.
const MARKS: [(u8, &str); 5] =
    [(b'\t', "a tab"), (b',', "\",\""), (b';', "\";\""), (b'|', "\"|\""), (b' ', "a blank")];

/// How many lines have to agree on a separator that no file name says.
const LINES: usize = 10;

impl Separator {
    /// Returns the separator for a message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Colons => "\"::\"",
            Self::Quoted(mark) | Self::Plain(mark) => {
                MARKS.iter().find(|(other, _)| *other == mark).map_or("its separator", |(_, name)| name)
            }
        }
    }

    /// Returns the separator of a text from its first lines: two colons, else the first of a tab, a comma, a semicolon, a bar
    /// and a blank that all of them have, equally often. Fields are not quoted where tabs, bars or blanks separate them.
    pub fn recognise(text: &[u8]) -> Option<Self> {
        let lines = || {
            let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
            lines.filter(|line| !line.is_empty()).take(LINES)
        };
        let first = lines().next()?;
        if first.windows(2).any(|pair| pair == b"::") {
            return Some(Self::Colons);
        }
        let count = |line: &[u8], mark| line.iter().filter(|&&byte| byte == mark).count();
        // A tab or a comma in the first line is a separator, whatever other lines hold inside quotes.
        let mark = |&(mark, _): &(u8, &str)| match mark {
            b'\t' | b',' => first.contains(&mark),
            mark => first.contains(&mark) && lines().all(|line| count(line, mark) == count(first, mark)),
        };
        MARKS.iter().find(|entry| mark(entry)).map(|&(mark, _)| Self::of(mark, None))
    }

    /// Returns the separator of a mark; without a word on quotes, commas and semicolons have them.
    fn of(mark: u8, quotes: Option<bool>) -> Self {
        let quoted = quotes.unwrap_or(matches!(mark, b',' | b';'));
        if quoted { Self::Quoted(mark) } else { Self::Plain(mark) }
    }

    /// Returns the same separator with quotes, or without.
    pub fn with_quotes(self, quotes: Option<bool>) -> Self {
        match (self, quotes) {
            (Self::Quoted(mark) | Self::Plain(mark), Some(_)) => Self::of(mark, quotes),
            (separator, _) => separator,
        }
    }
}

impl FromStr for Separator {
    type Err = Error;

    /// Reads `,`, `;`, `|`, `tab`, `blank` or `::`.
    fn from_str(text: &str) -> Result<Self> {
        let mark = match text {
            "::" => return Ok(Self::Colons),
            "tab" | "\t" | "\\t" => b'\t',
            "blank" | " " => b' ',
            "," => b',',
            ";" => b';',
            "|" => b'|',
            other => {
                return Err(Error::setting(
                    "separator",
                    format!("{other:?}"),
                    "one of \",\", \";\", \"|\", tab, blank and \"::\"",
                ));
            }
        };
        Ok(Self::of(mark, None))
    }
}

/// Whether fields may be quoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quotes {
    /// As the format has it: with commas and semicolons, and not with tabs, bars, blanks and two colons.
    #[default]
    Auto,
    /// They may.
    On,
    /// A quote is a character like any other.
    Off,
}

impl Quotes {
    /// Returns what is asked for, if anything is.
    pub(super) fn asked(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::On => Some(true),
            Self::Off => Some(false),
        }
    }
}

impl FromStr for Quotes {
    type Err = Error;

    /// Reads `auto`, `on` or `off`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            other => Err(Error::setting("quotes", format!("{other:?}"), "auto, on or off")),
        }
    }
}

impl fmt::Display for Quotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_recognised_where_it_is_safe() {
        let of = |text: &str| Separator::recognise(text.as_bytes());
        assert_eq!(of("1::2::5\n"), Some(Separator::Colons));
        assert_eq!(of("user\titem, x\n1\t2\n"), Some(Separator::Plain(b'\t')));
        assert_eq!(of("user,item\n\"a;b\",2\n"), Some(Separator::Quoted(b',')));
        assert_eq!(of("user;item;rating\r\n1;2;3,5\r\n"), Some(Separator::Quoted(b';')));
        assert_eq!(of("user|item\n1|2\n"), Some(Separator::Plain(b'|')));
        assert_eq!(of("1 2 5\n3 4 5\n\n"), Some(Separator::Plain(b' ')));
        // Lines that do not agree.
        assert_eq!(of("1 2 5\n3 4\n"), None);
        assert_eq!(of("a;b\nc;d;e\n"), None);
        assert_eq!(of("\n\n"), None);
    }

    #[test]
    fn names_of_separators_and_quotes_are_read() {
        for (text, expected) in [
            (",", Separator::Quoted(b',')),
            (";", Separator::Quoted(b';')),
            ("|", Separator::Plain(b'|')),
            ("tab", Separator::Plain(b'\t')),
            ("blank", Separator::Plain(b' ')),
            ("::", Separator::Colons),
        ] {
            assert_eq!(text.parse::<Separator>().unwrap(), expected);
        }
        let error = "x".parse::<Separator>().unwrap_err().to_string();
        assert!(error.starts_with("separator: found \"x\", expected one of"), "{error}");
        assert_eq!(Separator::Plain(b'|').with_quotes(Some(true)), Separator::Quoted(b'|'));
        assert_eq!(Separator::Quoted(b',').with_quotes(None), Separator::Quoted(b','));
        assert_eq!(Separator::Colons.with_quotes(Some(true)), Separator::Colons);
        for quotes in [Quotes::Auto, Quotes::On, Quotes::Off] {
            assert_eq!(quotes.to_string().parse::<Quotes>().unwrap(), quotes);
        }
        assert!("yes".parse::<Quotes>().is_err());
    }
}
