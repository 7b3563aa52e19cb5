//! What one observed cell contributes to the objective, by the conventions of the module's page.

use super::config::{AlsConfig, Convention, Feedback};

/// Returns the weight `w_ui` of an observed cell and the score `t_ui` (a rating, for explicit feedback) that it asks for.
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

/// Returns whether the sum over the unobserved cells takes in the observed ones as well, or, for explicit feedback, there
/// is no such sum. If not, `unobserved_weight` is taken off the weight of each observed cell.
#[inline(always)]
pub fn unobserved_is_all(config: &AlsConfig) -> bool {
    config.feedback == Feedback::Explicit || config.convention == Convention::Rendle
}
