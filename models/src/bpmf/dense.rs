//! Small dense symmetric systems in f64. Matrices are `[n, n]`, row-major; `U` is upper triangular with `A = U^T U`.

/// Replaces the upper triangle of `a` by its `U`; false where `a` is not positive definite.
#[must_use]
pub fn factor(a: &mut [f64], n: usize) -> bool {
    for k in 0..n {
        let (above, below) = a.split_at_mut((k + 1) * n);
        let row = &mut above[k * n..];
        if row[k].is_nan() || row[k] <= 0.0 {
            return false;
        }
        let pivot = row[k].sqrt();
        row[k..].iter_mut().for_each(|x| *x /= pivot);
        for (i, below) in (k + 1..n).zip(below.chunks_exact_mut(n)) {
            let factor = row[i];
            below[i..].iter_mut().zip(&row[i..]).for_each(|(to, x)| *to -= factor * x);
        }
    }
    true
}

/// Replaces `b` by the solution `x` of `U x = b`.
pub fn solve_upper(u: &[f64], n: usize, b: &mut [f64]) {
    for k in (0..n).rev() {
        let row = &u[k * n..(k + 1) * n];
        let known: f64 = row[k + 1..].iter().zip(&b[k + 1..]).map(|(u, x)| u * x).sum();
        b[k] = (b[k] - known) / row[k];
    }
}

/// Replaces `b` by the solution `x` of `U^T x = b`.
pub fn solve_lower(u: &[f64], n: usize, b: &mut [f64]) {
    for k in 0..n {
        b[k] /= u[k * n + k];
        let x = b[k];
        b[k + 1..].iter_mut().zip(&u[k * n + k + 1..(k + 1) * n]).for_each(|(b, u)| *b -= u * x);
    }
}
