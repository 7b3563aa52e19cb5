//! Eigenvalues and eigenvectors of a small symmetric matrix, in f64.
//!
//! Householder's reduction to tridiagonal form, then QL with implicit shifts (Wilkinson and Reinsch 1971, tred2 and
//! tql2), with eigenvectors kept as rows, so that every loop reads memory in order.

use crate::simd::{Kernel, Simd};

/// `a = sum over k of values[k] vectors[k] vectors[k]^T`, the vectors orthonormal rows.
pub struct Eigen {
    /// `[n]`, in no order.
    pub values: Vec<f64>,
    /// `[n, n]`: each row is an eigenvector.
    pub vectors: Vec<f64>,
}

/// The eigendecomposition of `a`, `[n, n]`, as a kernel to dispatch.
pub struct Decompose<'a> {
    /// Symmetric, row-major.
    pub a: &'a [f64],
    /// The number of its rows.
    pub n: usize,
}

impl Kernel for Decompose<'_> {
    type Output = Eigen;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Eigen {
        let (mut diagonal, mut off_diagonal, mut vectors) = tridiagonal(self.a.to_vec(), self.n);
        diagonalise(&mut diagonal, &mut off_diagonal, &mut vectors);
        Eigen { values: diagonal, vectors }
    }
}

/// Reduces `a` to the tridiagonal `H a H^T`: returns its diagonal, its off-diagonal, and the orthogonal `H`.
#[inline(always)]
fn tridiagonal(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut h = vec![0.0; n * n];
    (0..n).for_each(|k| h[k * n + k] = 1.0);
    let mut off_diagonal = vec![0.0; n];
    let (mut v, mut w, mut p) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    for k in 0..n.saturating_sub(1) {
        let start = k + 1;
        v.copy_from_slice(&a[k * n..(k + 1) * n]);
        v[..start].fill(0.0);
        let norm = dot(&v, &v).sqrt();
        if norm == v[start].abs() {
            off_diagonal[k] = v[start];
            continue;
        }
        off_diagonal[k] = if v[start] > 0.0 { -norm } else { norm };
        v[start] -= off_diagonal[k];
        let beta = 2.0 / dot(&v, &v);

        for i in start..n {
            p[i] = beta * dot(&a[i * n + start..(i + 1) * n], &v[start..]);
        }
        p[..start].fill(0.0);
        let half = 0.5 * beta * dot(&p, &v);
        for i in start..n {
            w[i] = p[i] - half * v[i];
        }
        for i in start..n {
            let (vi, wi) = (v[i], w[i]);
            let row = &mut a[i * n + start..(i + 1) * n];
            for ((a, v), w) in row.iter_mut().zip(&v[start..]).zip(&w[start..]) {
                *a -= vi * w + wi * v;
            }
        }

        w.fill(0.0);
        for i in start..n {
            add(&mut w, beta * v[i], &h[i * n..(i + 1) * n]);
        }
        for i in start..n {
            add(&mut h[i * n..(i + 1) * n], -v[i], &w);
        }
    }
    ((0..n).map(|k| a[k * n + k]).collect(), off_diagonal, h)
}

/// Turns the diagonal `d` into the eigenvalues, and rotates the rows of `vectors` with it; `e` is the off-diagonal.
#[inline(always)]
fn diagonalise(d: &mut [f64], e: &mut [f64], vectors: &mut [f64]) {
    let n = d.len();
    for low in 0..n {
        // Three rounds per eigenvalue are usual; the bound only ends the loop on values that are not finite.
        for _ in 0..64 {
            let small = |m: usize| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs());
            let high = (low..n - 1).find(|&m| small(m)).unwrap_or(n - 1);
            if high == low {
                break;
            }
            let mut g = (d[low + 1] - d[low]) / (2.0 * e[low]);
            g = d[high] - d[low] + e[low] / (g + g.hypot(1.0).copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (low..high).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[high] = 0.0;
                    split = true;
                    break;
                }
                s = f / r;
                c = g / r;
                g = d[i + 1] - p;
                let t = (d[i] - g) * s + 2.0 * c * b;
                p = s * t;
                d[i + 1] = g + p;
                g = c * t - b;
                let (first, second) = vectors[i * n..(i + 2) * n].split_at_mut(n);
                for (x, y) in first.iter_mut().zip(second) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
            if !split {
                d[low] -= p;
                e[low] = g;
                e[high] = 0.0;
            }
        }
    }
}

/// Returns the dot product, in eight separate sums, so that the compiler can use vector instructions.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_rest, b_rest) = (a.chunks_exact(8).remainder(), b.chunks_exact(8).remainder());
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[inline(always)]
fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;

    #[test]
    fn the_parts_are_orthonormal_and_make_the_whole() {
        for n in [1, 2, 3, 16, 33, 64, 130] {
            // Of rank two thirds, so that some eigenvalues are 0 and repeated.
            let rank = n * 2 / 3 + 1;
            let b: Vec<f64> =
                (0..n * rank).map(|k| ((k * k * 31 + k * 17) % 101) as f64 / 50.0 - 1.0).collect();
            let of = |i: usize, j: usize| (0..rank).map(|r| b[i * rank + r] * b[j * rank + r]).sum::<f64>();
            let a: Vec<f64> = (0..n * n).map(|k| of(k / n, k % n)).collect();
            let Eigen { values, vectors } = Isa::best().run(Decompose { a: &a, n });
            let scale = values.iter().copied().fold(0.0, f64::max);
            for i in 0..n {
                for j in 0..n {
                    let whole: f64 =
                        (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                    assert!((whole - a[i * n + j]).abs() < 1e-12 * scale * n as f64, "n {n}, cell {i} {j}");
                    let unit = dot(&vectors[i * n..(i + 1) * n], &vectors[j * n..(j + 1) * n]);
                    assert!((unit - f64::from(i == j)).abs() < 1e-12 * n as f64, "n {n}, vectors {i} {j}");
                }
            }
        }
    }

    #[test]
    fn zero_and_diagonal_matrices_are_fine() {
        let zero = Isa::best().run(Decompose { a: &[0.0; 9], n: 3 });
        assert_eq!(zero.values, [0.0; 3]);
        let a = [3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0];
        let mut values = Isa::best().run(Decompose { a: &a, n: 3 }).values;
        values.sort_by(f64::total_cmp);
        assert_eq!(values, [1.0, 2.0, 3.0]);
    }
}
