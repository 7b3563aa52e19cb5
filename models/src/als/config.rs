//! The settings of ALS and the equation that they fill in.

use serde::{Deserialize, Serialize};

/// Settings of alternating least squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlsConfig {
    /// Whether values are ratings to meet or weights of what was taken.
    pub feedback: Feedback,
    /// Length of the factor vectors.
    pub dim: usize,
    /// Strength of the regulariser, before `reg_scaling`.
    pub reg: f32,
    /// By what `reg` is multiplied in each row.
    pub reg_scaling: RegScaling,
    /// The exponent of `reg_scaling = "frequency"`.
    pub nu: f32,
    /// Slope of the confidence: an observed cell weighs `confidence_base + alpha * value`.
    pub alpha: f32,
    /// Weight of an observed cell of value 0.
    pub confidence_base: f32,
    /// Weight of `s^2` over the cells that count as unobserved.
    pub unobserved_weight: f32,
    /// Whether `s^2` is summed over all cells (Rendle 2021) or only over the unobserved ones (Hu 2008).
    pub unobserved_over_all: bool,
    /// What is done to the values before training.
    pub weighting: Weighting,
    /// Whether factors must not be negative.
    pub nonnegative: bool,
    /// How each row is solved.
    pub solver: Solver,
    /// Steps of `solver = "cg"` in each row.
    pub cg_steps: usize,
    /// Block length of `solver = "subspace"`.
    pub block_size: usize,
    /// Standard deviation of the first factors, divided by the square root of `dim`.
    pub init_std: f32,
}

/// Whether values are ratings to meet or weights of what was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feedback {
    /// Values are ratings; only observed cells count.
    Explicit,
    /// An observed cell is a 1 with a weight, every other a 0.
    Implicit,
}

/// By what `reg` is multiplied in the row of user `u` with `n_u` entries (items alike).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegScaling {
    /// By 1, as `implicit` does.
    None,
    /// By `n_u`, as Spark does (ALS-WR, Zhou et al. 2008).
    Count,
    /// By `(n_u + unobserved_weight * n_items)^nu` (Rendle et al. 2021, section 3.4).
    Frequency,
}

/// What is done to the values before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// Nothing.
    None,
    /// `ln(1 + value)`.
    Log,
    /// Okapi BM25.
    Bm25,
    /// Term frequency by inverse document frequency.
    Tfidf,
}

/// How each row's least-squares problem is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Exactly, by Cholesky factorisation.
    Cholesky,
    /// By a few steps of conjugate gradients from the row as it was (Takács et al. 2011).
    Cg,
    /// By exact solutions of blocks of the row (iALS++, Rendle et al. 2021).
    Subspace,
}

impl Default for AlsConfig {
    fn default() -> Self {
        Self {
            feedback: Feedback::Implicit,
            dim: 64,
            reg: 0.01,
            reg_scaling: RegScaling::Frequency,
            nu: 1.0,
            alpha: 0.0,
            confidence_base: 1.0,
            unobserved_weight: 0.3,
            unobserved_over_all: true,
            weighting: Weighting::None,
            nonnegative: false,
            solver: Solver::Cholesky,
            cg_steps: 3,
            block_size: 32,
            init_std: 0.1,
        }
    }
}
