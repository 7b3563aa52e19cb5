//! Vectors of AVX-512F.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Proof that the processor has AVX-512F.
#[derive(Clone, Copy)]
pub struct Avx512(());

/// Runs a kernel compiled for AVX-512F.
///
/// # Safety
/// The processor has AVX-512F.
#[target_feature(enable = "avx512f,avx2,fma")]
pub unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

// SAFETY of every block below: an `Avx512` is only made where the processor has the instruction set; the pointers are
// as good as the callers of `load` and `store` say.
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn sums(self, v: [Self::V; 8]) -> [f32; 8] {
        // A tree that halves eight vectors together: 23 instructions instead of 8 times 8.
        unsafe {
            let low = fours(pairs(v[0], v[1]), pairs(v[2], v[3]));
            let high = fours(pairs(v[4], v[5]), pairs(v[6], v[7]));
            let both = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(low, high),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(low, high),
            );
            let sums = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b00_00_10_00>(both, both),
                _mm512_shuffle_f32x4::<0b00_00_11_01>(both, both),
            );
            let mut out = [0.0; 8];
            _mm256_storeu_ps(out.as_mut_ptr(), _mm512_castps512_ps256(sums));
            out
        }
    }
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// Adds neighbours in pairs: returns for each 128 bits `[a0 + a2, b0 + b2, a1 + a3, b1 + b3]`.
#[inline(always)]
unsafe fn pairs(a: __m512, b: __m512) -> __m512 {
    unsafe { _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)) }
}

/// Adds up two results of [`pairs`]: returns for each 128 bits the sums of all four of a, b, c and d.
#[inline(always)]
unsafe fn fours(ab: __m512, cd: __m512) -> __m512 {
    unsafe {
        let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
        let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
        _mm512_add_ps(low, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)))
    }
}
