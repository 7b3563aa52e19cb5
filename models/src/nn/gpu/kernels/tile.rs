//! What a unit does of a tile of [`product`](super::product::product) and [`columns`](super::columns::columns): its rows, its
//! part of a slice, and the bits that say which values of the first hidden layer are above 0.

use cubecl::prelude::*;

use super::shared::V4;

/// The row of the tile that is a unit's `m`-th of eight.
#[cube]
pub fn row_of_unit(group: usize, #[comptime] m: usize, #[comptime] tile_rows: usize) -> usize {
    (group + comptime!(m / 4 * (tile_rows / 8))) * 4 + comptime!(m % 4)
}

/// Four bits that say which of four values are above 0.
#[cube]
pub fn positive(values: V4) -> u32 {
    let mut bits = 0u32;
    #[unroll]
    for e in 0..4usize {
        bits |= select(values.extract(e) > 0.0f32, comptime!(1u32 << e as u32), 0u32);
    }
    bits
}

/// A quarter of the words that say of a row of so many vectors which values are above 0. A word has eight vectors, every
/// fourth, four bits each.
#[cube]
pub fn words_of(row4: usize) -> usize {
    (row4 + 31) / 32
}

/// The `e`-th values of four vectors.
#[cube]
pub fn across(vectors: &Array<V4>, #[comptime] e: usize) -> V4 {
    let mut across = V4::new(vectors[0usize].extract(e));
    #[unroll]
    for row in 1..4usize {
        across.insert(row, vectors[row].extract(e));
    }
    across
}

/// Adds the products of one row of a slice, `sh_a` from `start_a` and `sh_b` from `start_b` on, both side by side: a unit
/// has four neighbouring values of `a` in both halves of the tile, the second `half` vectors on, and four of `b` in both
/// halves.
#[cube]
pub fn multiply_row(
    sh_a: &Shared<[V4]>,
    sh_b: &Shared<[V4]>,
    acc: &mut Array<V4>,
    start_a: usize,
    start_b: usize,
    #[comptime] half: usize,
) {
    let b0 = sh_b[start_b];
    let b1 = sh_b[start_b + 8];
    #[unroll]
    for side in 0..2usize {
        let a = sh_a[start_a + side * half];
        #[unroll]
        for m in 0..4usize {
            let x = V4::new(a.extract(m));
            acc[(side * 4 + m) * 2] = fma(x, b0, acc[(side * 4 + m) * 2]);
            acc[(side * 4 + m) * 2 + 1] = fma(x, b1, acc[(side * 4 + m) * 2 + 1]);
        }
    }
}
