//! Functions for loops that the compiler vectorises: they are made of arithmetic alone, where those of the standard library
//! are calls.

/// Returns `e^x` within 2e-7 of it; 0 below -87.3, and beyond 88 the value at 88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let least = -87.3;
    let limited = x.clamp(least, 88.0);
    // A sum with this has the nearest whole number in its last bits: conversions to integers are not vectorised.
    const WHOLE: f32 = 12_582_912.0;
    let shifted = limited * std::f32::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    let r = (limited - n * LN2[0]) - n * LN2[1];
    // The series of e^r for |r| <= ln 2 / 2, with the last coefficients fitted (Cephes, expf).
    let series = ((((1.987_569_1e-4 * r + 1.398_2e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r
        + 1.666_666_5e-1)
        * r
        + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let e = (series * r * r + r + 1.0) * power;
    if x < least { 0.0 } else { e }
}

/// Returns `ln(1 + x)` for x from 0 to 1, within 4e-7 of it.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    // ln(1 + x) = 2 artanh(x / (2 + x)), of which the argument is at most 1/3.
    let t = x / (2.0 + x);
    let s = t * t;
    let series = ((((s * (1.0 / 11.0) + 1.0 / 9.0) * s + 1.0 / 7.0) * s + 0.2) * s + 1.0 / 3.0) * s + 1.0;
    2.0 * t * series
}

#[cfg(test)]
mod tests {
    use super::{exp, ln_1p};

    #[test]
    fn they_are_those_of_the_standard_library() {
        for step in -88_000..=88_000 {
            let x = step as f32 / 1000.0;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) - expected).abs() <= 2e-7 * expected + 1e-37, "exp({x})");
        }
        for step in 0..=100_000 {
            let x = step as f32 / 100_000.0;
            let expected = f64::from(x).ln_1p();
            assert!((f64::from(ln_1p(x)) - expected).abs() <= 4e-7 * expected, "ln_1p({x})");
        }
        assert_eq!((exp(-1e30), exp(f32::NEG_INFINITY), exp(0.0)), (0.0, 0.0, 1.0));
        assert!(exp(f32::INFINITY).is_finite() && ln_1p(0.0) == 0.0);
    }
}
