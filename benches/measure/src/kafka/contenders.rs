//! The programs that are measured, which a TOML file lists with their command lines.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use serde::Deserialize;

/// What a program promises of its replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Each request is answered, some perhaps more than once.
    #[default]
    AtLeastOnce,
    /// Each request is answered once, for readers of committed messages only.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AtLeastOnce => "at least once",
            Self::ExactlyOnce => "exactly once",
        })
    }
}

/// A program that answers requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contender {
    /// Its name in tables.
    pub name: String,
    /// What it promises.
    #[serde(default)]
    pub guarantee: Guarantee,
    /// The command line: words separated by blanks, with `{placeholders}`.
    pub command: String,
    /// Whether its replies hold scores, which are then checked.
    #[serde(default)]
    pub scores: bool,
    /// The least ratio of its rate to that of each of these, under the same guarantee.
    #[serde(default)]
    pub at_least: BTreeMap<String, f64>,
    /// The least number of replies a second.
    #[serde(default)]
    pub at_least_per_second: Option<f64>,
    /// The largest ratio of its 99th percentile of latency to that of each of these.
    #[serde(default)]
    pub at_most: BTreeMap<String, f64>,
    /// How to install it, for the message where it cannot be started.
    #[serde(default)]
    pub hint: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    contender: Vec<Contender>,
}

/// Parses the contenders of a TOML text, in its order.
///
/// # Errors
/// When the text is not a list of contenders.
pub fn parse(text: &str) -> io::Result<Vec<Contender>> {
    let file: File = toml::from_str(text).map_err(io::Error::other)?;
    Ok(file.contender)
}

/// Reads the contenders of a TOML file.
///
/// # Errors
/// When it cannot be read or is not a list of contenders.
pub fn read(path: &Path) -> io::Result<Vec<Contender>> {
    let named = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
    std::fs::read_to_string(path).and_then(|text| parse(&text)).map_err(named)
}

impl Contender {
    /// Returns its command line, each `{name}` replaced by its value.
    ///
    /// # Errors
    /// When a name has no value.
    pub fn command(&self, values: &BTreeMap<&str, String>) -> io::Result<Vec<String>> {
        self.command.split_whitespace().map(|word| fill(word, values)).collect()
    }
}

fn fill(word: &str, values: &BTreeMap<&str, String>) -> io::Result<String> {
    let mut filled = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('{') {
        let value = after.split_once('}').and_then(|(name, after)| Some((values.get(name)?, after)));
        let (value, after) = value.ok_or_else(|| {
            let known: Vec<_> = values.keys().map(|name| format!("{{{name}}}")).collect();
            io::Error::other(format!("{word:?} names no value; there are {}", known.join(", ")))
        })?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_word_by_word() {
        let text = "[[contender]]\nname = 'x'\nguarantee = 'exactly-once'\ncommand = 'run --in={input},{input} {dir}/a'\n";
        let contender = parse(text).expect("a contender").remove(0);
        assert_eq!(contender.guarantee, Guarantee::ExactlyOnce);
        let mut values = BTreeMap::from([("input", "t".to_owned()), ("dir", "/a b".to_owned())]);
        assert_eq!(contender.command(&values).expect("filled"), ["run", "--in=t,t", "/a b/a"]);
        values.remove("dir");
        let error = contender.command(&values).expect_err("no value").to_string();
        assert!(error.contains("{dir}/a") && error.contains("there are {input}"), "{error}");
    }
}
