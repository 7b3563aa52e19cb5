//! The buffers of a step on the device.

use cubecl::prelude::*;
use cubecl::server::Handle;

#[cfg(doc)]
use super::plan::Plan;

/// A buffer with the number of its values, of four bytes each.
#[derive(Clone)]
pub struct Buffer {
    handle: Handle,
    pub len: usize,
}

impl Buffer {
    /// Makes a buffer of these words, and at least of one vector.
    pub(super) fn of(client: &Client, words: &[u32]) -> Self {
        Self::of_bytes(client, u32::as_bytes(words))
    }

    pub(super) fn of_values(client: &Client, values: &[f32]) -> Self {
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

    pub(super) fn zeros(client: &Client, len: usize) -> Self {
        Self::of(client, &vec![0; len])
    }

    /// Makes a buffer that is written before it is read.
    pub(super) fn empty(client: &Client, len: usize) -> Self {
        let len = len.max(4);
        Self { handle: client.empty(len * 4), len }
    }

    /// Replaces all of its words, after what was launched before. The device may copy more than it is given, so that
    /// padding is written too.
    pub(super) fn write(&self, client: &Client, mut words: Vec<u32>) {
        words.resize(self.len, 0);
        client.write(&self.handle, cubecl::bytes::Bytes::from_bytes_vec(u32::as_bytes(&words).to_vec()));
    }

    /// Reads it back. Syncs with the device.
    fn words(&self, client: &Client) -> Vec<u32> {
        u32::from_bytes(&client.read_one_unchecked(self.handle.clone()))[..self.len].to_vec()
    }

    pub(super) fn values(&self, client: &Client) -> Vec<f32> {
        self.words(client).into_iter().map(f32::from_bits).collect()
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

/// Everything a step reads and writes; the shapes are those of the kernels.
pub struct Buffers {
    pub rows: Buffer,
    pub values: Buffer,
    pub offsets: Buffer,
    pub seen: Buffer,
    pub bitmap: Buffer,
    pub epoch: Buffer,
    pub state: Buffer,
    pub bounds: Buffer,
    pub users: Buffer,
    pub items: Buffer,
    pub ratings: Buffer,
    pub counts: Buffer,
    /// The touched rows of users, then of items; their numbers; and those of each block of rows.
    pub lists: Buffer,
    pub lens: Buffer,
    pub blocks: Buffer,
    pub weights: Buffer,
    /// The optimiser's states, each as the weights; both are there for every optimiser, short where they are not used.
    pub first: Buffer,
    pub second: Buffer,
    pub gradients: Buffer,
    pub accumulators: Buffer,
    /// The products of the embeddings with the first layer, users first.
    pub sides: Buffer,
    /// For each hidden layer its output, and the gradient by its sums, as far as they are stored ([`Plan::stored`]).
    pub hidden: Vec<[Buffer; 2]>,
    /// Stands for the hidden layers of a network without any.
    pub no_hidden: [Buffer; 2],
    /// The gradient by the scores.
    pub grads: Buffer,
    pub copies: Buffer,
    pub pieces: Buffer,
    pub sizes: Buffer,
    pub losses: Buffer,
    pub squares: Buffer,
    pub norm: Buffer,
    pub jobs: JobBuffers,
}

/// The jobs of the plan, on the device.
pub struct JobBuffers {
    pub sides: Option<Buffer>,
    pub forward: Vec<Buffer>,
    pub backward: Vec<Buffer>,
    pub layer_columns: Vec<Buffer>,
    pub first_columns: Option<Buffer>,
    pub embeddings: Option<Buffer>,
    pub reduce: Buffer,
    pub update: Buffer,
}
