//! Draws one value a row, with its interval: memory, speed, differences.

use super::frame::WIDTH;
use super::scale::Scale;
use super::svg::{Anchor, FONT, Svg, shorten, width};
use super::{Axis, Dot};

/// The height of a row.
const ROW: f64 = 28.0;

/// Draws rows: names to the left, values as text to the right.
pub fn draw(x: &Axis, rows: &[Dot]) -> Svg {
    let scale = Scale::of(x, rows.iter().flat_map(|row| row.value.ends()), 5);
    let widest = |text: fn(&Dot) -> &str| rows.iter().map(|row| width(text(row))).fold(0.0, f64::max);
    let most = 0.4 * WIDTH;
    let (left, right) = (widest(|row| &row.name).min(most) + 16.0, WIDTH - widest(|row| &row.text) - 22.0);
    let scale = scale.spread_over(right - left);
    let bottom = 8.0 + rows.len() as f64 * ROW;
    let mut svg = Svg::new(WIDTH, bottom + 3.5 * FONT);
    let at = |value: f64| left + scale.at(value) * (right - left);
    for (value, text) in &scale.ticks {
        let class = if *value == 0.0 && !x.log { "zero" } else { "grid" };
        svg.line(class, [at(*value), 4.0], [at(*value), bottom]);
        svg.text("", Anchor::Middle, [at(*value), bottom + 1.4 * FONT], text);
    }
    svg.text("", Anchor::Middle, [(left + right) / 2.0, bottom + 2.9 * FONT], &x.title);
    for (place, row) in rows.iter().enumerate() {
        let y = 8.0 + (place as f64 + 0.5) * ROW;
        svg.text("", Anchor::End, [left - 12.0, y + 0.35 * FONT], &shorten(&row.name, most));
        if let (Some(low), Some(high)) = (row.value.low, row.value.high) {
            svg.bar(row.style, [at(low), y], [at(high), y]);
        }
        let told = format!("{}: {}", row.name, row.text);
        svg.mark(row.style, [at(row.value.value), y], 6.0, &told);
        svg.text("", Anchor::End, [WIDTH - 6.0, y + 0.35 * FONT], &row.text);
    }
    svg
}
