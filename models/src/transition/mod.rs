//! Transitions between items as a linear model in closed form (Choi et al. 2021, "Session-aware Linear Item-Item Models for
//! Session-based Recommendation", arXiv 2103.16104: SLIT).
//!
//! Each row of a user but the first is a target: with its item `i_n` at place `n` of the user's history, the source and the
//! target are
//!
//! ```text
//! s_n = sum over k = 1..window of e^(-(k - 1) / decay) e_(i_(n-k))        t_n = e_(i_n)
//! ```
//!
//! with `e_i` the unit vector of item `i`. With all of them as the rows of `S` and `T`, training minimises
//! `|S B - T|^2 + reg |B|^2`, whose solution is `B = (S^T S + reg I)^-1 S^T T`, `[n_items, n_items]`. A user's scores are
//! `s B`, with `s` the source of the place after the user's newest row: they follow from the last rows of any history, so
//! that users without a row in training are served as others are. Values of rows do not count.

#[cfg(feature = "train")]
mod closed_form;
mod config;
#[cfg(feature = "train")]
mod learner;
mod model;

pub use config::TransitionConfig;
#[cfg(feature = "train")]
pub use learner::TransitionLearner;
pub use model::Transition;
