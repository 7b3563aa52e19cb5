//! Groups of entries that have a bias in common: an item's in a bin of time, a user's in a span of rows.
//!
//! A bias has the prior `N(0, 1 / t)`. Given the residuals of the `n` entries of its group, which are the values less all but this
//! bias, with the precision `a`, it is normal with precision `t + a n` and mean `a sum / (t + a n)`.

use std::ops::Range;

use burnrec_data::{Csr, Entry};

use crate::drift::Bins;

/// Which entries of a matrix have a bias in common.
pub struct Groups {
    /// `[nnz]`: the group of each entry.
    pub of_entry: Vec<u32>,
    /// `[n_groups]`: how many entries each has.
    pub counts: Vec<f32>,
}

impl Groups {
    fn new(of_entry: Vec<u32>, n_groups: usize) -> Self {
        let mut counts = vec![0.0; n_groups];
        of_entry.iter().for_each(|&group| counts[group as usize] += 1.0);
        Self { of_entry, counts }
    }

    /// Puts the entries of histories in the bins of their items; group `item * bins + bin`. None where times are not known.
    pub fn of_bins(histories: &Csr, bins: Bins) -> Option<Self> {
        let times = histories.order()?.times.as_ref()?;
        let group = |(&col, &time): (&u32, &i64)| col * bins.n as u32 + bins.at(time) as u32;
        let of_entry = histories.cols().iter().zip(times).map(group).collect();
        Some(Self::new(of_entry, histories.n_cols() * bins.n))
    }

    /// Returns the mean of each bias, `[n_groups]`, given the residuals of the entries, `[nnz]`.
    pub fn means(&self, residuals: &[f32], strength: f32, noise: f32) -> Vec<f32> {
        let mut sums = vec![0.0f64; self.counts.len()];
        let of_entry = self.of_entry.iter().zip(residuals);
        of_entry.for_each(|(&group, &residual)| sums[group as usize] += f64::from(residual));
        let mean = |(sum, &count): (f64, &f32)| f64::from(noise) * sum / precision(count, strength, noise);
        sums.into_iter().zip(&self.counts).map(|of| mean(of) as f32).collect()
    }

    /// Adds the bias of its group, by `factor`, to the value of each entry, `[nnz]`.
    pub fn add(&self, biases: &[f32], factor: f32, values: &mut [f32]) {
        let of_entry = values.iter_mut().zip(&self.of_entry);
        of_entry.for_each(|(value, &group)| *value += factor * biases[group as usize]);
    }
}

/// The precision of a bias given its entries.
fn precision(count: f32, strength: f32, noise: f32) -> f64 {
    f64::from(strength) + f64::from(noise) * f64::from(count)
}

/// The spans that the rows of a matrix are cut into, each of so many entries in the order of time, the last of the rest.
pub struct Spans {
    /// The entries of each span.
    pub groups: Groups,
    /// `[n_rows, most spans]`: an entry for each span, at the time of its first entry; groups are numbered as these are.
    pub starts: Csr,
}

/// The spans of one row.
#[derive(Clone, Copy)]
pub struct RowSpans<'a> {
    /// `[entries]`: the group of each.
    pub of_entry: &'a [u32],
    /// The group of the first span.
    pub first: usize,
    /// `[spans]`: how many entries each has.
    pub counts: &'a [f32],
}

impl Spans {
    /// Cuts histories into spans of `length` entries; none where times are not known.
    pub fn of(histories: &Csr, length: usize) -> Option<Self> {
        let order = histories.order()?;
        order.times.as_ref()?;
        let most = histories.offsets().windows(2).map(|ends| (ends[1] - ends[0]).div_ceil(length)).max();
        let row = |row: usize| {
            let history = histories.history(row);
            let start = |(col, span): (u32, &[Entry])| Entry { col, value: 0.0, ..span[0] };
            (0..).zip(history.chunks(length)).map(start).collect()
        };
        let starts = Csr::from_histories(most.unwrap_or(0), (0..histories.n_rows()).map(row));
        let mut of_entry = vec![0; histories.nnz()];
        for (ends, &first) in histories.offsets().windows(2).zip(starts.offsets()) {
            let newest = (ends[1] - ends[0]).saturating_sub(1);
            let of_row = of_entry[ends[0]..ends[1]].iter_mut().zip(&order.ages[ends[0]..ends[1]]);
            of_row.for_each(|(of, &age)| *of = (first + (newest - age as usize) / length) as u32);
        }
        Some(Self { groups: Groups::new(of_entry, starts.nnz()), starts })
    }

    /// Returns the spans of a row with these entries.
    pub fn row(&self, row: usize, entries: Range<usize>) -> RowSpans<'_> {
        let (first, end) = (self.starts.offsets()[row], self.starts.offsets()[row + 1]);
        RowSpans { of_entry: &self.groups.of_entry[entries], first, counts: &self.groups.counts[first..end] }
    }
}

#[cfg(feature = "train")]
pub use drawn::Biases;

#[cfg(feature = "train")]
mod drawn {
    use rayon::prelude::*;

    use super::{Groups, precision};
    use crate::bpmf::prior::gamma;
    use crate::bpmf::source::Source;
    use crate::least_squares::normal;

    /// The biases of groups, drawn given the residuals.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Biases {
        /// `[n_groups]`
        pub values: Vec<f32>,
        /// The precision of their prior.
        pub strength: f32,
    }

    impl Biases {
        /// Starts from biases of 0.
        pub fn zeros(groups: &Groups) -> Self {
            Self { values: vec![0.0; groups.counts.len()], strength: 1.0 }
        }

        /// Draws the biases given the residuals of the entries, `[nnz]`, and then their strength from `Gamma(1, 1)` given them.
        pub fn draw(&mut self, groups: &Groups, residuals: &[f32], noise: f32, source: Source) {
            let strength = self.strength;
            let means = groups.means(residuals, strength, noise);
            let all = self.values.par_iter_mut().zip(means).zip(&groups.counts).enumerate();
            all.for_each(|(group, ((value, mean), &count))| {
                let std = precision(count, strength, noise).sqrt().recip() as f32;
                normal(&mut source.rng(group), std, std::slice::from_mut(value));
                *value += mean;
            });
            let squares: f64 = self.values.iter().map(|&x| f64::from(x).powi(2)).sum();
            let n = self.values.len();
            let rng = &mut source.rng(n);
            self.strength = (gamma(1.0 + n as f64 / 2.0, rng) / (1.0 + squares / 2.0)) as f32;
        }
    }
}
