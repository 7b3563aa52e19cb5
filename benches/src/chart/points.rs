//! Draws labelled points with error bars: quality against training time.

use super::frame::{Frame, WIDTH};
use super::labels;
use super::scale::Scale;
use super::svg::{Anchor, FONT, Svg, shorten, width};
use super::{Axis, Point};

/// Draws points with their labels and error bars.
pub fn draw(x: &Axis, y: &Axis, points: &[Point]) -> Svg {
    let xs = points.iter().flat_map(|p| p.parts.iter().map(|part| part[0]).chain([p.x]));
    let ys = points.iter().flat_map(|p| p.parts.iter().map(|part| part[1]).chain(p.y.ends()));
    let (x_scale, y_scale) = (Scale::of(x, xs, 6).spread_over(WIDTH - 80.0), Scale::of(y, ys, 6));
    // Many points need room for their labels.
    let height = 400.0 + 16.0 * points.len().saturating_sub(10) as f64;
    let mut frame = Frame::new([WIDTH, height], (x, x_scale), (y, y_scale), &[]);
    let mut taken = Vec::new();
    for point in points {
        let [x, y] = frame.at([point.x, point.y.value]);
        if let (Some(low), Some(high)) = (point.y.low, point.y.high) {
            let (low, high) = (frame.up(low), frame.up(high));
            frame.svg.bar(point.style, [x, low], [x, high]);
            taken.push([x - 4.0, high - 2.0, x + 4.0, low + 2.0]);
        }
        taken.push([x - 8.0, y - 8.0, x + 8.0, y + 8.0]);
    }
    for point in points {
        for part in &point.parts {
            let [x, y] = frame.at(*part);
            frame.svg.faint_mark(point.style, [x, y]);
            taken.push([x - 4.0, y - 4.0, x + 4.0, y + 4.0]);
        }
    }
    let names: Vec<String> = points.iter().map(|point| shorten(&point.name, 220.0)).collect();
    let at: Vec<_> =
        points.iter().zip(&names).map(|(p, name)| (frame.at([p.x, p.y.value]), name.as_str())).collect();
    let [left, top, _, bottom] = frame.inside;
    let places = labels::place(&at, &taken, [left + 3.0, top, WIDTH - 4.0, bottom - 3.0]);
    for (([x, y], name), ([left, baseline], far)) in at.iter().zip(places) {
        if far {
            let near =
                [x.clamp(left, left + width(name)), y.clamp(baseline - 0.75 * FONT, baseline + 0.2 * FONT)];
            frame.svg.line("lead", [*x, *y], near);
        }
        frame.svg.text("halo", Anchor::Start, [left, baseline], name);
    }
    // Marks last, so that no line runs over them.
    for (point, (at, _)) in points.iter().zip(&at) {
        frame.svg.mark(point.style, *at, 6.5, &point.told);
    }
    frame.svg
}
