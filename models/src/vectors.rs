//! Vectors that a model has of its users or its items.

/// Vectors of equal length, one per row.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    /// `[rows, dim]`, row-major.
    pub values: &'a [f32],
    /// The length of each.
    pub dim: usize,
}

impl<'a> Vectors<'a> {
    /// Returns the vector of a row.
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }
}
