//! Formats output for people: tables, metrics, and commands to paste into a shell.

use std::io::{Result, Write};

use burnrec::train::device::AutoDevice;
use burnrec::{Metric, Recommender, ScoredItem, Scores};
use serde_json::{Value, json};

use crate::start;

/// Writes a line to stdout. Unlike `println!`, it returns an error where the pipe is closed, and does not panic.
pub fn say(line: impl std::fmt::Display) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// Returns the line that says which device computes, and why where `auto` took it.
pub fn device(name: &str, auto: Option<&AutoDevice>) -> String {
    match auto {
        Some(auto) => format!("device: {name}, {}", auto.reason),
        None => format!("device: {name}"),
    }
}

/// Writes a table with a header, each column as wide as its widest cell: text aligned left, numbers right.
pub fn table(out: &mut impl Write, head: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let left = rows.iter().any(|row| row[column].starts_with(char::is_alphabetic));
            let cell = if left { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Returns a row for each item: its rank, id, score and title.
pub fn items(items: &[ScoredItem]) -> Vec<Vec<String>> {
    let row = |(at, item): (usize, &ScoredItem)| {
        let title = item.title.clone().unwrap_or_default();
        vec![(at + 1).to_string(), item.id.clone(), format!("{:.4}", item.score), title]
    };
    items.iter().enumerate().map(row).collect()
}

/// Returns an object for each item: its id, which is a number where ids are integers, its title, and its score under
/// the key `score`.
pub fn json_items(
    recommender: &Recommender,
    items: &[ScoredItem],
    score: &str,
) -> burnrec::Result<Vec<Value>> {
    let object = |item: &ScoredItem| {
        let title = item.title.clone().unwrap_or_default();
        Ok(json!({ "item": json_id(recommender, &item.id)?, "title": title, score: item.score }))
    };
    items.iter().map(object).collect()
}

/// Returns an item's id as JSON: a number where it is an integer.
pub fn json_id(recommender: &Recommender, id: &str) -> burnrec::Result<Value> {
    Ok(json!(recommender.items.vocab().id(recommender.item(id)?.0)))
}

/// Returns a metric with its interval, for example `0.7130 [0.7020, 0.7240]`; `-` where it was not computed.
pub fn interval(scores: &Scores, metric: Metric) -> String {
    scores.metrics.get(&metric).map_or_else(|| "-".to_owned(), |score| score.to_string())
}

/// Returns the command line of this program, quoted for a shell, without the words of `without`.
pub fn command_line(without: &[&str]) -> String {
    let words = start::get().words.iter().map(|word| word.to_string_lossy().into_owned());
    let words = words.filter(|word| !without.contains(&word.as_str()));
    words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

/// Quotes a word for a POSIX shell, if it needs quotes.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_takes_words_back_as_they_were() {
        for word in ["runs/als", "dim=16", "", "two words", "it's", "$HOME", "a\"b", "*", "é/ü"] {
            let line = format!("printf %s {}", quoted(word));
            let out = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&out.stdout), word, "{line}");
        }
        assert_eq!(quoted("--data=prepared/ml-1m"), "--data=prepared/ml-1m");
    }
}
