//! Buffers that are aligned to cache lines, so that no vector load crosses from one line into the next.

use std::ops::{Deref, DerefMut};

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// The number of values in a cache line; the length of a padded row is a multiple of it.
pub const LINE: usize = 16;

/// Returns the length of a row of `dim` values with its padding.
pub fn padded(dim: usize) -> usize {
    dim.next_multiple_of(LINE)
}

/// A vector of values that starts at a cache line and fills its last one.
#[derive(Clone, Default)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// Makes a buffer of `len` zeros, rounded up to whole lines.
    pub fn zeros(len: usize) -> Self {
        Self(vec![Line([0.0; LINE]); len.div_ceil(LINE)])
    }

    /// Grows to at least `len` values; existing values stay.
    pub fn grow(&mut self, len: usize) {
        if self.0.len() < len.div_ceil(LINE) {
            self.0.resize(len.div_ceil(LINE), Line([0.0; LINE]));
        }
    }

    /// Copies rows of `dim` values into padded rows.
    pub fn from_rows(rows: &[f32], dim: usize) -> Self {
        let ld = padded(dim);
        let mut lines = Self::zeros(rows.len() / dim * ld);
        for (to, from) in lines.chunks_exact_mut(ld).zip(rows.chunks_exact(dim)) {
            to[..dim].copy_from_slice(from);
        }
        lines
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a `Line` is 16 values without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * LINE) }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: a `Line` is 16 values without padding.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * LINE) }
    }
}
