//! Formats numbers for readers; all tables, sentences and charts of a report use these functions.

/// The text in place of a number that is missing.
pub const NONE: &str = "–";

/// Times up to this many seconds say more about the clock than about the work: they are shown as `< 0.001`, and no rate
/// or ratio is computed from them.
pub const MEASURABLE: f64 = 1e-3;

/// Writes a number with `decimals` digits after the point and commas between thousands.
pub fn grouped(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut found = String::new();
    if value < 0.0 && text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        found.push('−');
    }
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            found.push(',');
        }
        found.push(digit);
    }
    found + rest
}

/// Writes a metric: four digits after the point, and no 0 before it.
pub fn score(value: f64) -> String {
    let text = grouped(value, 4);
    match text.strip_prefix("0.") {
        Some(rest) => format!(".{rest}"),
        None => text.replace("−0.", "−."),
    }
}

/// Writes an interval of a metric.
pub fn interval(low: f64, high: f64) -> String {
    format!("[{}, {}]", score(low), score(high))
}

/// Writes a p-value, which is never 0.
pub fn p(value: f64) -> String {
    let decimals = match value {
        value if value >= 0.995 => return "1".to_owned(),
        value if value >= 0.1 => 2,
        value if value >= 0.01 => 3,
        value if value >= 0.000_05 => 4,
        _ => return "< .0001".to_owned(),
    };
    grouped(value, decimals).replace("0.", ".")
}

/// Writes `p = .012`, or `p < .0001`.
pub fn p_is(value: f64) -> String {
    let text = p(value);
    if text.starts_with('<') { format!("p {text}") } else { format!("p = {text}") }
}

/// Writes three significant digits, or all digits of a larger whole number; below a thousandth, `< 0.001`.
pub fn amount(value: f64) -> String {
    let size = value.abs();
    if size > 0.0 && size < 0.000_5 {
        return "< 0.001".to_owned();
    }
    let decimals = match size {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    grouped(value, decimals)
}

/// Writes a time in seconds.
pub fn seconds(value: f64) -> String {
    if value <= MEASURABLE { "< 0.001".to_owned() } else { amount(value) }
}

/// Writes a rate: three significant digits, followed by zeros where it is large.
pub fn rate(value: f64) -> String {
    if !value.is_finite() || value.abs() < 1000.0 {
        return amount(value);
    }
    let unit = 10f64.powf(value.abs().log10().floor() - 2.0);
    grouped((value / unit).round() * unit, 0)
}

/// Writes a ratio: two significant digits.
pub fn times(value: f64) -> String {
    match value {
        value if value >= 999.5 => rate(value),
        value if value >= 9.95 => grouped(value, 0),
        value if value >= 0.95 => grouped(value, 1),
        value if value >= 0.01 => grouped(value, 2),
        value => amount(value),
    }
}

/// Writes an amount of memory.
pub fn bytes(value: f64) -> String {
    const KIB: f64 = 1024.0;
    match value {
        value if value >= KIB * KIB * KIB => format!("{} GiB", amount(value / (KIB * KIB * KIB))),
        value => format!("{} MiB", amount(value / (KIB * KIB))),
    }
}

/// Writes a whole number.
pub fn count(value: u64) -> String {
    grouped(value as f64, 0)
}

/// Writes `1 seed`, `2 seeds`.
pub fn counted(value: u64, one: &str) -> String {
    format!("{} {one}{}", count(value), if value == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_they_are_read() {
        assert_eq!(
            [score(0.45349), score(-0.0012), score(1.02), score(-0.00001)],
            [".4535", "−.0012", "1.0200", ".0000"]
        );
        assert_eq!(
            [p(0.00123), p(0.0001), p(0.000_01), p(0.034), p(0.456), p(1.0)],
            [".0012", ".0001", "< .0001", ".034", ".46", "1"]
        );
        assert_eq!(p_is(0.000_01), "p < .0001");
        assert_eq!(
            [amount(1234.5), amount(0.1234), amount(61.96), amount(0.0)],
            ["1,234", "0.123", "62.0", "0"]
        );
        assert_eq!([amount(0.000_51), amount(0.000_4), times(0.000_000_1)], ["0.001", "< 0.001", "< 0.001"]);
        assert_eq!([seconds(4e-7), seconds(0.0), seconds(MEASURABLE)], ["< 0.001"; 3]);
        assert_eq!([seconds(0.0011), seconds(81.0), seconds(f64::NAN)], ["0.001", "81.0", NONE]);
        assert_eq!([rate(1_234_567.0), rate(999.9), rate(12.0)], ["1,230,000", "1,000", "12.0"]);
        assert_eq!(
            [times(61.7), times(1.44), times(0.354), times(12_345.0)],
            ["62", "1.4", "0.35", "12,300"]
        );
        assert_eq!([bytes(512.0 * 1024.0 * 1024.0), bytes(1.5 * 1024f64.powi(3))], ["512 MiB", "1.50 GiB"]);
        assert_eq!([counted(1, "seed"), counted(1200, "row")], ["1 seed", "1,200 rows"]);
        assert_eq!(amount(f64::NAN), NONE);
    }
}
