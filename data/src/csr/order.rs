//! The order in time of the entries of a matrix's rows: a row that has one is a history.

use super::{Csr, Rows};

/// When the entries of each row of a matrix came.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// `[nnz]`: how many entries of the row are newer; 0 is the newest, and no two of a row are equal.
    pub ages: Vec<u32>,
    /// `[nnz]`: the times in Unix seconds, where all are known.
    pub times: Option<Vec<i64>>,
}

/// An entry of a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The column.
    pub col: u32,
    /// The value.
    pub value: f32,
    /// The time in Unix seconds, where it is known.
    pub time: Option<i64>,
}

impl Csr {
    /// Builds a matrix with an order from one list of entries per row, the oldest first. Of a repeated column, the newest
    /// entry counts. Times are kept where every entry has one.
    ///
    /// # Panics
    /// When a column is not below `n_cols`.
    pub fn from_histories(n_cols: usize, histories: impl IntoIterator<Item = Vec<Entry>>) -> Self {
        let mut out = Rows::with_capacity(0);
        let mut order = Order { ages: Vec::new(), times: Some(Vec::new()) };
        for history in histories {
            let mut newest_first: Vec<(u32, Entry)> = (0..).zip(history.into_iter().rev()).collect();
            newest_first.sort_unstable_by_key(|&(age, entry)| (entry.col, age));
            newest_first.dedup_by_key(|(_, entry)| entry.col);
            // Ages count the entries that are left.
            newest_first.sort_unstable_by_key(|&(age, _)| age);
            (0..).zip(&mut newest_first).for_each(|(age, (of, _))| *of = age);
            newest_first.sort_unstable_by_key(|(_, entry)| entry.col);
            for (age, entry) in newest_first {
                assert!((entry.col as usize) < n_cols, "columns fit");
                out.cols.push(entry.col);
                out.values.push(entry.value);
                order.ages.push(age);
                if let (Some(times), Some(time)) = (&mut order.times, entry.time) {
                    times.push(time);
                } else {
                    order.times = None;
                }
            }
            out.end_row();
        }
        Self { order: Some(order), ..out.into_csr(n_cols) }
    }

    /// Gives the rows an order.
    ///
    /// # Panics
    /// When there is not one age and, with times, one time for each entry, or the ages of a row are not `0..n` in some
    /// order.
    pub fn with_order(self, order: Order) -> Self {
        assert!(self.takes(&order), "an age, and a time, for each entry of each row");
        Self { order: Some(order), ..self }
    }

    /// Whether an order has one age and, with times, one time for each entry, and the ages of each row are `0..n` in some
    /// order.
    pub fn takes(&self, order: &Order) -> bool {
        let lengths = order.ages.len() == self.nnz()
            && order.times.as_ref().is_none_or(|times| times.len() == self.nnz());
        let whole = |ends: &[usize]| {
            let ages = &order.ages[ends[0]..ends[1]];
            let mut taken = vec![false; ages.len()];
            ages.iter()
                .all(|&age| taken.get_mut(age as usize).is_some_and(|taken| !std::mem::replace(taken, true)))
        };
        lengths && self.offsets.windows(2).all(whole)
    }

    /// Returns the order of the rows, if they have one.
    pub fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    /// Returns the times of the entries of a row, columns ascending, where all times are known.
    pub fn times(&self, row: usize) -> Option<&[i64]> {
        let times = self.order.as_ref()?.times.as_ref()?;
        Some(&times[self.offsets[row]..self.offsets[row + 1]])
    }

    /// Returns the entries of a row, the oldest first; columns ascend where there is no order.
    pub fn history(&self, row: usize) -> Vec<Entry> {
        let range = self.offsets[row]..self.offsets[row + 1];
        let start = range.start;
        let times = self.order.as_ref().and_then(|order| order.times.as_ref());
        let entry = |at: usize| Entry {
            col: self.cols[at],
            value: self.values[at],
            time: times.map(|times| times[at]),
        };
        let mut entries: Vec<Entry> = range.map(entry).collect();
        if let Some(order) = &self.order {
            let by_column = entries.clone();
            for (at, entry) in by_column.into_iter().enumerate() {
                let age = order.ages[start + at] as usize;
                let place = entries.len() - 1 - age;
                entries[place] = entry;
            }
        }
        entries
    }

