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

/// Parses Unix seconds: an integer, a decimal number (truncated), or an ISO date with or without a time of day, taken
/// as UTC.
pub fn seconds(field: &[u8]) -> Option<i64> {
    if let Some(seconds) = integer(field) {
        return Some(seconds);
    }
    let text = std::str::from_utf8(field).ok()?;
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.abs() < 9e15).then_some(seconds as i64);
    }
    iso(text)
}

/// Parses `2001-02-03`, `2001-02-03 04:05:06`, `2001-02-03T04:05:06.7Z`.
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
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?.trim_end_matches('Z');
    let fraction = rest.strip_prefix('.').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    let marked = mark(10, b" T") && mark(13, b":") && mark(16, b":") && (rest.is_empty() || fraction);
    (marked && hour < 24 && minute < 60 && second < 61)
        .then_some(midnight + hour * 3600 + minute * 60 + second)
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
        for text in
            ["", "NaN", "inf", "2000-13-01", "2001-02-31", "2000-12-31 25:00:00", "31/12/2000", "2000-12-31x"]
        {
            assert_eq!(seconds(text.as_bytes()), None, "{text:?}");
        }
    }
}
