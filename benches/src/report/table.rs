//! Tables of a report; HTML, Markdown and JSON show the same cells.

use serde::Serialize;

use crate::chart::Value;
use crate::number::{self, NONE};
use burnrec_train::stats::Estimate;

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// The title.
    pub title: String,
    /// A note for the reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The names of the columns, with units.
    pub columns: Vec<String>,
    /// The rows; the first cell names the row.
    pub rows: Vec<Vec<Cell>>,
    /// Whether the page shows it collapsed, and Markdown leaves it out.
    pub folded: bool,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// No value is known.
    None,
    /// Text.
    Text(String),
    /// A number with its text.
    Number {
        /// The value in full precision.
        value: f64,
        /// Lower end of its 95 % interval.
        #[serde(skip_serializing_if = "Option::is_none")]
        low: Option<f64>,
        /// Upper end of its 95 % interval.
        #[serde(skip_serializing_if = "Option::is_none")]
        high: Option<f64>,
        /// The value as readers see it.
        text: String,
    },
}

impl Table {
    /// Makes an empty table.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            note: None,
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
            folded: false,
        }
    }

    /// Adds a note.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Returns whether a column holds no text.
    pub fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column));
        !cells.any(|cell| matches!(cell, Cell::Text(_)))
    }

    /// Removes the columns without any value.
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
    /// Makes a cell of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Makes a cell of a number written by `write`, or an empty one where it is not finite.
    pub fn number(value: f64, write: fn(f64) -> String) -> Self {
        match value.is_finite() {
            true => Self::Number { value, low: None, high: None, text: write(value) },
            false => Self::None,
        }
    }

    /// Makes a cell of a number, or an empty one where there is none.
    pub fn maybe(value: Option<f64>, write: fn(f64) -> String) -> Self {
        value.map_or(Self::None, |value| Self::number(value, write))
    }

    /// Makes a cell of a whole number.
    pub fn count(value: u64) -> Self {
        Self::number(value as f64, |value| number::grouped(value, 0))
    }

    /// Makes a cell of a metric with its interval.
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

    /// Returns the text of the cell.
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
