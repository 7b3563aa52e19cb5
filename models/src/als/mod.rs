//! Alternating least squares (Hu, Koren and Volinsky 2008; Zhou et al. 2008; Rendle et al. 2021).
//!
//! With `s_ui = p_u . q_i`, training minimises
//!
//! ```text
//! explicit:  sum over observed (r_ui - s_ui)^2                                        + R
//! implicit:  sum over observed w_ui (t_ui - s_ui)^2 + w0 sum over unobserved s_ui^2   + R
//! R = sum over users reg_u |p_u|^2 + sum over items reg_i |q_i|^2
//! ```
//!
//! with `w0 = unobserved_weight`, `t_ui` 1 (0 where the value is not over 0 and the convention weighs values), and by
//! `convention`
//!
//! | convention | `w_ui` | unobserved cells | source |
//! |---|---|---|---|
//! | `rendle`   | 1                      | all cells, the observed ones too | Rendle et al. 2021, "Revisiting the Performance of iALS" |
//! | `implicit` | `alpha * abs(value)`     | those without an entry | the `implicit` library |
//! | `spark`    | `1 + alpha * abs(value)` | those without an entry | Spark MLlib; Hu, Koren and Volinsky 2008 |
//!
//! and by `reg_scaling`, for a user with `n_u` entries (items alike, with `n_users`)
//!
//! | reg_scaling | `reg_u` |
//! |---|---|
//! | `none`      | `reg` |
//! | `count`     | `reg * n_u` |
//! | `frequency` | `reg * (n_u + w0 * n_items)^nu` (explicit: without the second term) |
//!
//! A *row* is one user (or item): its entries in the training matrix, and the factor vector that they determine. With
//! all else fixed, a user's row solves the normal equations `A p_u = b`, where
//! `A = w0 Q^T Q + sum over observed a_ui q_i q_i^T + reg_u I` and `b = sum over observed b_ui q_i`, with
//! `a_ui = w_ui - w0` (`w_ui` where all cells count as unobserved) and `b_ui = w_ui t_ui`; for explicit feedback
//! `a_ui = 1`, `b_ui = r_ui`, and there is no `w0` term. [`RowSolver`] solves them, in training and for new users.
//!
//! With `biases`, of explicit feedback, `s_ui = mean + b_u + b_i + p_u . q_i`, where the mean is that of all values, and a bias
//! counts in R as one more element of its vector: with one side fixed, the vectors and biases of the other still solve one
//! least-squares problem ([`crate::least_squares::Design`]), so that each half sweep lowers the objective.
//!
//! With [`Recency`](crate::Recency), the users are folded in after training with `w_ui` times a weight that falls with the age of the row;
//! unobserved cells and the regulariser stay as they are.

pub mod block;
mod cells;
mod cg;
mod config;
mod eigen;
mod exact;
mod family;
#[cfg(all(feature = "cube", feature = "train"))]
mod gpu;
mod init;
#[cfg(feature = "train")]
mod learner;
mod model;
mod nonnegative;
mod normal;
mod objective;
mod precise;
mod precise_gram;
mod row;
mod subspace;
#[cfg(feature = "train")]
mod warm_start;
mod weighting;

pub use config::{AlsConfig, Convention, Feedback, RegScaling, Solver, Weighting};
pub use init::{initial_factors, initial_rows};
#[cfg(feature = "train")]
pub use learner::{AlsLearner, AlsTraining};
pub use model::AlsModel;
pub use normal::Scratch;
pub use objective::Objective;
pub use row::RowSolver;
pub use weighting::Weights;
