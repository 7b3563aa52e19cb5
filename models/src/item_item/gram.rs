//! X'X of histories, item by item.

use burnrec_data::Csr;

/// Adds to `out[j]`, for each item `j` that it has a place for, how many users of `rows`, `[n_users, n_items]`, have both `j` and
/// `item`; `columns` is the transpose of `rows`. Counts are whole numbers, so that their order changes nothing.
pub fn add_common_users(rows: &Csr, columns: &Csr, item: usize, out: &mut [f64]) {
    for &user in columns.row(item).0 {
        let items = rows.row(user as usize).0;
        let n = items.partition_point(|&other| (other as usize) < out.len());
        items[..n].iter().for_each(|&other| out[other as usize] += 1.0);
    }
}
