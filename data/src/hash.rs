//! Computes SHA-256 of files and columns, as lower-case hex.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Hashes columns in a fixed little-endian form, each with its name and length, so that equal hashes mean equal
/// columns.
#[derive(Default)]
pub struct ColumnHash(Sha256);

impl ColumnHash {
    /// Adds a column of numbers.
    pub fn add<T: Copy, const N: usize>(
        &mut self,
        name: &str,
        values: impl ExactSizeIterator<Item = T>,
        bytes: fn(T) -> [u8; N],
    ) {
        self.0.update(name.as_bytes());
        self.0.update((values.len() as u64).to_le_bytes());
        let mut block = Vec::with_capacity(1 << 16);
        for value in values {
            block.extend_from_slice(&bytes(value));
            if block.len() + N > 1 << 16 {
                self.0.update(&block);
                block.clear();
            }
        }
        self.0.update(&block);
    }

    /// Returns the hash of all columns added.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Returns the hash of a file's bytes.
///
/// # Errors
/// When the file cannot be read.
pub fn file(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut block).map_err(Error::io("read", path))?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&block[..n]);
    }
}

/// Returns the first 12 hex digits of a hash, which tell apart what is in one place.
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Returns bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
