//! Tables: cells are made once, and HTML, Markdown and JSON show the same ones.

use serde::Serialize;

use crate::chart::Value;
use crate::number::{self, NONE};
use crate::stats::Estimate;

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// What must be known to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The names of the columns, with units.
    pub columns: Vec<String>,
    /// The rows; the first cell names the row.
    pub rows: Vec<Vec<Cell>>,
    /// Shown only when asked for.
    pub folded: bool,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Nothing is known.
    None,
    /// Words.
    Text(String),
    /// A number, as it is and as it is read.
    Number {
        /// As it is.
        value: f64,
        /// Lower end of its 95 % interval.
        #[serde(skip_serializing_if = "Option::is_none")]
        low: Option<f64>,
        /// Upper end of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        high: Option<f64>,
        /// As it is read.
        text: String,
    },
}

impl Table {
    /// An empty one.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            note: None,
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
            folded: false,
        }
    }

    /// With a note.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Whether a column holds no words.
    pub fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column));
        !cells.any(|cell| matches!(cell, Cell::Text(_)))
    }

    /// Leaves out columns of which nothing is known.
    pub fn without_empty_columns(mut self) -> Self {
        let known: Vec<bool> = (0..self.columns.len())
            .map(|column| self.rows.iter().any(|row| row.get(column).is_some_and(|cell| *cell != Cell::None)))
            .collect();
        let mut known_column = known.iter();
        self.columns.retain(|_| known_column.next() == Some(&true));
        for row in &mut self.rows {
            let mut known_cell = known.iter();
            row.retain(|_| known_cell.next() == Some(&true));
        }
        self
    }
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number written by `write`; nothing where it is not finite.
    pub fn number(value: f64, write: fn(f64) -> String) -> Self {
        match value.is_finite() {
            true => Self::Number { value, low: None, high: None, text: write(value) },
            false => Self::None,
        }
    }

    /// A number, if there is one.
    pub fn maybe(value: Option<f64>, write: fn(f64) -> String) -> Self {
        value.map_or(Self::None, |value| Self::number(value, write))
    }

    /// A whole number.
    pub fn count(value: u64) -> Self {
        Self::number(value as f64, |value| number::grouped(value, 0))
    }

    /// A metric with its interval.
    pub fn score(value: Value) -> Self {
        let Value { value, low, high } = value;
        if !value.is_finite() {
            return Self::None;
        }
        let interval = low.zip(high).filter(|(low, high)| low.is_finite() && high.is_finite());
        let text = interval.map_or(String::new(), |(low, high)| format!(" {}", number::interval(low, high)));
        Self::Number {
            value,
            low: interval.map(|ends| ends.0),
            high: interval.map(|ends| ends.1),
            text: number::score(value) + &text,
        }
    }

    /// What is read.
    pub fn shown(&self) -> &str {
        match self {
            Self::None => NONE,
            Self::Text(text) | Self::Number { text, .. } => text,
        }
    }
}

impl From<&Estimate> for Value {
    fn from(estimate: &Estimate) -> Self {
        let interval = estimate.interval;
        Self { value: estimate.value, low: interval.map(|i| i.low), high: interval.map(|i| i.high) }
    }
}
