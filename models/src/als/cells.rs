//! The weight and the target of one observed cell in the ALS objective, for each convention; [`super`] has the
//! equations.

use super::config::{AlsConfig, Convention, Feedback};

/// Returns the weight `w_ui` of an observed cell and its target `t_ui`: the score that the model should give it (for
/// explicit feedback, the rating).
#[inline(always)]
pub fn weight_and_target(config: &AlsConfig, value: f32) -> (f32, f32) {
    let taken = if value > 0.0 { 1.0 } else { 0.0 };
    match (config.feedback, config.convention) {
        (Feedback::Explicit, _) => (1.0, value),
        (Feedback::Implicit, Convention::Rendle) => (1.0, 1.0),
        (Feedback::Implicit, Convention::Implicit) => (config.alpha * value.abs(), taken),
        (Feedback::Implicit, Convention::Spark) => (1.0 + config.alpha * value.abs(), taken),
    }
}

/// Returns whether an entry counts in the `n_u` that scales the regulariser.
#[inline(always)]
pub fn counts(config: &AlsConfig, value: f32) -> bool {
    config.feedback == Feedback::Explicit || config.convention == Convention::Rendle || value > 0.0
}

/// Returns whether the sum over unobserved cells runs over the observed ones as well; also true for explicit feedback,
/// which has no such sum. Where it is false, `unobserved_weight` is subtracted from the weight of each observed cell,
/// because the Gram matrix adds it for all cells.
#[inline(always)]
pub fn unobserved_is_all(config: &AlsConfig) -> bool {
    config.feedback == Feedback::Explicit || config.convention == Convention::Rendle
}
