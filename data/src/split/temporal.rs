//! Splits rows by time: train before valid before test.

use super::{SplitPart, SplitSummary, TimePoint};
use crate::calendar::date;
use crate::{Error, Interactions, Result};

/// Marks each row by its time; `summary` gets the two moments.
pub(super) fn marks(
    rows: &Interactions,
    valid_from: TimePoint,
    test_from: TimePoint,
    summary: &mut SplitSummary,
) -> Result<Vec<SplitPart>> {
    let (Some(first), Some(last)) = (rows.times.iter().min(), rows.times.iter().max()) else {
        return Err(Error::setting("split", "no row", "rows with times"));
    };
    if first == last {
        let found = format!("all {} rows at one time", rows.len());
        return Err(Error::setting("split", found, "times that differ; use a random split without them"));
    }
    let (valid_from, test_from) = (moment(rows, valid_from), moment(rows, test_from));
    let found = || {
        format!(
            "valid from {} and test from {}, rows from {} to {}",
            date(valid_from),
            date(test_from),
            date(*first),
            date(*last)
        )
    };
    if !(*first < valid_from && valid_from < test_from && test_from <= *last) {
        let expected = "first row < valid_from < test_from <= last row";
        return Err(Error::setting("valid_from, test_from", found(), expected));
    }
    summary.valid_from = Some(valid_from);
    summary.test_from = Some(test_from);
    let mark = |&time: &i64| match time {
        _ if time >= test_from => SplitPart::Test,
        _ if time >= valid_from => SplitPart::Valid,
        _ => SplitPart::Train,
    };
    Ok(rows.times.iter().map(mark).collect())
}

fn moment(rows: &Interactions, point: TimePoint) -> i64 {
    match point {
        TimePoint::Time(time) => time,
        TimePoint::Quantile(share) => {
            let mut times = rows.times.clone();
            let place = ((times.len() as f64 * share) as usize).min(times.len() - 1);
            *times.select_nth_unstable(place).1
        }
    }
}
