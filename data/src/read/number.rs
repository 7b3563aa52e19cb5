//! Reads numbers and times out of the bytes of a field, fast for what ratings files hold and exact for the rest.

use crate::calendar::days_of;

/// Parses an integer with an optional minus sign and any leading zeros.
pub fn integer(field: &[u8]) -> Option<i64> {
    let (negative, digits) = match field.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, field),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // 18 digits cannot overflow; longer ones are rare enough for the checked way.
    if digits.len() > 18 {
        return std::str::from_utf8(field).ok()?.parse().ok();
    }
    let number = digits.iter().fold(0i64, |number, digit| number * 10 + i64::from(digit - b'0'));
    Some(if negative { -number } else { number })
}

/// Parses a decimal number as the nearest `f32`, NaN and infinities included.
pub fn float(field: &[u8]) -> Option<f32> {
    const TEN: [f32; 8] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
    if field.len() <= 8 {
        let (mut mantissa, mut decimals, mut point, mut digits) = (0u32, 0, false, 0);
        for &byte in field {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa * 10 + u32::from(byte - b'0');
                    decimals += usize::from(point);
                    digits += 1;
                }
                b'.' if !point => point = true,
                _ => return slow(field),
            }
        }
        // Both numbers are exact in f32, so that the one division rounds to the nearest.
        if digits > 0 && mantissa < 1 << 24 {
            return Some(mantissa as f32 / TEN[decimals]);
        }
    }
    slow(field)
}

fn slow(field: &[u8]) -> Option<f32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The latest time that is believed, 2100-01-01, in Unix seconds. What is later is in a finer unit.
pub const LATEST: i64 = 4_102_444_800;

/// Parses Unix seconds: an integer, a decimal number (truncated), or an ISO date with or without a time of day and a zone,
/// without one taken as UTC. Where a number of seconds would be after [`LATEST`], it is taken as milliseconds, microseconds
/// or nanoseconds, the first that is not.
pub fn seconds(field: &[u8]) -> Option<i64> {
    if let Some(time) = integer(field) {
        return believed(time);
    }
    let text = std::str::from_utf8(field).ok()?;
    match text.parse() {
        Ok(time) => whole_seconds(time),
        Err(_) => iso(text),
    }
}

/// Returns Unix seconds from a decimal number, truncated, in the unit that [`believed`] takes.
pub fn whole_seconds(time: f64) -> Option<i64> {
    if time.abs() < 9e18 { believed(time as i64) } else { None }
}

/// Returns a time in Unix seconds from one in the coarsest unit in which it is not after [`LATEST`].
pub fn believed(time: i64) -> Option<i64> {
    [1, 1_000, 1_000_000, 1_000_000_000]
        .into_iter()
        .map(|unit| time.div_euclid(unit))
        .find(|&time| time <= LATEST)
}

/// Parses `2001-02-03`, `2001-02-03 04:05`, `2001-02-03T04:05:06.7Z`, `2001-02-03 04:05:06+01:00`.
fn iso(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| integer(text.get(from..to)?.as_bytes()).filter(|&n| n >= 0);
    let mark = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte));
    if !mark(4, b"-") || !mark(7, b"-") {
        return None;
    }
    let midnight = days_of(text.get(..10)?)? * 86_400;
    if text.len() == 10 {
        return Some(midnight);
    }
    if !mark(10, b" T") || !mark(13, b":") {
        return None;
    }
    let (hour, minute) = (number(11, 13)?, number(14, 16)?);
    let (second, rest) =
        if mark(16, b":") { (number(17, 19)?, text.get(19..)?) } else { (0, text.get(16..)?) };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let east = seconds_east(zone.trim_start_matches(' '))?;
    (hour < 24 && minute < 60 && second < 61).then_some(midnight + hour * 3600 + minute * 60 + second - east)
}

/// Parses a zone: nothing, `Z`, `UTC`, `+01:00`, `+0100` or `+01`.
fn seconds_east(zone: &str) -> Option<i64> {
    if ["", "Z", "UTC"].contains(&zone) {
        return Some(0);
    }
    let sign = match zone.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = zone[1..].chars().filter(|&c| c != ':').collect();
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let (hours, minutes) = match digits.len() {
        2 if all_digits => (digits.as_str(), "0"),
        4 if all_digits => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_those_of_the_standard_library() {
        for text in
            ["5", "3.5", "0.1", ".5", "5.", "16777215", "16777217", "1.234567", "-2.5", "1e3", "0.0000001"]
        {
            assert_eq!(float(text.as_bytes()), Some(text.parse().unwrap()), "{text}");
        }
        for text in ["", ".", "-", "1,5", "five", "1.2.3"] {
            assert_eq!(float(text.as_bytes()), None, "{text:?}");
        }
        assert!(float(b"NaN").unwrap().is_nan());
        assert_eq!(float(b"1e39"), Some(f32::INFINITY));
    }

    #[test]
    fn times_are_seconds_or_dates() {
        assert_eq!(seconds(b"978300760"), Some(978_300_760));
        assert_eq!(seconds(b"978300760.9"), Some(978_300_760));
        assert_eq!(seconds(b"2000-12-31"), Some(978_220_800));
        assert_eq!(seconds(b"2000-12-31 22:12:40"), Some(978_300_760));
        assert_eq!(seconds(b"2000-12-31T22:12:40.25Z"), Some(978_300_760));
        // As pandas writes them.
        assert_eq!(seconds(b"2000-12-31 22:12"), Some(978_300_720));
        for text in
            ["2000-12-31 23:12:40+01:00", "2000-12-31 22:12:40.250000+00:00", "2000-12-31T17:12:40-0500"]
        {
            assert_eq!(seconds(text.as_bytes()), Some(978_300_760), "{text}");
        }
        assert_eq!(seconds(b"2000-12-31 22:12:40 UTC"), Some(978_300_760));
        // Milliseconds, microseconds and nanoseconds.
        for text in ["978300760123", "978300760123456", "978300760123456789", "978300760123.5"] {
            assert_eq!(seconds(text.as_bytes()), Some(978_300_760), "{text}");
        }
        assert_eq!(seconds(b"4102444800"), Some(LATEST));
        assert_eq!(seconds(b"-86400"), Some(-86_400));
        for text in [
            "",
            "NaN",
            "inf",
            "2000-13-01",
            "2001-02-31",
            "2000-12-31 25:00:00",
            "31/12/2000",
            "2000-12-31x",
            "2000-12-31 22",
            "2000-12-31 22:12:40+25:00",
            "2000-12-31 22:12:40+1",
        ] {
            assert_eq!(seconds(text.as_bytes()), None, "{text:?}");
        }
    }
}
