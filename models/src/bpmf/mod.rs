//! Bayesian matrix factorisation by Gibbs sampling (Salakhutdinov and Mnih 2008, "Bayesian Probabilistic Matrix Factorization
//! using Markov Chain Monte Carlo"), with biases and, on demand, the implicit term of SVD++ (Koren 2008).
//!
//! With `x_u = (p_u, b_u)` and `y_i = (q_i, b_i)`, vectors of `width = dim + 1`,
//!
//! ```text
//! r_ui ~ N(mean + b_u + b_i + p_u . q_i, 1 / a)        a ~ Gamma(1, 1)
//! x_u  ~ N(m_X + s_u, L_X^-1)                          m_X, L_X ~ NormalWishart(0, 2, width, I)
//! y_i  ~ N(m_Y + s_i, L_Y^-1)                          m_Y, L_Y likewise
//! s_u  = sum over items i of u of c_i / sqrt(n_u)      c_i ~ N(0, (k L_X)^-1), k ~ Gamma(1, 1)
//! ```
//!
//! where `s_u` is there with `implicit = "users"` or `"both"`, else 0: what a user has rated, whatever the values, shifts
//! the mean of the user's prior. With `"both"`, `s_i` is the same of the users who rated an item, with effects `d_u` of users
//! (the "flipped" model of Rendle, Zhang and Koren 2019, "On the Difficulty of Evaluating Baselines"); else it is 0. Such a
//! prior is that of Simm et al. 2017, "Macau", with the rated items as side information.
//!
//! With `item_bins` and `user_span` biases change over time (Koren 2009, "Collaborative Filtering with Temporal Dynamics", section
//! 3.2): the mean of `r_ui` at the time `t` has two more terms,
//!
//! ```text
//! b_i,bin(t)  ~ N(0, 1 / k_B)                          k_B ~ Gamma(1, 1)     of bins of equal width
//! b_u,span(t) ~ N(0, 1 / k_S)                          k_S ~ Gamma(1, 1)     of so many of the user's rows each
//! ```
//!
//! One epoch is a sweep, which draws each of these given all the others: of the items' side the prior, the effects and the
//! rows, then the same of the users' side, then the biases of spans and of bins, and `a`. A user's row and the biases of the
//! user's spans are drawn together, first the row with these biases integrated out: so a row is a function of a history alone,
//! for users of training and others. A row given the other side is normal, with the normal equations of ALS, less a term for each span:
//! precision `L + a sum y_i y_i^T` and mean its inverse times `L (m + s_u) + a sum (r_ui - mean - b_i) (q_i, 1)`
//! ([`RowPosterior`]).
//!
//! A prediction is the mean over kept sweeps, each with a user's mean given the items of that sweep in place of the user's
//! draw (Rao and Blackwell: the same expectation with less variance), so that a user of training and one who is folded in
//! are computed alike. The kept samples side by side are vectors of `samples * dim`, of which one dot product is the mean of
//! all. All draws are functions of the seed, the sweep and the row: bits do not depend on the number of threads.

mod config;
mod dense;
#[cfg(feature = "train")]
mod effects;
mod groups;
#[cfg(feature = "train")]
mod learner;
mod model;
#[cfg(feature = "train")]
mod over_time;
mod posterior;
#[cfg(feature = "train")]
mod prior;
mod sample;
mod source;

pub use config::{BpmfConfig, Implicit};
#[cfg(feature = "train")]
pub use effects::Effects;
#[cfg(feature = "train")]
pub use groups::Biases;
pub use groups::{Groups, RowSpans, Spans};
#[cfg(feature = "train")]
pub use learner::BpmfLearner;
pub use model::BpmfModel;
pub use posterior::{Given, RowPosterior};
#[cfg(feature = "train")]
pub use prior::Prior;
pub use source::Source;
