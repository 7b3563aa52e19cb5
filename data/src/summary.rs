//! A dataset in a few numbers, and days as people write them.

use serde::{Deserialize, Serialize};

use crate::Dataset;

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
    /// Of a dataset.
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

    /// The share of the pairs of a user and an item that have a row; 0 without pairs.
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

/// The day, in UTC, of a time in Unix seconds, as `2001-12-31`.
pub fn date(time: i64) -> String {
    let (year, month, day) = civil_of(time.div_euclid(86_400));
    format!("{year:04}-{month:02}-{day:02}")
}

/// The days from 1970-01-01 to a day written as `2001-12-31`.
pub fn days_of(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    // From the civil calendar by counting: exact, and short beside a table of month lengths.
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    (civil_of(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a number of days since 1970-01-01 (Hinnant, "chrono-compatible low-level date
/// algorithms"): years start in March, so that the leap day is the last.
fn civil_of(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = (shifted + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_and_read() {
        for (text, days) in
            [("1970-01-01", 0), ("2000-02-29", 11_016), ("2000-12-31", 11_322), ("1969-12-31", -1)]
        {
            assert_eq!(days_of(text), Some(days), "{text}");
            assert_eq!(date(days * 86_400 + 86_399), text);
        }
        for text in ["2001-02-29", "2001-13-01", "2001-1", "2001-01-00", "x", "0.8", "978300760"] {
            assert_eq!(days_of(text), None, "{text}");
        }
        assert!(!date(i64::MAX).is_empty() && !date(i64::MIN).is_empty());
    }
}
