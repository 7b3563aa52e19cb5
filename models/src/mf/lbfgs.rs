//! Minimises a smooth convex function.

/// How many earlier steps L-BFGS remembers.
const MEMORY: usize = 12;

/// A search for the minimum by L-BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with backtracking. It can go on with
/// another function of about the same curvature.
pub struct Search {
    /// The best point so far.
    pub x: Vec<f64>,
    steps: Vec<Step>,
}

struct Step {
    /// The change of the point.
    s: Vec<f64>,
    /// The change of the gradient.
    y: Vec<f64>,
    /// The product of the two.
    sy: f64,
}

impl Search {
    /// Starts at a point.
    pub fn new(x: Vec<f64>) -> Self {
        Self { x, steps: Vec::new() }
    }

    /// Goes on until one more full step can lower the value by no more than `tolerance` of it. `f` returns the value at a point
    /// and writes the gradient.
    pub fn descend(&mut self, tolerance: f64, mut f: impl FnMut(&[f64], &mut [f64]) -> f64) {
        let mut gradient = vec![0.0; self.x.len()];
        let mut value = f(&self.x, &mut gradient);
        for _ in 0..100 {
            let direction = self.direction(&gradient);
            let derivative = dot(&gradient, &direction);
            if -derivative <= tolerance * value.abs() {
                return;
            }
            let first = self.steps.is_empty();
            let mut length = if first { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
            let mut next_gradient = vec![0.0; self.x.len()];
            let (next, next_value) = loop {
                let next: Vec<f64> = self.x.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
                let next_value = f(&next, &mut next_gradient);
                if next_value <= value + 1e-4 * length * derivative {
                    break (next, next_value);
                }
                length /= 2.0;
                if length < 1e-10 {
                    // Rounding hides any further descent.
                    return;
                }
            };
            let s: Vec<f64> = next.iter().zip(&self.x).map(|(next, x)| next - x).collect();
            let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, old)| next - old).collect();
            let sy = dot(&s, &y);
            if sy > 0.0 {
                if self.steps.len() == MEMORY {
                    self.steps.remove(0);
                }
                self.steps.push(Step { s, y, sy });
            }
            (self.x, value, gradient) = (next, next_value, next_gradient);
        }
    }

    /// Returns the direction of the next step by the two-loop recursion: minus the gradient times the inverse Hessian that the
    /// earlier steps approximate.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut shares = Vec::with_capacity(self.steps.len());
        for Step { s, y, sy } in self.steps.iter().rev() {
            let share = dot(s, &direction) / sy;
            add(&mut direction, -share, y);
            shares.push(share);
        }
        if let Some(Step { y, sy, .. }) = self.steps.last() {
            let scale = sy / dot(y, y);
            direction.iter_mut().for_each(|d| *d *= scale);
        }
        for (Step { s, y, sy }, share) in self.steps.iter().zip(shares.into_iter().rev()) {
            let correction = share - dot(y, &direction) / sy;
            add(&mut direction, correction, s);
        }
        direction
    }
}

/// Returns the dot product, in four sums side by side.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0.0; 4];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// Adds `factor * b` to `a`.
pub fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}
