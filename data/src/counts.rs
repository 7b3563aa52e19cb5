//! The size of a dataset in a few numbers.

use serde::{Deserialize, Serialize};

use crate::Dataset;
use crate::calendar::date;

/// The size of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Rating rows.
    pub rows: u64,
    /// Users in the vocabulary.
    pub users: u64,
    /// Items in the vocabulary.
    pub items: u64,
    /// The earliest time in Unix seconds; none where the rows have no times.
    pub first_time: Option<i64>,
    /// The latest time.
    pub last_time: Option<i64>,
}

impl Counts {
    /// Counts a dataset.
    pub fn of(dataset: &Dataset) -> Self {
        let times = &dataset.interactions.times;
        let timed = times.iter().any(|&time| time != 0);
        Self {
            rows: dataset.interactions.len() as u64,
            users: dataset.users.len() as u64,
            items: dataset.items.len() as u64,
            first_time: times.iter().min().copied().filter(|_| timed),
            last_time: times.iter().max().copied().filter(|_| timed),
        }
    }

    /// Returns the share of all user-item pairs that have a row; 0 without pairs.
    pub fn density(&self) -> f64 {
        self.rows as f64 / (self.users as f64 * self.items as f64).max(1.0)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { rows, users, items, .. } = self;
        writeln!(f, "rows    {rows}\nusers   {users}\nitems   {items}")?;
        writeln!(f, "density {:.4} %", 100.0 * self.density())?;
        match (self.first_time, self.last_time) {
            (Some(first), Some(last)) => writeln!(f, "dates   {} to {}", date(first), date(last)),
            _ => writeln!(f, "dates   none"),
        }
    }
}
