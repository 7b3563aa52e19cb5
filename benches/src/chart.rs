//! Charts as SVG: what is drawn is data, so that a report can give it as JSON too.
//!
//! A series has a colour and a mark of its own, so that colour is not the only cue; text takes the colour of the page
//! around it. Sizes are chosen so that a chart on a narrow screen, which scrolls inside its box, keeps legible text.

mod dots;
mod frame;
mod labels;
mod lines;
mod points;
mod scale;
mod steps;
mod svg;

use serde::Serialize;

pub use svg::escape;

/// The colours and fonts of charts: custom properties with values for light and dark, and classes that use them.
pub const STYLE: &str = include_str!("chart/style.css");

/// How a series looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Style {
    /// Picks the colour and the mark; two of the first 56 differ in at least one.
    pub index: usize,
    /// Drawn as an outline: someone else's.
    pub hollow: bool,
}

/// One direction of a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Axis {
    /// What it counts, with its unit.
    pub title: String,
    /// Equal ways are equal ratios; values that are not above 0 cannot be shown.
    pub log: bool,
    /// Whether 0 must be on it.
    pub zero: bool,
    /// Whether it counts whole things.
    pub whole: bool,
}

/// A chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The values.
    #[serde(flatten)]
    pub drawn: Drawn,
}

/// What there is to draw.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Drawn {
    /// Labelled points.
    Points {
        /// To the right.
        x: Axis,
        /// Upwards.
        y: Axis,
        /// The points.
        points: Vec<Point>,
    },
    /// Lines over numbers.
    Lines {
        /// To the right.
        x: Axis,
        /// Upwards.
        y: Axis,
        /// The lines.
        lines: Vec<Line>,
        /// Whether it is one of several that stand side by side, without a legend.
        small: bool,
    },
    /// A value a row.
    Dots {
        /// To the right.
        x: Axis,
        /// The rows, from the top.
        rows: Vec<Dot>,
    },
    /// Values over steps that have names.
    Steps {
        /// What the steps are.
        x: String,
        /// Their names.
        steps: Vec<String>,
        /// Upwards.
        y: Axis,
        /// The series.
        series: Vec<Series>,
    },
}

/// A value with the interval around it, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Value {
    /// The value.
    pub value: f64,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// A point of [`Drawn::Points`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Its label.
    pub name: String,
    /// Its look.
    pub style: Style,
    /// Where, to the right.
    pub x: f64,
    /// Where, upwards.
    pub y: Value,
    /// The single points that it is the mean of.
    pub parts: Vec<[f64; 2]>,
    /// What is said when the pointer rests on it.
    pub told: String,
}

/// A line of [`Drawn::Lines`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its name; a line named as an earlier one is drawn fainter.
    pub name: String,
    /// Its look.
    pub style: Style,
    /// Drawn with gaps.
    pub dashed: bool,
    /// The points, from left to right.
    pub points: Vec<[f64; 2]>,
    /// The place among them of the one that was chosen.
    pub chosen: Option<usize>,
}

/// A row of [`Drawn::Dots`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dot {
    /// Its label.
    pub name: String,
    /// Its look.
    pub style: Style,
    /// The value.
    pub value: Value,
    /// The value as text.
    pub text: String,
}

/// A series of [`Drawn::Steps`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its look.
    pub style: Style,
    /// A value for each step.
    pub values: Vec<Option<Value>>,
}

impl Chart {
    /// An `<svg>` for a page that has [`STYLE`].
    pub fn svg(&self) -> String {
        self.draw().inline(&self.title)
    }

    /// A file of its own, with its colours and a ground.
    pub fn file(&self) -> String {
        self.draw().file(&self.title)
    }

    /// Whether it is one of several that stand side by side.
    pub fn is_small(&self) -> bool {
        matches!(self.drawn, Drawn::Lines { small: true, .. })
    }

    fn draw(&self) -> svg::Svg {
        match &self.drawn {
            Drawn::Points { x, y, points } => points::draw(x, y, points),
            Drawn::Lines { x, y, lines, small } => lines::draw(x, y, lines, *small),
            Drawn::Dots { x, rows } => dots::draw(x, rows),
            Drawn::Steps { x, steps, y, series } => steps::draw(x, steps, y, series),
        }
    }
}

impl Value {
    /// The value and the ends of its interval.
    fn ends(&self) -> impl Iterator<Item = f64> {
        [Some(self.value), self.low, self.high].into_iter().flatten()
    }
}
