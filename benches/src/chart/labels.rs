//! Finds places for the labels of points, so that they cover neither each other nor what is drawn.

use super::svg::{FONT, width};

/// A rectangle: left, top, right, bottom.
pub type Area = [f64; 4];

/// Returns the place of each label, the left end of its baseline, and whether a line should lead to it, as it is far
/// from its point.
///
/// Labels are placed one after the other, each where it overlaps least with `taken` and, what is worse, with earlier labels; of
/// equal places it takes the nearest, first to the right.
pub fn place(points: &[([f64; 2], &str)], taken: &[Area], inside: Area) -> Vec<([f64; 2], bool)> {
    let mut labels: Vec<Area> = Vec::new();
    points
        .iter()
        .map(|(point, text)| {
            let size = [width(text), FONT];
            let (mut best, mut least) = (([0.0, 0.0], false), f64::INFINITY);
            for (ring, distance) in RINGS.into_iter().enumerate() {
                for side in SIDES {
                    let area = beside(*point, size, side, distance);
                    let common =
                        |others: &[Area]| others.iter().map(|other| common(area, *other)).sum::<f64>();
                    let covered = common(taken) + LABEL * common(&labels);
                    let outside = size[0] * size[1] - common(&[inside]);
                    let cost = covered + 4.0 * outside + 0.5 * distance;
                    if cost < least {
                        (best, least) = (([area[0], area[3] - 0.22 * FONT], ring > 0), cost);
                    }
                }
            }
            let [left, baseline] = best.0;
            let top = baseline + 0.22 * FONT - size[1];
            labels.push([left - 3.0, top - 1.0, left + size[0] + 3.0, top + size[1] + 1.0]);
            best
        })
        .collect()
}

/// How much worse it is to cover a label than anything else: neither could be read.
const LABEL: f64 = 8.0;

/// Distances from a point to its label.
const RINGS: [f64; 8] = [10.0, 22.0, 36.0, 54.0, 76.0, 104.0, 140.0, 184.0];

/// Directions from a point to its label.
const SIDES: [[f64; 2]; 16] = [
    [1.0, 0.0],
    [-1.0, 0.0],
    [0.0, -1.0],
    [0.0, 1.0],
    [0.7, -0.7],
    [0.7, 0.7],
    [-0.7, -0.7],
    [-0.7, 0.7],
    [0.92, -0.38],
    [0.92, 0.38],
    [-0.92, -0.38],
    [-0.92, 0.38],
    [0.38, -0.92],
    [0.38, 0.92],
    [-0.38, -0.92],
    [-0.38, 0.92],
];

/// Returns the area of a label that lies on one side of its point, at a distance.
fn beside([x, y]: [f64; 2], [width, height]: [f64; 2], [dx, dy]: [f64; 2], distance: f64) -> Area {
    let left = match dx {
        dx if dx > 0.0 => x + dx * distance,
        dx if dx < 0.0 => x + dx * distance - width,
        _ => x - width / 2.0,
    };
    let top = match dy {
        dy if dy > 0.0 => y + dy * distance,
        dy if dy < 0.0 => y + dy * distance - height,
        _ => y - height / 2.0,
    };
    [left, top, left + width, top + height]
}

/// Returns the size of the overlap of two areas.
fn common(a: Area, b: Area) -> f64 {
    let across = a[2].min(b[2]) - a[0].max(b[0]);
    let down = a[3].min(b[3]) - a[1].max(b[1]);
    across.max(0.0) * down.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_close_points_do_not_overlap() {
        let points: Vec<_> = (0..20)
            .map(|at| ([300.0 + f64::from(at % 3) * 4.0, 200.0 + f64::from(at) * 3.0], "NeuMF, pretrained"))
            .collect();
        let found = place(&points, &[], [0.0, 0.0, 640.0, 400.0]);
        let area = |([left, baseline], _): &([f64; 2], bool)| {
            [*left, baseline - FONT, left + width("NeuMF, pretrained"), *baseline]
        };
        for (at, one) in found.iter().enumerate() {
            assert!(common(area(one), [0.0, 0.0, 640.0, 400.0]) > width("NeuMF, pretrained") * FONT - 1.0);
            for other in &found[..at] {
                assert_eq!(common(area(one), area(other)), 0.0);
            }
        }
    }

    #[test]
    fn a_lone_label_stands_to_the_right_and_at_the_edge_to_the_left() {
        let inside = [0.0, 0.0, 640.0, 400.0];
        let ([left, _], far) = place(&[([100.0, 100.0], "ALS")], &[], inside)[0];
        assert!(left == 110.0 && !far);
        let ([left, _], far) = place(&[([630.0, 100.0], "ALS")], &[], inside)[0];
        assert!(left + width("ALS") == 620.0 && !far);
    }
}
