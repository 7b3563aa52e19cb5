//! What training will take of the device's memory, worked out before anything is put there.

use burnrec_data::Csr;

use super::normal::TASK;
use super::tasks::RowTasks;
use crate::als::{AlsConfig, Solver};
use crate::device::OpenDevice;

/// The sizes of what is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The most pieces that a launch sums.
    pub n_pieces: usize,
    /// The long rows of the side that has more of them.
    pub n_long: usize,
    /// Values of the factors of the longer side in a basis; 0 where none is needed.
    pub in_basis: usize,
    /// Bytes of the largest buffer.
    largest: u64,
    /// Bytes of all buffers.
    all: u64,
}

impl Sizes {
    /// Computes them for the matrices of both sides, the users' first, and the tasks of their rows.
    pub fn new(config: &AlsConfig, matrices: [&Csr; 2], tasks: &[RowTasks; 2]) -> Self {
        let ld = config.dim.next_multiple_of(4);
        let len = (ld + 1) * ld;
        let of_either = |of: &dyn Fn(&RowTasks) -> usize| of(&tasks[0]).max(of(&tasks[1]));
        let (n_pieces, n_long) = (of_either(&RowTasks::n_pieces), of_either(&RowTasks::n_long));
        let [n_users, n_items] = matrices.map(Csr::n_rows);
        let (nnz, longer) = (matrices[0].nnz(), n_users.max(n_items) * ld);
        let in_basis = if config.solver == Solver::Cg { longer } else { 0 };
        // Of each side: a column, two weights an entry; three values and the factors a row; the tasks.
        let of_sides = 6 * nnz
            + (n_users + n_items) * (3 + ld)
            + TASK * tasks.iter().map(RowTasks::n_tasks).sum::<usize>();
        let values = of_sides + (n_pieces + n_long + 1) * len + 2 * in_basis + 2 * ld * ld;
        let largest = nnz.max(longer).max(n_pieces.max(n_long) * len);
        Self { n_pieces, n_long, in_basis, largest: 4 * largest as u64, all: 4 * values as u64 }
    }

    /// Returns the reason why a device whose largest buffer has `most` bytes cannot hold it, where it cannot.
    pub fn check(&self, device: &OpenDevice, most: u64) -> std::result::Result<(), String> {
        let Self { largest, all, .. } = *self;
        // Kernels count values in 32 bits.
        let most = most.min(4 * u64::from(u32::MAX));
        if largest > most {
            return Err(format!(
                "als needs a buffer of {largest} bytes, where the device has {most} at most"
            ));
        }
        match device.card_memory {
            Some(has) if all > has => {
                Err(format!("als needs {all} bytes, where the card has {has}; lower dim or use cpu"))
            }
            _ => Ok(()),
        }
    }
}
