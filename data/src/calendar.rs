//! Converts Unix seconds to a day such as `2001-12-31` and back.

/// Returns the day, in UTC, of a time in Unix seconds, as `2001-12-31`.
pub fn date(time: i64) -> String {
    let (year, month, day) = civil_of(time.div_euclid(86_400));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Returns a time in Unix seconds as a moment in UTC, such as `2001-12-31T23:59:08Z` (RFC 3339).
pub fn date_time(time: i64) -> String {
    let second = time.rem_euclid(86_400);
    format!("{}T{:02}:{:02}:{:02}Z", date(time), second / 3600, second / 60 % 60, second % 60)
}

/// Returns the number of days from 1970-01-01 to a day written as `2001-12-31`; none where there is no such day.
pub fn days_of(text: &str) -> Option<i64> {
    let mut numbers = text.splitn(3, '-').map(|number| number.parse::<u32>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    // This inverts `civil_of`. The last line refuses a day that does not exist, such as February 30.
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

/// Returns year, month and day of a number of days since 1970-01-01 (Hinnant, "chrono-compatible low-level date
/// algorithms"). Years start in March there, so that the leap day comes last.
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
        assert_eq!(date_time(11_322 * 86_400 + 86_348), "2000-12-31T23:59:08Z");
        for text in ["2001-02-29", "2001-13-01", "2001-1", "2001-01-00", "x", "0.8", "978300760"] {
            assert_eq!(days_of(text), None, "{text}");
        }
        assert!(!date(i64::MAX).is_empty() && !date(i64::MIN).is_empty());
    }
}
