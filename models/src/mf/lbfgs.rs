//! Minimises a smooth convex function.

/// How many earlier steps L-BFGS remembers.
const MEMORY: usize = 10;

/// Returns the minimum of a smooth convex function, by L-BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with
/// backtracking. `f` returns the value at a point and writes the gradient. The search ends where one more full step can lower
/// the value by no more than `tolerance` of it.
pub fn minimise(mut x: Vec<f64>, tolerance: f64, mut f: impl FnMut(&[f64], &mut [f64]) -> f64) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    let mut value = f(&x, &mut gradient);
    let mut steps: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for _ in 0..100 {
        let direction = descent(&gradient, &steps);
        let derivative = dot(&gradient, &direction);
        if -derivative <= tolerance * value.abs() {
            break;
        }
        let mut length = if steps.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let mut next_gradient = vec![0.0; x.len()];
        let (next, next_value) = loop {
            let next: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let next_value = f(&next, &mut next_gradient);
            if next_value <= value + 1e-4 * length * derivative {
                break (next, next_value);
            }
            length /= 2.0;
            if length < 1e-10 {
                // Rounding hides any further descent.
                return x;
            }
        };
        let s: Vec<f64> = next.iter().zip(&x).map(|(next, x)| next - x).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, old)| next - old).collect();
        if dot(&s, &y) > 0.0 {
            if steps.len() == MEMORY {
                steps.remove(0);
            }
            steps.push((s, y));
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// Returns the direction of the next step by the two-loop recursion: minus the gradient times the inverse Hessian that
/// the earlier steps `s` and the changes `y` of the gradient over them approximate.
fn descent(gradient: &[f64], steps: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for (s, y) in steps.iter().rev() {
        let share = dot(s, &direction) / dot(s, y);
        direction.iter_mut().zip(y).for_each(|(d, y)| *d -= share * y);
        shares.push(share);
    }
    if let Some((s, y)) = steps.last() {
        let scale = dot(s, y) / dot(y, y);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((s, y), share) in steps.iter().zip(shares.into_iter().rev()) {
        let correction = share - dot(y, &direction) / dot(s, y);
        direction.iter_mut().zip(s).for_each(|(d, s)| *d += correction * s);
    }
    direction
}

/// Returns the dot product.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
