//! Draws the values of several series over named steps: score against popularity and activity.

use super::frame::{Entry, Frame, WIDTH};
use super::scale::Scale;
use super::svg::{Anchor, FONT, Svg};
use super::{Axis, Series};

/// Draws series over steps. At a step they stand side by side, so that their intervals do not overlap.
pub fn draw(x: &str, steps: &[String], y: &Axis, series: &[Series]) -> Svg {
    let values = series.iter().flat_map(|one| one.values.iter().flatten().flat_map(|value| value.ends()));
    let y_scale = Scale::of(y, values, 6);
    let legend: Vec<Entry> = series.iter().map(|one| (one.name.as_str(), one.style)).collect();
    let x_axis = Axis { title: x.to_owned(), ..Axis::default() };
    let mut x_scale = Scale::of(&x_axis, [0.0, steps.len().max(1) as f64], 1);
    x_scale.ticks.clear();
    let mut frame = Frame::new([WIDTH, 340.0], (&x_axis, x_scale), (y, y_scale), &legend);
    let [left, top, right, bottom] = frame.inside;
    let step = (right - left) / steps.len().max(1) as f64;
    let middle = |place: usize| left + (place as f64 + 0.5) * step;
    for (place, name) in steps.iter().enumerate() {
        if place > 0 {
            frame.svg.line("grid", [middle(place) - step / 2.0, top], [middle(place) - step / 2.0, bottom]);
        }
        frame.svg.text("", Anchor::Middle, [middle(place), bottom + 1.4 * FONT], name);
    }
    let between = 0.8 * step / series.len().max(1) as f64;
    for (at, one) in series.iter().enumerate() {
        let aside = (at as f64 - (series.len() as f64 - 1.0) / 2.0) * between;
        let places = one.values.iter().enumerate().filter_map(|(place, value)| Some((place, (*value)?)));
        let places: Vec<_> = places.map(|(place, value)| (place, middle(place) + aside, value)).collect();
        let line: Vec<[f64; 2]> = places.iter().map(|(_, x, value)| [*x, frame.up(value.value)]).collect();
        frame.svg.path(one.style, "faint", &line);
        for (place, x, value) in places {
            if let (Some(low), Some(high)) = (value.low, value.high) {
                let (low, high) = (frame.up(low), frame.up(high));
                frame.svg.bar(one.style, [x, low], [x, high]);
            }
            let told = format!("{}, {}: {}", one.name, steps[place], crate::number::score(value.value));
            frame.svg.mark(one.style, [x, frame.up(value.value)], 4.5, &told);
        }
    }
    frame.svg
}
