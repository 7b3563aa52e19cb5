//! A sparse matrix by rows.

mod order;
mod shared;

use crate::{Error, ItemIx, Result, UserIx};

pub use order::{Entry, Order};
pub use shared::{Foreign, Shared};

/// A sparse matrix in compressed sparse rows; the columns of a row ascend and do not repeat. Rows may have an [`Order`] in
/// time.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    n_cols: usize,
    offsets: Vec<usize>,
    cols: Shared<u32>,
    values: Shared<f32>,
    order: Option<Order>,
}

impl Csr {
    /// Builds a matrix from its arrays: row `r` holds `cols[offsets[r]..offsets[r + 1]]` and the `values` beside them.
    ///
    /// # Panics
    /// When the offsets do not start at 0, ascend and end at the number of entries, or a row's columns are
    /// not ascending and below `n_cols`.
    pub fn new(n_cols: usize, offsets: Vec<usize>, cols: Vec<u32>, values: Vec<f32>) -> Self {
        Self::of_arrays(n_cols, offsets, cols, values).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Does the same as [`Csr::new`] with arrays that may be those of another owner, which are then read where they lie.
    ///
    /// # Errors
    /// Where [`Csr::new`] panics.
    pub fn of_arrays(
        n_cols: usize,
        offsets: Vec<usize>,
        cols: impl Into<Shared<u32>>,
        values: impl Into<Shared<f32>>,
    ) -> Result<Self> {
        let (cols, values) = (cols.into(), values.into());
        let refused =
            |what: &str, found: String, expected: String| Err(Error::setting(what, found, expected));
        let nnz = cols.len();
        if values.len() != nnz {
            return refused(
                "values",
                format!("{} of them", values.len()),
                format!("one for each of {nnz} columns"),
            );
        }
        if offsets.first() != Some(&0) || offsets.last() != Some(&nnz) || !offsets.is_sorted() {
            let found = format!("{} from {:?} to {:?}", offsets.len(), offsets.first(), offsets.last());
            return refused(
                "offsets",
                found,
                format!("ascending ones from 0 to {nnz}, the number of entries"),
            );
        }
        for (row, ends) in offsets.windows(2).enumerate() {
            let cols = &cols[ends[0]..ends[1]];
            if !cols.is_sorted_by(|a, b| a < b) {
                return refused(
                    "matrix",
                    format!("row {row} unsorted or with repeats"),
                    "columns of each row that ascend".into(),
                );
            }
            if let Some(last) = cols.last().filter(|&&col| col as usize >= n_cols) {
                return refused(
                    "matrix",
                    format!("column {last} in row {row}"),
                    format!("columns below {n_cols}"),
                );
            }
        }
        Ok(Self { n_cols, offsets, cols, values, order: None })
    }

    /// Builds a matrix without entries.
    pub fn empty(n_rows: usize, n_cols: usize) -> Self {
        Self::of(n_cols, vec![0; n_rows + 1], Vec::new(), Vec::new())
    }

    /// Builds a matrix of arrays that are right, without an order.
    fn of(n_cols: usize, offsets: Vec<usize>, cols: Vec<u32>, values: Vec<f32>) -> Self {
        Self { n_cols, offsets, cols: cols.into(), values: values.into(), order: None }
    }

    /// Builds a matrix from interactions in any order; of a repeated pair, the last value counts.
    pub fn from_rows(
        n_users: usize,
        n_items: usize,
        users: &[UserIx],
        items: &[ItemIx],
        values: &[f32],
    ) -> Self {
        // Two stable counting sorts, by item and then by user, leave each user's items ascending.
        let by_item = counting_sort(n_items, items.len(), |k| items[k].at(), |k| k as u32);
        let by_user =
            counting_sort(n_users, users.len(), |k| users[by_item.1[k] as usize].at(), |k| by_item.1[k]);
        let (starts, order) = by_user;
        let mut offsets = Vec::with_capacity(n_users + 1);
        let mut cols: Vec<u32> = Vec::with_capacity(order.len());
        let mut kept: Vec<f32> = Vec::with_capacity(order.len());
        offsets.push(0);
        for row in 0..n_users {
            let start = cols.len();
            for &k in &order[starts[row]..starts[row + 1]] {
                let (col, value) = (items[k as usize].0, values[k as usize]);
                if cols.len() > start && cols.last() == Some(&col) {
                    kept.pop();
                } else {
                    cols.push(col);
                }
                kept.push(value);
            }
            offsets.push(cols.len());
        }
        Self::of(n_items, offsets, cols, kept)
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Returns the number of columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Returns the number of entries.
    pub fn nnz(&self) -> usize {
        self.cols.len()
    }

    /// Returns where each row starts among the entries and, last, the number of entries: `n_rows + 1` offsets.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Returns the columns of all entries, row after row.
    pub fn cols(&self) -> &[u32] {
        &self.cols
    }

    /// Returns the values of all entries, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the least and the greatest value, where there is an entry.
    pub fn value_range(&self) -> Option<(f32, f32)> {
        let range = |(least, most): (f32, f32), &value: &f32| (least.min(value), most.max(value));
        self.values.first().map(|&first| self.values.iter().fold((first, first), range))
    }

    /// Returns the columns, ascending, and the values of one row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let entries = self.offsets[row]..self.offsets[row + 1];
        (&self.cols[entries.clone()], &self.values[entries])
    }

    /// Returns the entries (column, value) of one row, columns ascending.
    fn entries(&self, row: usize) -> impl Iterator<Item = (u32, f32)> {
        let (cols, values) = self.row(row);
        cols.iter().copied().zip(values.iter().copied())
    }

    /// Whether the matrix has an entry in this row and column.
    pub fn contains(&self, row: usize, col: u32) -> bool {
        self.row(row).0.binary_search(&col).is_ok()
    }

    /// Returns the transpose `[n_cols, n_rows]`, without an order.
    pub fn transpose(&self) -> Self {
        let mut offsets = vec![0usize; self.n_cols + 1];
        self.cols.iter().for_each(|&col| offsets[col as usize + 1] += 1);
        (0..self.n_cols).for_each(|col| offsets[col + 1] += offsets[col]);
        // Rows are visited in order, so that each column's rows ascend, and no scratch memory of the size of the
        // entries is needed.
        let mut next = offsets.clone();
        let (mut cols, mut values) = (vec![0u32; self.nnz()], vec![0.0f32; self.nnz()]);
        for row in 0..self.n_rows() {
            let (row_cols, row_values) = self.row(row);
            for (&col, &value) in row_cols.iter().zip(row_values) {
                let at = next[col as usize];
                next[col as usize] += 1;
                (cols[at], values[at]) = (row as u32, value);
            }
        }
        Self::of(self.n_rows(), offsets, cols, values)
    }

    /// Returns the same entries with the values that `f` computes from (row, column, value).
    pub fn map_values(&self, mut f: impl FnMut(usize, u32, f32) -> f32) -> Self {
        let mut values = Vec::with_capacity(self.nnz());
        for row in 0..self.n_rows() {
            values.extend(self.entries(row).map(|(col, value)| f(row, col, value)));
        }
        Self {
            n_cols: self.n_cols,
            offsets: self.offsets.clone(),
            cols: self.cols.clone(),
            values: values.into(),
            order: self.order.clone(),
        }
    }

    /// Returns the union of some rows of two matrices of the same width, in the order given; where both have an entry,
    /// the value is this matrix's. If the rows of both have an order, so have those of the union: by time, and at equal
    /// times this matrix's entries are the older.
    pub fn union(&self, other: &Self, rows: impl Iterator<Item = usize> + Clone) -> Self {
        if self.order.is_some() && other.order.is_some() {
            return self.union_in_order(other, rows);
        }
        let nnz = rows.clone().map(|row| self.row(row).0.len() + other.row(row).0.len()).sum();
        let mut out = Rows::with_capacity(nnz);
        for row in rows {
            let (mut ours, mut theirs) = (self.entries(row).peekable(), other.entries(row).peekable());
            while let Some((col, value)) = match (ours.peek(), theirs.peek()) {
                (Some(left), Some(right)) if left.0 == right.0 => {
                    theirs.next();
                    ours.next()
                }
                (Some(left), Some(right)) if left.0 > right.0 => theirs.next(),
                (Some(_), _) => ours.next(),
                (None, _) => theirs.next(),
            } {
                out.cols.push(col);
                out.values.push(value);
            }
            out.end_row();
        }
        out.into_csr(self.n_cols)
    }

    /// Returns the matrix without a row.
    pub fn without_row(&self, row: usize) -> Self {
        self.select_rows((0..self.n_rows()).filter(|other| *other != row))
    }

    /// Returns a matrix of the given rows, in the order given.
    pub fn select_rows(&self, rows: impl Iterator<Item = usize> + Clone) -> Self {
        if self.order.is_some() {
            return Self::from_histories(self.n_cols, rows.map(|row| self.history(row)));
        }
        let nnz = rows.clone().map(|row| self.row(row).0.len()).sum();
        let mut out = Rows::with_capacity(nnz);
        for row in rows {
            let (cols, values) = self.row(row);
            out.cols.extend_from_slice(cols);
            out.values.extend_from_slice(values);
            out.end_row();
        }
        out.into_csr(self.n_cols)
    }
}

/// The rows of a matrix that is being built.
struct Rows {
    offsets: Vec<usize>,
    cols: Vec<u32>,
    values: Vec<f32>,
}

impl Rows {
    /// Has no row, and space for `nnz` entries: growing by doubling would need twice the memory.
    fn with_capacity(nnz: usize) -> Self {
        Self { offsets: vec![0], cols: Vec::with_capacity(nnz), values: Vec::with_capacity(nnz) }
    }

