//! The names of draws, which are pure functions of them.

use burnrec_data::rng::stream;
use rand_pcg::Pcg64;

/// Where the draws of a side's rows come from.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The seed of the run.
    pub seed: u64,
    /// What is drawn, for example `bpmf.users`.
    pub purpose: &'static str,
    /// The number of the sweep.
    pub sweep: u32,
}

impl Source {
    /// Returns the generator of a row.
    pub fn rng(self, row: usize) -> Pcg64 {
        stream(self.seed, self.purpose, (u64::from(self.sweep) << 32) | row as u64)
    }
}
