//! A buffer on the device.

use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};

use crate::{Error, Result};

/// The error of a device that failed.
pub fn failed(error: &ServerError) -> Error {
    Error::Device { asked: "gpu".into(), why: error.to_string() }
}

/// A buffer with the number of its values, of four bytes each; at least one vector long.
#[derive(Clone)]
pub struct Buffer {
    handle: Handle,
    /// The number of its values.
    pub len: usize,
}

impl Buffer {
    /// Puts words on the device.
    pub fn of(client: &Client, words: &[u32]) -> Self {
        Self::of_bytes(client, u32::as_bytes(words))
    }

    /// Puts values on the device.
    pub fn of_values(client: &Client, values: &[f32]) -> Self {
        Self::of_bytes(client, f32::as_bytes(values))
    }

    fn of_bytes(client: &Client, bytes: &[u8]) -> Self {
        let mut vector = [0; 16];
        let bytes = match vector.get_mut(..bytes.len()) {
            Some(start) => {
                start.copy_from_slice(bytes);
                &vector
            }
            None => bytes,
        };
        Self { handle: client.create_from_slice(bytes), len: bytes.len() / 4 }
    }

    /// Makes a buffer of zeros.
    pub fn zeros(client: &Client, len: usize) -> Self {
        Self::of(client, &vec![0; len])
    }

    /// Makes a buffer that is written before it is read.
    pub fn empty(client: &Client, len: usize) -> Self {
        let len = len.max(4);
        Self { handle: client.empty(len * 4), len }
    }

    /// Replaces all of its words, after what was launched before. The device may copy more than it is given, so that
    /// padding is written too.
    pub fn write(&self, client: &Client, mut words: Vec<u32>) {
        words.resize(self.len, 0);
        client.write(&self.handle, cubecl::bytes::Bytes::from_bytes_vec(u32::as_bytes(&words).to_vec()));
    }

    /// Reads its first words back. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn first_words(&self, client: &Client, n: usize) -> Result<Vec<u32>> {
        let part = self.handle.clone().offset_end((self.len - n) as u64 * 4);
        let bytes = client.read_one(part).map_err(|error| failed(&error))?;
        Ok(u32::from_bytes(&bytes)[..n].to_vec())
    }

    /// Reads the first words of several buffers back at once. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn all_words<const N: usize>(client: &Client, buffers: [(&Self, usize); N]) -> Result<[Vec<u32>; N]> {
        let parts = buffers.map(|(buffer, n)| buffer.handle.clone().offset_end((buffer.len - n) as u64 * 4));
        let read =
            cubecl::future::block_on(client.read_async(parts.to_vec())).map_err(|error| failed(&error))?;
        let mut read = read.into_iter();
        Ok(buffers
            .map(|(_, n)| read.next().map_or(Vec::new(), |bytes| u32::from_bytes(&bytes)[..n].to_vec())))
    }

    /// Reads its first values back. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn first_values(&self, client: &Client, n: usize) -> Result<Vec<f32>> {
        Ok(self.first_words(client, n)?.into_iter().map(f32::from_bits).collect())
    }

    /// Reads its values back. Syncs with the device.
    ///
    /// # Errors
    /// When the device fails.
    pub fn values(&self, client: &Client) -> Result<Vec<f32>> {
        self.first_values(client, self.len)
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