    fn end_row(&mut self) {
        self.offsets.push(self.cols.len());
    }

    fn into_csr(self, n_cols: usize) -> Csr {
        Csr::of(n_cols, self.offsets, self.cols, self.values)
    }
}

/// Sorts `0..n` stably by `key` (below `n_keys`); returns the offset of each key, and `value` in sorted order.
pub(crate) fn counting_sort(
    n_keys: usize,
    n: usize,
    key: impl Fn(usize) -> usize,
    value: impl Fn(usize) -> u32,
) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0usize; n_keys + 1];
    for k in 0..n {
        starts[key(k) + 1] += 1;
    }
    for row in 0..n_keys {
        starts[row + 1] += starts[row];
    }
    let mut next = starts.clone();
    let mut order = vec![0u32; n];
    for k in 0..n {
        let slot = &mut next[key(k)];
        order[*slot] = value(k);
        *slot += 1;
    }
    (starts, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Csr {
        let users = [2, 0, 2, 0, 2].map(UserIx);
        let items = [1, 3, 0, 3, 2].map(ItemIx);
        Csr::from_rows(3, 4, &users, &items, &[1.0, 2.0, 3.0, 4.0, 5.0])
    }

    #[test]
    fn rows_ascend_and_the_last_repeat_counts() {
        let matrix = example();
        assert_eq!(matrix.row(0), (&[3][..], &[4.0][..]));
        assert_eq!(matrix.row(1).0.len(), 0);
        assert_eq!(matrix.row(2), (&[0, 1, 2][..], &[3.0, 1.0, 5.0][..]));
        assert!(matrix.contains(2, 1) && !matrix.contains(1, 1));
        Csr::new(4, matrix.offsets.clone(), matrix.cols.to_vec(), matrix.values.to_vec());
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let matrix = example();
        let transposed = matrix.transpose();
        assert_eq!(transposed.row(3), (&[0][..], &[4.0][..]));
        assert_eq!(transposed.transpose(), matrix);
    }

    #[test]
    fn a_union_has_the_entries_of_both_and_ours_where_both_have_one() {
        let (a, b) = (example(), example().map_values(|_, _, _| 9.0));
        let other = Csr::new(4, vec![0, 2, 3, 3], vec![0, 3, 1], vec![7.0, 8.0, 6.0]);
        assert_eq!(a.union(&b, 0..3), a);
        let both = a.union(&other, [1, 0].into_iter());
        assert_eq!(both.row(0), (&[1][..], &[6.0][..]));
        assert_eq!(both.row(1), (&[0, 3][..], &[7.0, 4.0][..]));
    }

    #[test]
    #[should_panic(expected = "found row 0 unsorted or with repeats")]
    fn unsorted_columns_are_refused() {
        Csr::new(3, vec![0, 2], vec![1, 0], vec![0.0, 0.0]);
    }

    #[test]
    fn arrays_of_another_owner_are_read_where_they_lie() {
        let cols: Foreign<u32> = std::sync::Arc::new(vec![0, 2, 1]);
        let values: Foreign<f32> = std::sync::Arc::new(vec![1.0, 2.0, 3.0]);
        let lies_at = (*values).as_ref().as_ptr();
        let matrix = Csr::of_arrays(3, vec![0, 2, 3], cols, values).unwrap();
        assert_eq!(matrix, Csr::new(3, vec![0, 2, 3], vec![0, 2, 1], vec![1.0, 2.0, 3.0]));
        assert_eq!(matrix.clone().values().as_ptr(), lies_at);
        assert_eq!(matrix.map_values(|_, _, value| -value).row(0).1, [-1.0, -2.0]);
        let refused = |n_cols, offsets: &[usize], cols: &[u32]| {
            Csr::of_arrays(n_cols, offsets.to_vec(), cols.to_vec(), vec![1.0; 2]).unwrap_err().to_string()
        };
        assert_eq!(refused(2, &[0, 2], &[0, 2]), "matrix: found column 2 in row 0, expected columns below 2");
        assert!(refused(2, &[0, 2, 1, 2], &[0, 1]).starts_with("offsets: found 4 from Some(0)"));
        assert!(refused(2, &[], &[0, 1]).starts_with("offsets: found 0"));
        assert!(refused(2, &[0, 1], &[0]).starts_with("values: found 2 of them"));
    }
}
