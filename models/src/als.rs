//! Alternating least squares (Hu, Koren and Volinsky 2008; Zhou et al. 2008; Rendle et al. 2021).

mod config;

pub use config::{AlsConfig, Feedback, RegScaling, Solver, Weighting};
