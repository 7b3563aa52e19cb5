//! Similar items: the nearest ones by the cosine of their vectors, or by the weights of an item-item matrix.

use std::cmp::Ordering;

use burnrec_data::ItemIx;

use crate::allowed::Allowed;
use crate::item_item::ItemMatrix;
use crate::vectors::Vectors;

/// What a model says of how alike items are.
#[derive(Clone, Copy, Debug)]
pub enum Likeness<'a> {
    /// The cosine of the angle between the vectors of two items.
    Cosines(Vectors<'a>),
    /// The weight that having an item has for the score of another.
    Weights(&'a ItemMatrix),
}

impl Likeness<'_> {
    /// Returns the name of its values.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cosines(_) => "cosine",
            Self::Weights(_) => "weight",
        }
    }

    /// Returns the `k` of the allowed items that are most like `item`, with the values that say so, best first; `item` itself
    /// is left out, and so is an item without a weight.
    pub fn nearest(&self, item: ItemIx, k: usize, allowed: &Allowed) -> Vec<(ItemIx, f32)> {
        match self {
            Self::Cosines(vectors) => similar(*vectors, item, k, allowed),
            Self::Weights(matrix) => {
                let mut others = matrix.row(item);
                others.retain(|(other, _)| allowed.contains(*other));
                best(others, k)
            }
        }
    }
}

/// Returns the `k` of the allowed items whose vectors have the highest cosine similarity to that of `item`, with their
/// cosines, best first; `item` itself is left out. A vector of length 0, or with an element that is not finite, is like no
/// other: its cosine is 0.
pub fn similar(vectors: Vectors<'_>, item: ItemIx, k: usize, allowed: &Allowed) -> Vec<(ItemIx, f32)> {
    let target = vectors.row(item.at());
    let n_items = vectors.values.len() / vectors.dim;
    let others = (0..n_items as u32).map(ItemIx).filter(|&other| other != item && allowed.contains(other));
    best(others.map(|other| (other, cosine(target, vectors.row(other.at())))).collect(), k)
}

/// Returns the `k` with the highest values, best first, of equal ones the lower item.
fn best(mut all: Vec<(ItemIx, f32)>, k: usize) -> Vec<(ItemIx, f32)> {
    let better =
        |a: &(ItemIx, f32), b: &(ItemIx, f32)| -> Ordering { b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)) };
    if k < all.len() {
        all.select_nth_unstable_by(k, better);
        all.truncate(k);
    }
    all.sort_unstable_by(better);
    all
}

/// Returns the cosine of the angle between two vectors, from -1 to 1. It is computed in f64, where no product of f32 values
/// overflows or is rounded.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
    if cosine.is_finite() { cosine.clamp(-1.0, 1.0) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(values: &[f32], dim: usize, k: usize, allowed: &Allowed) -> Vec<(u32, f32)> {
        let vectors = Vectors { values, dim };
        similar(vectors, ItemIx(0), k, allowed).iter().map(|(item, cosine)| (item.0, *cosine)).collect()
    }

    #[test]
    fn the_nearest_direction_comes_first_whatever_its_length() {
        let values = [1.0, 0.0, 0.0, 1.0, 9.0, 1.0, 0.0, 0.0, -1.0, 0.0];
        let of = |k, allowed: &Allowed| {
            items(&values, 2, k, allowed).iter().map(|best| best.0).collect::<Vec<_>>()
        };
        let all = Allowed::all(5);
        assert_eq!(of(9, &all), [2, 1, 3, 4]);
        assert_eq!(of(1, &all), [2]);
        assert_eq!(of(2, &all.without(&[ItemIx(1)])), [2, 3]);
    }

    #[test]
    fn a_cosine_is_never_outside_its_range() {
        for dim in [1, 3, 64, 333] {
            let direction: Vec<f32> = (0..dim).map(|at| 0.1 + (at * 37 % 101) as f32 / 7.0).collect();
            let lengths = [1.0, 3.3, -0.7, 1e-20, 1e30, -1e30, f32::NAN, f32::INFINITY, 0.0];
            let scaled = lengths.iter().flat_map(|length| direction.iter().map(move |value| value * length));
            let found = items(&scaled.collect::<Vec<f32>>(), dim, 9, &Allowed::all(9));
            let of = |item: u32| found.iter().find(|(other, _)| *other == item).expect("it is listed").1;
            for item in [1, 2, 3, 4, 5] {
                let expected = lengths[item as usize].signum();
                assert!((-1.0..=1.0).contains(&of(item)) && (of(item) - expected).abs() < 1e-6, "{found:?}");
            }
            assert_eq!([6, 7, 8].map(of), [0.0; 3], "dim {dim}");
        }
    }
}
