//! Small dense systems, solved plainly.

/// Solves `A X = B`, `[n, n]` and `[n, any]`, by Gauss and Jordan.
pub fn solved(mut a: Vec<Vec<f64>>, mut b: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    for k in 0..n {
        let pivot = a[k][k];
        a[k].iter_mut().chain(&mut b[k]).for_each(|x| *x /= pivot);
        for i in (0..n).filter(|&i| i != k) {
            let (factor, row, right) = (a[i][k], a[k].clone(), b[k].clone());
            a[i].iter_mut().zip(&row).for_each(|(x, y)| *x -= factor * y);
            b[i].iter_mut().zip(&right).for_each(|(x, y)| *x -= factor * y);
        }
    }
    b
}
