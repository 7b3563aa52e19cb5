//! Draws lines over a numeric axis: learning curves.

use super::frame::{Entry, Frame, SMALL, WIDTH};
use super::scale::Scale;
use super::svg::Svg;
use super::{Axis, Line};
use crate::number::{amount, seconds};

/// Draws lines with a legend, or small ones without.
pub fn draw(axis: &Axis, y: &Axis, lines: &[Line], small: bool) -> Svg {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (n_ticks, size) = if small { (4, [SMALL, 230.0]) } else { (6, [WIDTH, 340.0]) };
    let x_scale = Scale::of(axis, all().map(|point| point[0]), n_ticks).spread_over(size[0] - 80.0);
    let y_scale = Scale::of(y, all().map(|point| point[1]), n_ticks);
    let mut legend: Vec<Entry> = Vec::new();
    if !small {
        for line in lines.iter().filter(|line| !line.dashed) {
            if !legend.iter().any(|(name, _)| *name == line.name) {
                legend.push((&line.name, line.style));
            }
        }
    }
    let mut frame = Frame::new(size, (axis, x_scale), (y, y_scale), &legend);
    for (place, line) in lines.iter().enumerate() {
        let at: Vec<[f64; 2]> = line.points.iter().map(|point| frame.at(*point)).collect();
        let first =
            !lines[..place].iter().any(|other| other.name == line.name && other.dashed == line.dashed);
        let class = match (line.dashed, first) {
            (false, true) => "",
            (false, false) => "faint",
            (true, true) => "dashed",
            (true, false) => "dashed faint",
        };
        frame.svg.path(line.style, class, &at);
        // Marks keep a distance, so that the line can be seen between them.
        let mut last = f64::NEG_INFINITY;
        for (place, &[x, y]) in at.iter().enumerate() {
            let chosen = line.chosen == Some(place);
            if chosen || (first && !line.dashed && x - last >= 24.0) || at.len() == 1 {
                let [along, value] = line.points[place];
                let along =
                    if axis.whole { format!("epoch {along}") } else { format!("{} s", seconds(along)) };
                let told = format!("{}: {} at {along}", line.name, amount(value));
                frame.svg.mark(line.style, [x, y], if chosen { 6.5 } else { 3.5 }, &told);
                last = x;
            }
        }
    }
    frame.svg
}
