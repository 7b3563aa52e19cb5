//! The basis of the eigenvectors of a Gram matrix. The host decomposes it: the matrix is small, and f64 keeps apart what f32
//! does not.

use cubecl::prelude::Client;

use crate::als::cg::Spectrum;
use crate::als::eigen::{Decompose, Eigen};
use crate::nn::gpu::buffer::Buffer;
use crate::simd::Isa;

/// A basis on the device, with `ld` the padded `dim`.
pub struct Basis {
    /// `[ld + 4]`: the eigenvalues, 0 in the padding, and then four times the largest.
    pub values: Buffer,
    /// `[ld, ld]`: each column is an eigenvector.
    pub columns: Buffer,
    /// `[ld, ld]`: each row is an eigenvector.
    pub rows: Buffer,
    /// The ends of the eigenvalues.
    pub spectrum: Spectrum,
}

impl Basis {
    /// Decomposes a Gram matrix, whose first `ld` rows of `ld` values are `gram`'s first.
    pub fn of(client: &Client, gram: &[f32], dim: usize) -> Self {
        let ld = dim.next_multiple_of(4);
        let rows = gram.chunks_exact(ld).take(dim);
        let a: Vec<f64> = rows.flat_map(|row| &row[..dim]).map(|&value| f64::from(value)).collect();
        let Eigen { values: found, vectors } = Isa::best().run(Decompose { a: &a, n: dim });
        let mut values = vec![0.0; ld];
        values.iter_mut().zip(found).for_each(|(to, value)| *to = value.max(0.0) as f32);
        let spectrum = Spectrum::of(&values[..dim]);
        values.extend([spectrum.largest; 4]);
        let (mut columns, mut rows) = (vec![0.0; ld * ld], vec![0.0; ld * ld]);
        for i in 0..dim {
            for j in 0..dim {
                let value = vectors[i * dim + j] as f32;
                rows[i * ld + j] = value;
                columns[j * ld + i] = value;
            }
        }
        let [values, columns, rows] =
            [values, columns, rows].map(|values| Buffer::of_values(client, &values));
        Self { values, columns, rows, spectrum }
    }
}
