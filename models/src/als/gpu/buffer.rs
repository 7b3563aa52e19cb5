//! Buffers on the device, grids of cubes, and the vectors of the kernels.

use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};

use crate::{Error, Result};

/// Four values that are read and written together.
pub type V4 = Vector<f32, Const<4>>;

/// The units of a cube in every kernel.
pub const UNITS: usize = 256;

/// The most cubes along one side of a grid.
const MOST_CUBES: usize = 32_768;

/// Returns a grid of so many cubes in a row, or a few more, folded where the row is longer than the device takes.
pub fn in_a_row(cubes: usize) -> CubeCount {
    let rows = cubes.div_ceil(MOST_CUBES).max(1);
    CubeCount::Static(cubes.div_ceil(rows).max(1) as u32, rows as u32, 1)
}

/// Returns the size of the cubes.
pub fn cube_dim() -> CubeDim {
    CubeDim::new_1d(UNITS as u32)
}

/// The error of a device that failed.
fn failed(error: &ServerError) -> Error {
    Error::Device { asked: "gpu".into(), why: error.to_string() }
}

/// A buffer with the number of its values, of four bytes each; never empty.
pub struct Buffer {
    handle: Handle,
    len: usize,
}

impl Buffer {
    /// Puts words on the device.
    pub fn of(client: &Client, words: &[u32]) -> Self {
        let padding = vec![0; 4usize.saturating_sub(words.len())];
        let words = [words, &padding].concat();
        Self { handle: client.create_from_slice(u32::as_bytes(&words)), len: words.len() }
    }

    /// Puts values on the device.
    pub fn of_values(client: &Client, values: &[f32]) -> Self {
        if values.len() < 4 {
            return Self::of(client, &values.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        }
        Self { handle: client.create_from_slice(f32::as_bytes(values)), len: values.len() }
    }

    /// Makes a buffer that is written before it is read.
    pub fn empty(client: &Client, len: usize) -> Self {
        let len = len.max(4);
        Self { handle: client.empty(len * 4), len }
    }

    /// Reads its words back. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn words(&self, client: &Client) -> Result<Vec<u32>> {
        let bytes = client.read_one(self.handle.clone()).map_err(|error| failed(&error))?;
        Ok(u32::from_bytes(&bytes)[..self.len].to_vec())
    }

    /// Reads its values back. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn values(&self, client: &Client) -> Result<Vec<f32>> {
        Ok(self.words(client)?.into_iter().map(f32::from_bits).collect())
    }

    /// The buffer as an argument of single values.
    pub fn arg(&self) -> BufferArg {
        // SAFETY: the handle has `len` values of four bytes.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.len) }
    }

    /// The buffer as an argument of vectors.
    pub fn arg4(&self) -> BufferArg {
        // SAFETY: the handle has at least `len / 4` vectors.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.len / 4) }
    }
}
