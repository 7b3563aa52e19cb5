//! What families share that solve rows of factors by their normal equations: the loops of a row's solution, its parallel
//! tasks, and scores of factors with biases.

mod biased;
mod dots;
mod draws;
mod equations;
mod errors;
mod gram;
pub mod kernels;
pub mod lines;
mod tasks;

pub use biased::{BiasedDots, Design, ItemSide, ScoresByDots, Side};
pub use dots::Dots;
pub use draws::normal;
pub use equations::{PANEL, add_entries};
pub use errors::{residuals, squared_errors};
pub use gram::gram;
pub use tasks::each_row;
