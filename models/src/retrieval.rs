//! Weights of values from text retrieval, with items as documents and users as terms: tf-idf and BM25 as in
//! `implicit.nearest_neighbours`.

use burnrec_data::Csr;

/// Returns the inverse document frequency of a user of `[users, n_items]`: the more items a user has, the less each says.
pub fn inverse_frequency(rows: &Csr, user: usize) -> f64 {
    (rows.n_cols() as f64).ln() - (rows.row(user).0.len() as f64).ln_1p()
}

/// Returns the weight of a value by tf-idf.
pub fn tfidf(value: f32, inverse_frequency: f64) -> f64 {
    f64::from(value).sqrt() * inverse_frequency
}

/// Returns the weight of a value by Okapi BM25. `k1` is how slowly a value saturates, `norm` that of [`bm25_norms`].
pub fn bm25(value: f32, k1: f64, norm: f64, inverse_frequency: f64) -> f64 {
    let value = f64::from(value);
    value * (k1 + 1.0) / (k1 * norm + value) * inverse_frequency
}

/// Returns the norm of each item, `1 - b + b * sum of the item's values / mean of these sums`: how much a value of the
/// item is scaled down.
pub fn bm25_norms(train: &Csr, b: f64) -> Vec<f32> {
    let mut sums = vec![0.0f64; train.n_cols()];
    for (&item, &value) in train.cols().iter().zip(train.values()) {
        sums[item as usize] += f64::from(value);
    }
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    let share = |sum: f64| if mean > 0.0 { sum / mean } else { 1.0 };
    sums.into_iter().map(|sum| (1.0 - b + b * share(sum)) as f32).collect()
}
