//! Biases that change over time: of items by bins of time, of users by spans of their rows (Koren 2009, "Collaborative Filtering
//! with Temporal Dynamics", section 3.2, with spans of rows in place of days).

use std::sync::Arc;

use burnrec_data::{Csr, UserIx};

/// What scores differ at other times than the newest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// `[n_items, bins]`: how much an item's scores differ in each bin from those in the last.
    pub items: Option<(Bins, Arc<Vec<f32>>)>,
    /// `[n_users, most spans]`: how much a user's scores differ in each span from those in the last, at the time of the span's
    /// first row.
    pub users: Option<Csr>,
}

/// Bins of equal width over times; a time outside is in the first or the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bins {
    /// The number of bins.
    pub n: usize,
    /// The oldest time, in Unix seconds.
    pub oldest: i64,
    /// The newest time, not before the oldest.
    pub newest: i64,
}

impl Bins {
    /// Cuts the range of these times into bins.
    pub fn of(times: &[i64], n: usize) -> Self {
        let (oldest, newest) = (times.iter().min(), times.iter().max());
        Self { n, oldest: oldest.copied().unwrap_or(0), newest: newest.copied().unwrap_or(0) }
    }

    /// Returns the bin of a time.
    pub fn at(&self, time: i64) -> usize {
        let [time, oldest, newest] =
            [time.clamp(self.oldest, self.newest), self.oldest, self.newest].map(i128::from);
        ((time - oldest) * self.n as i128 / (newest - oldest + 1)) as usize
    }
}

impl Drift {
    /// Adds to the scores `out[k]` of a user and `items[k]` what they differ at `times[k]`, in Unix seconds. A time is in the span
    /// of the user's newest row that is not after it, and before all rows in the first.
    pub fn add(&self, user: UserIx, items: &[u32], times: &[i64], out: &mut [f32]) {
        if let Some((bins, values)) = &self.items {
            for ((out, &item), &time) in out.iter_mut().zip(items).zip(times) {
                *out += values[item as usize * bins.n + bins.at(time)];
            }
        }
        if let Some(spans) = &self.users {
            let (starts, values) = (spans.times(user.at()).unwrap_or_default(), spans.row(user.at()).1);
            for (out, &time) in out.iter_mut().zip(times) {
                let span = starts.partition_point(|&start| start <= time).saturating_sub(1);
                *out += values.get(span).unwrap_or(&0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burnrec_data::Entry;

    #[test]
    fn bins_are_of_equal_width_and_times_outside_are_in_the_first_or_the_last() {
        let bins = Bins::of(&[109, 100, 104], 5);
        let at = |times: &[i64]| times.iter().map(|&time| bins.at(time)).collect::<Vec<usize>>();
        assert_eq!(at(&[100, 101, 102, 103, 107, 108, 109]), [0, 0, 1, 1, 3, 4, 4]);
        assert_eq!(at(&[i64::MIN, 99, 110, i64::MAX]), [0, 0, 4, 4]);
        let widest = Bins::of(&[i64::MIN, i64::MAX], 2);
        assert_eq!((widest.at(-1), widest.at(0)), (0, 1));
        assert_eq!(Bins::of(&[7, 7], 3).at(7), 0, "one time");
        assert_eq!(Bins::of(&[], 3).at(7), 0, "no time");
    }

    #[test]
    fn scores_differ_by_the_bin_of_the_item_and_the_span_of_the_user() {
        let span =
            |col: u32, time: i64| Entry { col, value: [0.5, 0.25, 0.0][col as usize], time: Some(time) };
        let spans = Csr::from_histories(3, [vec![span(0, 10), span(1, 20), span(2, 30)], vec![]]);
        let items = (Bins { n: 2, oldest: 0, newest: 39 }, Arc::new(vec![4.0, 0.0, 8.0, 0.0]));
        let drift = Drift { items: Some(items), users: Some(spans) };
        let added = |user: u32, times: [i64; 5]| {
            let mut out = [1.0; 5];
            drift.add(UserIx(user), &[0, 1, 1, 0, 1], &times, &mut out);
            out
        };
        assert_eq!(added(0, [5, 10, 19, 20, 99]), [5.5, 9.5, 9.5, 1.25, 1.0]);
        assert_eq!(added(1, [5, 10, 19, 20, 99]), [5.0, 9.0, 9.0, 1.0, 1.0], "without rows");
        let mut out = [1.0];
        Drift::default().add(UserIx(3), &[9], &[0], &mut out);
        assert_eq!(out, [1.0]);
    }
}
