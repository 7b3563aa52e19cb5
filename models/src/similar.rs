//! Similar items: the nearest ones by the cosine of their vectors.

use std::cmp::Ordering;

use burnrec_data::ItemIx;

use crate::scorer::Vectors;

/// Returns the `k` items whose vectors have the highest cosine similarity to that of `item`, with their cosines, best
/// first; `item` itself is left out. A vector of length 0 is like no other: its cosine is 0.
pub fn similar(vectors: Vectors<'_>, item: ItemIx, k: usize) -> Vec<(ItemIx, f32)> {
    let target = vectors.row(item.at());
    let n_items = vectors.values.len() / vectors.dim;
    let mut all: Vec<(ItemIx, f32)> = (0..n_items as u32)
        .filter(|&other| other != item.0)
        .map(|other| (ItemIx(other), cosine(target, vectors.row(other as usize))))
        .collect();
    let better =
        |a: &(ItemIx, f32), b: &(ItemIx, f32)| -> Ordering { b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)) };
    if k < all.len() {
        all.select_nth_unstable_by(k, better);
        all.truncate(k);
    }
    all.sort_unstable_by(better);
    all
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_direction_comes_first_whatever_its_length() {
        let values = [1.0, 0.0, 0.0, 1.0, 9.0, 1.0, 0.0, 0.0, -1.0, 0.0];
        let vectors = Vectors { values: &values, dim: 2 };
        let items = |k| similar(vectors, ItemIx(0), k).iter().map(|best| best.0.0).collect::<Vec<_>>();
        assert_eq!(items(9), [2, 1, 3, 4]);
        assert_eq!(items(1), [2]);
    }
}
