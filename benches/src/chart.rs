//! Charts: plain data, which is drawn as SVG and which `report.json` holds too.
//!
//! A series has a mark of its own besides its colour, so that colour is not the only cue. Text has the text colour of
//! the page. On a narrow screen a chart scrolls inside its box and does not shrink, so that its text stays legible.

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

/// The style of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Style {
    /// Picks the colour and the mark; two of the first 56 differ in at least one.
    pub index: usize,
    /// Whether marks are outlines, which stand for the models of peers.
    pub hollow: bool,
}

/// An axis of a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Axis {
    /// The quantity, with its unit.
    pub title: String,
    /// Whether it is logarithmic; values must then be above 0.
    pub log: bool,
    /// Whether 0 must be on it.
    pub zero: bool,
    /// Whether its values are whole numbers.
    pub whole: bool,
}

/// A chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chart {
    /// The title.
    pub title: String,
    /// The kind and the data.
    #[serde(flatten)]
    pub drawn: Drawn,
}

/// The kind of a chart, with its data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Drawn {
    /// Labelled points.
    Points {
        /// The horizontal axis.
        x: Axis,
        /// The vertical axis.
        y: Axis,
        /// The points.
        points: Vec<Point>,
    },
    /// Lines over a numeric axis.
    Lines {
        /// The horizontal axis.
        x: Axis,
        /// The vertical axis.
        y: Axis,
        /// The lines.
        lines: Vec<Line>,
        /// Whether it is one of several that stand side by side, without a legend.
        small: bool,
    },
    /// Rows with a name and a value each.
    Dots {
        /// The horizontal axis.
        x: Axis,
        /// The rows, from the top.
        rows: Vec<Dot>,
    },
    /// Values of several series over named steps.
    Steps {
        /// What the steps are.
        x: String,
        /// Their names.
        steps: Vec<String>,
        /// The vertical axis.
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
    /// The style.
    pub style: Style,
    /// The place on the horizontal axis.
    pub x: f64,
    /// The place on the vertical axis, with its interval.
    pub y: Value,
    /// The points of the single seeds, whose mean it is.
    pub parts: Vec<[f64; 2]>,
    /// The tooltip.
    pub told: String,
}

/// A line of [`Drawn::Lines`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its name; a line named as an earlier one is drawn fainter.
    pub name: String,
    /// The style.
    pub style: Style,
    /// Whether the line is dashed.
    pub dashed: bool,
    /// The points, from left to right.
    pub points: Vec<[f64; 2]>,
    /// The index of the point of the chosen epoch.
    pub chosen: Option<usize>,
}

/// A row of [`Drawn::Dots`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dot {
    /// Its label.
    pub name: String,
    /// The style.
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
    /// The style.
    pub style: Style,
    /// A value for each step.
    pub values: Vec<Option<Value>>,
}

impl Chart {
    /// Returns an `<svg>` element for a page that has [`STYLE`].
    pub fn svg(&self) -> String {
        self.draw().inline(&self.title)
    }

    /// Returns an SVG file with its own colours and background.
    pub fn file(&self) -> String {
        self.draw().file(&self.title)
    }

    /// Returns whether it is one of several that stand side by side.
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
    /// Returns the value and the ends of its interval.
    fn ends(&self) -> impl Iterator<Item = f64> {
        [Some(self.value), self.low, self.high].into_iter().flatten()
    }
}
