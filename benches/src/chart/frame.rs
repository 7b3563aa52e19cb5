//! The axes that values are drawn between, and the legend below them.

use super::scale::Scale;
use super::svg::{Anchor, FONT, Svg, width};
use super::{Axis, Style};

/// The width of a chart that stands alone.
pub const WIDTH: f64 = 540.0;
/// The width of one of several that stand side by side.
pub const SMALL: f64 = 340.0;
/// The height of a row of a legend.
const ROW: f64 = 22.0;

/// A plot with its two scales.
pub struct Frame {
    /// The picture.
    pub svg: Svg,
    /// The horizontal scale.
    pub x: Scale,
    /// The vertical scale.
    pub y: Scale,
    /// The plot area: left, top, right, bottom.
    pub inside: [f64; 4],
}

/// An entry of a legend: a name with its style.
pub type Entry<'a> = (&'a str, Style);

impl Frame {
    /// Draws the grid, tick marks and titles, and a legend if it has entries.
    pub fn new([width, height]: [f64; 2], x: (&Axis, Scale), y: (&Axis, Scale), legend: &[Entry]) -> Self {
        let ((x_axis, x), (y_axis, y)) = (x, y);
        let widest = y.ticks.iter().map(|(_, text)| self::width(text)).fold(0.0, f64::max);
        let inside = [widest + 2.2 * FONT, 10.0, width - 18.0, height - 52.0];
        let rows = legend_rows(legend, inside[0], width);
        let svg = Svg::new(width, height + rows.len() as f64 * ROW);
        let mut frame = Self { svg, x, y, inside };
        let [left, top, right, bottom] = inside;
        for (value, text) in std::mem::take(&mut frame.y.ticks) {
            let at = frame.up(value);
            frame.svg.line("grid", [left, at], [right, at]);
            frame.svg.text("", Anchor::End, [left - 6.0, at + 0.35 * FONT], &text);
        }
        for (value, text) in &frame.x.ticks {
            let at = left + frame.x.at(*value) * (right - left);
            frame.svg.line("grid", [at, top], [at, bottom]);
            let half = self::width(text) / 2.0;
            frame.svg.text("", Anchor::Middle, [at.min(width - half - 2.0), bottom + 1.4 * FONT], text);
        }
        frame.svg.text("", Anchor::Middle, [(left + right) / 2.0, bottom + 2.9 * FONT], &x_axis.title);
        frame.svg.upwards([FONT, (top + bottom) / 2.0], &y_axis.title);
        for (row, entries) in rows.iter().enumerate() {
            let y = height + (row as f64 + 0.6) * ROW;
            for (x, (name, style)) in entries {
                frame.svg.mark(*style, [x + 8.0, y - 0.35 * FONT], 5.0, "");
                frame.svg.text("", Anchor::Start, [x + 18.0, y], name);
            }
        }
        frame
    }

    /// Returns the horizontal place of a value.
    pub fn right(&self, value: f64) -> f64 {
        self.inside[0] + self.x.at(value) * (self.inside[2] - self.inside[0])
    }

    /// Returns the vertical place of a value.
    pub fn up(&self, value: f64) -> f64 {
        self.inside[3] - self.y.at(value) * (self.inside[3] - self.inside[1])
    }

    /// Returns the place of a point.
    pub fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.right(x), self.up(y)]
    }
}

/// Splits the entries into rows that fit, each entry with its left end.
fn legend_rows<'a>(entries: &[Entry<'a>], left: f64, right: f64) -> Vec<Vec<(f64, Entry<'a>)>> {
    let mut rows: Vec<Vec<(f64, Entry)>> = Vec::new();
    let mut x = f64::INFINITY;
    for &(name, style) in entries {
        let needed = width(name) + 36.0;
        if x + needed > right {
            rows.push(Vec::new());
            x = left;
        }
        if let Some(row) = rows.last_mut() {
            row.push((x, (name, style)));
        }
        x += needed;
    }
    rows
}
