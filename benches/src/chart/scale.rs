//! Maps values to places on an axis, and chooses the round numbers of its tick marks.

use super::Axis;
use super::svg::width;
use crate::number::grouped;

/// A range of values that ends at round numbers.
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
    /// The tick marks: values and their text.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// Makes a scale that holds all values that the axis can show, with about `n_ticks` tick marks.
    pub fn of(axis: &Axis, values: impl IntoIterator<Item = f64>, n_ticks: usize) -> Self {
        let mut values: Vec<f64> =
            values.into_iter().filter(|value| value.is_finite() && (!axis.log || *value > 0.0)).collect();
        if axis.zero && !axis.log {
            values.push(0.0);
        }
        values.sort_by(f64::total_cmp);
        let (low, high) = match (values.first(), values.last()) {
            (Some(&low), Some(&high)) => (low, high),
            _ => (if axis.log { 1.0 } else { 0.0 }, 1.0),
        };
        if axis.log { Self::log(low, high, n_ticks) } else { Self::linear(low, high, n_ticks, axis.whole) }
    }

    /// Removes the texts of tick marks that would overlap on an axis of this length.
    pub fn spread_over(mut self, length: f64) -> Self {
        let mut end = f64::NEG_INFINITY;
        for place in 0..self.ticks.len() {
            let (value, text) = &self.ticks[place];
            let (middle, half) = (self.at(*value) * length, width(text) / 2.0);
            if middle - half < end + 8.0 {
                self.ticks[place].1.clear();
            } else {
                end = middle + half;
            }
        }
        self
    }

    /// Returns the place of a value, from 0 at the low end to 1 at the high end; values beyond are moved to the ends.
    pub fn at(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }

    fn linear(low: f64, high: f64, n_ticks: usize, whole: bool) -> Self {
        let span = if high > low { high - low } else { (low.abs() * 0.1).max(1e-3) };
        let (low, high) = if high > low { (low, high) } else { (low - span / 2.0, high + span / 2.0) };
        let rough = span / n_ticks as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|by| by * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let step = if whole { step.max(1.0).ceil() } else { step };
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let mut decimals = 0;
        while decimals < 9
            && (step * 10f64.powi(decimals) - (step * 10f64.powi(decimals)).round()).abs() > 1e-6
        {
            decimals += 1;
        }
        let n = (last - first).max(1.0) as usize;
        let tick = |at: usize| {
            let value = (first + at as f64) * step;
            (value, written(value, decimals as usize))
        };
        Self {
            low: first * step,
            high: (first + n as f64) * step,
            log: false,
            ticks: (0..=n).map(tick).collect(),
        }
    }

    fn log(low: f64, high: f64, n_ticks: usize) -> Self {
        let decades = (high / low).log10();
        let factors: &[f64] = match decades {
            d if d < 1.7 => &[1.0, 2.0, 5.0],
            d if d < 3.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let (from, to) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let marks: Vec<f64> = (from..=to)
            .flat_map(|power| factors.iter().map(move |factor| round(factor * 10f64.powi(power))))
            .collect();
        let below = marks.iter().rposition(|mark| *mark <= low * 1.000_001).unwrap_or(0);
        let above = marks.iter().position(|mark| *mark >= high * 0.999_999).unwrap_or(marks.len() - 1);
        let (below, above) = if below < above {
            (below, above)
        } else {
            (below.saturating_sub(1), (below + 1).min(marks.len() - 1))
        };
        let marks = &marks[below..=above];
        let every = marks.len().div_ceil(n_ticks + 3).max(1);
        let tick = |value: &f64| {
            let decimals = (-value.log10().floor()).max(0.0) as usize;
            (*value, written(*value, decimals))
        };
        Self {
            low: marks[0],
            high: marks[marks.len() - 1],
            log: true,
            ticks: marks.iter().step_by(every).map(tick).collect(),
        }
    }
}

/// Writes a tick mark's value, a large number in thousands or millions.
fn written(value: f64, decimals: usize) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{} G", trimmed(value / 1e9)),
        size if size >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        size if size >= 1e5 => format!("{} k", trimmed(value / 1e3)),
        _ => grouped(value, decimals),
    }
}

fn trimmed(value: f64) -> String {
    let text = grouped(value, 2);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Rounds away the error that a power of ten and a product leave in the last digit.
fn round(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis, values: &[f64]) -> Vec<String> {
        Scale::of(axis, values.iter().copied(), 5).ticks.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn marks_are_round_numbers_around_the_values() {
        let linear = Axis::default();
        assert_eq!(texts(&linear, &[0.312, 0.447]), ["0.30", "0.35", "0.40", "0.45"]);
        assert_eq!(texts(&linear, &[-0.01, 0.03]), ["−0.01", "0.00", "0.01", "0.02", "0.03"]);
        assert_eq!(
            texts(&Axis { zero: true, ..linear.clone() }, &[3700.0]),
            ["0", "1,000", "2,000", "3,000", "4,000"]
        );
        let log = Axis { log: true, ..linear };
        assert_eq!(texts(&log, &[0.4, 9.0]), ["0.2", "0.5", "1", "2", "5", "10"]);
        assert_eq!(texts(&log, &[2e3, 3e6]), ["1,000", "10,000", "100 k", "1 M", "10 M"]);
        assert_eq!(texts(&log, &[0.03, 600.0]), ["0.01", "0.1", "1", "10", "100", "1,000"]);
    }

    #[test]
    fn epochs_are_whole_and_texts_keep_apart() {
        let axis = Axis { whole: true, ..Axis::default() };
        assert_eq!(texts(&axis, &[1.0, 3.0]), ["1", "2", "3"]);
        let scale = Scale::of(&Axis::default(), [0.0, 4000.0], 4).spread_over(100.0);
        let texts: Vec<&str> = scale.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["0", "", "2,000", "", "4,000"]);
    }

    #[test]
    fn one_value_and_none_have_a_scale() {
        for log in [false, true] {
            let axis = Axis { log, ..Axis::default() };
            for values in [&[][..], &[1.0], &[0.37], &[f64::NAN, 5.0]] {
                let scale = Scale::of(&axis, values.iter().copied(), 5);
                assert!(scale.ticks.len() >= 2 && scale.low < scale.high, "{log} {values:?}");
                assert!(values.iter().all(|value| value.is_nan() || (0.0..=1.0).contains(&scale.at(*value))));
            }
        }
    }
}
