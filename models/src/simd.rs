//! SIMD with dispatch at run time: the program finds out which instruction sets the processor has, and uses the best.
//!
//! An algorithm is written once, as a [`Kernel`] over [`Simd`]. [`Isa::run`] dispatches it: the kernel is inlined into
//! one function for each instruction set, which is compiled with that set enabled. So every function that a kernel
//! calls must be `#[inline(always)]`, or it is compiled without the instruction set and each operation becomes a call.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod exp;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

/// Vectors of f32 and the operations on them. A value of an implementor proves that the processor has its instruction
/// set.
pub trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// The number of values in a vector: 4, 8 or 16.
    const LANES: usize;

    /// Returns a vector with `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// Loads the values from `from` on.
    ///
    /// # Safety
    /// `LANES` values can be read there.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Stores the values from `to` on.
    ///
    /// # Safety
    /// `LANES` values can be written there.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// Returns `a * b + c`, lane by lane.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Returns `a * b`, lane by lane.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns the sums of the lanes of eight vectors.
    fn sums(self, v: [Self::V; 8]) -> [f32; 8];
    /// Prefetches the cache line at `at`; harmless whatever is there.
    fn prefetch(self, at: *const f32);
}

/// Work that can be dispatched to any instruction set.
pub trait Kernel {
    /// The result.
    type Output;
    /// Does the work; must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Dispatches a plain loop to the best instruction set of this processor, for the compiler to vectorise.
#[inline]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    struct Plain<F>(F);
    impl<R, F: FnOnce() -> R> Kernel for Plain<F> {
        type Output = R;
        #[inline(always)]
        fn run<S: Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    Isa::best().run(Plain(work))
}

/// Returns the sum of `a[k] * b[k]`, in sixteen sums side by side, so that the compiler can use wide registers.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a_blocks, b_blocks) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum::<f32>() + tail
}

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// Returns the best instruction set of this processor.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self(Set::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self(Set::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Self(Set::Neon);
        }
        Self::portable()
    }

    /// Returns plain Rust, which every processor runs and the others are tested against.
    pub fn portable() -> Self {
        Self(Set::Portable)
    }

    /// Returns all instruction sets of this processor, the best first.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::best()];
        #[cfg(target_arch = "x86_64")]
        if all[0] == Self(Set::Avx512) && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
        {
            all.push(Self(Set::Avx2));
        }
        if all[0] != Self::portable() {
            all.push(Self::portable());
        }
        all
    }

    /// Dispatches the work to this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Set::Portable => kernel.run(portable::Portable),
            // SAFETY: an `Isa` of these sets is only made after the processor was asked for their features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { avx512::run(kernel) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { neon::run(kernel) },
        }
    }
}