    /// Returns the union of [`Csr::union`] of two matrices whose rows have an order: entries stand in the order of their
    /// times, this matrix's before the other's at equal times or without times.
    pub(super) fn union_in_order(&self, other: &Self, rows: impl Iterator<Item = usize>) -> Self {
        let row = |row: usize| {
            let mut all = self.history(row);
            all.extend(other.history(row).into_iter().filter(|entry| !self.contains(row, entry.col)));
            all.sort_by_key(|entry| entry.time);
            all
        };
        Self::from_histories(self.n_cols, rows.map(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(col: u32, time: i64) -> Entry {
        Entry { col, value: col as f32, time: Some(time) }
    }

    fn cols(matrix: &Csr, row: usize) -> Vec<u32> {
        matrix.history(row).iter().map(|entry| entry.col).collect()
    }

    #[test]
    fn a_history_comes_back_and_of_a_repeated_column_the_newest_counts() {
        let newest = Entry { value: 7.0, ..entry(2, 9) };
        let matrix = Csr::from_histories(4, [vec![entry(2, 1), entry(3, 2), entry(0, 2), newest], vec![]]);
        assert_eq!(matrix.history(0), [entry(3, 2), entry(0, 2), newest]);
        assert_eq!(matrix.row(0), (&[0, 2, 3][..], &[0.0, 7.0, 3.0][..]));
        let order = matrix.order().unwrap();
        assert_eq!((&order.ages[..], order.times.as_deref()), (&[1, 0, 2][..], Some(&[2, 9, 2][..])));
        assert!(matrix.history(1).is_empty());
        assert_eq!(matrix.clone().with_order(order.clone()), matrix);
        let untimed = Csr::from_histories(4, [vec![entry(1, 1), Entry { time: None, ..entry(0, 0) }]]);
        assert_eq!(untimed.order(), Some(&Order { ages: vec![0, 1], times: None }));
        assert_eq!((matrix.times(0), matrix.times(1)), (Some(&[2, 9, 2][..]), Some(&[][..])));
        assert_eq!(untimed.times(0), None);
    }

    #[test]
    fn a_union_stands_in_the_order_of_times_and_ours_come_first_at_equal_ones() {
        let ours = Csr::from_histories(5, [vec![entry(4, 3), entry(1, 3)], vec![entry(0, 1)]]);
        let more = vec![entry(0, 1), Entry { value: 9.0, ..entry(4, 2) }, entry(2, 3), entry(3, 4)];
        let theirs = Csr::from_histories(5, [more, vec![]]);
        let both = ours.union(&theirs, [1, 0].into_iter());
        assert_eq!((cols(&both, 0), cols(&both, 1)), (vec![0], vec![0, 4, 1, 2, 3]));
        assert_eq!(both.row(1).1[4], 4.0, "ours where both have one");
        let unordered = Csr::new(5, vec![0, 0, 0], vec![], vec![]);
        assert_eq!(ours.union(&unordered, 0..2).order(), None);
        assert_eq!(cols(&both.select_rows([1].into_iter()), 0), cols(&both, 1));
    }

    #[test]
    fn an_order_that_does_not_fit_is_seen() {
        let matrix = Csr::new(3, vec![0, 2, 3], vec![0, 2, 1], vec![1.0; 3]);
        let takes =
            |ages: &[u32], times: Option<Vec<i64>>| matrix.takes(&Order { ages: ages.to_vec(), times });
        assert!(takes(&[1, 0, 0], None) && takes(&[0, 1, 0], Some(vec![5, 4, 3])));
        assert!(!takes(&[1, 1, 0], None) && !takes(&[1, 2, 0], None) && !takes(&[1, 0], None));
        assert!(!takes(&[1, 0, 0], Some(vec![1])));
    }
}
