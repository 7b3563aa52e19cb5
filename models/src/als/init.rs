//! The initial factors of a training run.

use burnrec_data::rng::stream;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use crate::least_squares::normal;

/// How many values one random stream draws. Each chunk has a stream of its own, so that the result does not depend on
/// the number of threads.
const CHUNK: usize = 1 << 14;

/// Draws factors `[rows, dim]` from a normal distribution around 0 with standard deviation `std / sqrt(dim)`.
pub fn initial_factors(seed: u64, rows: usize, dim: usize, std: f32) -> Vec<f32> {
    let scale = std / (dim as f32).sqrt();
    let mut factors = vec![0.0; rows * dim];
    factors.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
        normal(&mut source(seed, chunk as u64), scale, out);
    });
    factors
}

/// Draws single rows, `[rows.len(), dim]`, of the factors that [`initial_factors`] draws for a side that has them all.
pub fn initial_rows(seed: u64, rows: &[u32], dim: usize, std: f32) -> Vec<f32> {
    let scale = std / (dim as f32).sqrt();
    let mut factors = vec![0.0; rows.len() * dim];
    factors.par_chunks_mut(dim).zip(rows).for_each(|(mut out, &row)| {
        let mut at = u64::from(row) * dim as u64;
        while !out.is_empty() {
            let (chunk, offset) = (at / CHUNK as u64, (at % CHUNK as u64) as usize);
            let len = out.len().min(CHUNK - offset);
            let (now, later) = std::mem::take(&mut out).split_at_mut(len);
            // Values are drawn in pairs, by two numbers of the generator.
            let odd = offset % 2;
            let mut rng = source(seed, chunk);
            rng.advance((offset - odd) as u128);
            let mut drawn = vec![0.0; odd + now.len()];
            normal(&mut rng, scale, &mut drawn);
            now.copy_from_slice(&drawn[odd..]);
            at += now.len() as u64;
            out = later;
        }
    });
    factors
}

/// Returns the generator of a chunk.
fn source(seed: u64, chunk: u64) -> Pcg64 {
    stream(seed, "als.first_factors", chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_drawn_alone_is_the_one_drawn_among_all() {
        // Odd lengths begin rows inside pairs, and rows that go over the end of a chunk are among them.
        for dim in [1, 3, 7, 64, 100] {
            let n = 2 * CHUNK / dim + 5;
            let all = initial_factors(7, n, dim, 0.5);
            let rows: Vec<u32> = (0..n as u32).rev().collect();
            let alone = initial_rows(7, &rows, dim, 0.5);
            for (row, drawn) in rows.iter().zip(alone.chunks_exact(dim)) {
                assert_eq!(drawn, &all[*row as usize * dim..][..dim], "row {row} of dim {dim}");
            }
        }
    }
}
