//! The inner loops of a row's solution. Rows are padded to whole cache lines ([`super::lines`]), so no loop has a tail.
//!
//! All are `#[inline(always)]` and generic over [`Simd`](crate::simd::Simd): its module says why.

mod cholesky;
mod product;
mod rows;
mod update;

pub use cholesky::{LEAST_PIVOT, factorise, solve_factorised, solve_lower, solve_upper};
pub use product::{Panels, product_row_block};
pub use rows::{Entries, combine, gather, observe, scores};
pub use update::add_weighted;
