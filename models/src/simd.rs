//! The processor's vector instructions behind one trait, chosen when the program runs.
//!
//! An algorithm is written once, over [`Simd`]. [`Isa::run`] compiles it for every instruction set by inlining it
//! into a function that has the instructions enabled; so every function on the way down to an instruction must be
//! `#[inline(always)]`, or it is compiled without them and each instruction becomes a call.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

/// Vectors of f32 and what can be done to them. Implementors prove by existing that the processor has the
/// instructions.
pub trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// How many numbers a vector holds: 4, 8 or 16.
    const LANES: usize;

    /// A vector of one number.
    fn splat(self, x: f32) -> Self::V;
    /// The numbers from `from` on.
    ///
    /// # Safety
    /// `LANES` numbers can be read there.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Stores the numbers from `to` on.
    ///
    /// # Safety
    /// `LANES` numbers can be written there.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// `a * b + c`.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// The sums of eight vectors.
    fn sums(self, v: [Self::V; 8]) -> [f32; 8];
    /// A hint that the cache line at `at` will be read; harmless whatever is there.
    fn prefetch(self, at: *const f32);
}

/// Work that any instruction set can do.
pub trait Kernel {
    /// What comes out.
    type Output;
    /// Does it; must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a plain loop compiled for the best instruction set of this processor, for the compiler to vectorise.
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

/// The sum of `a[k] * b[k]`, in sixteen sums side by side, so that the compiler can use wide registers.
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
    /// The best one of this processor.
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

    /// Plain Rust, which every processor runs and the others are tested against.
    pub fn portable() -> Self {
        Self(Set::Portable)
    }

    /// All of this processor, the best first.
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

    /// Does the work with these instructions.
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
