//! Spans of time as a config writes them: `90s`, `5m`, `1h`, `7d`.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The units, the longest first, in seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// A span of whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = |c: char| UNITS.iter().find(|(unit, _)| *unit == c).map(|(_, seconds)| *seconds);
        let seconds = text.chars().last().and_then(unit).and_then(|seconds| {
            let number = &text[..text.len() - 1];
            number.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
            number.parse::<u64>().ok()?.checked_mul(seconds).filter(|seconds| *seconds < 1 << 40)
        });
        let expected = || format!("found {text:?}, expected a number with a unit, such as 90s, 5m, 1h or 7d");
        seconds.map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(expected)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(Span(span): Span) -> Self {
        let seconds = span.as_secs();
        let (unit, of_unit) =
            UNITS.into_iter().find(|(_, of_unit)| seconds % of_unit == 0).unwrap_or(('s', 1));
        format!("{}{unit}", seconds / of_unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_a_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h", 3600), ("7d", 604_800)] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0.as_secs(), String::from(span)), (seconds, text.to_owned()));
        }
        for bad in ["", "7", "d", "-1d", "1.5h", "7 d", "99999999999999999999d", "3w", "7é"] {
            assert!(bad.parse::<Span>().unwrap_err().contains("such as 90s"), "{bad}");
        }
    }
}
