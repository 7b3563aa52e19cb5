//! Self-attentive sequential recommendation (Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", arXiv
//! 1808.09781), trained by cross-entropy over all items or over drawn ones (Klenitskiy and Vasilev 2023, "Turning Dross Into
//! Gold Loss: is BERT4Rec really better than SASRec?", arXiv 2309.07602).
//!
//! The newest `length` rows of a history are a sequence of items `i_1 .. i_n`. With `E` the items' embeddings, `P` the learnt
//! ones of places, counted so that the newest row has the last, and `drop` dropout,
//!
//! ```text
//! x_t = drop(sqrt(dim) E[i_t] + P[length - n + t])
//! x   = x + drop(attention(norm(x)))        for each layer: scaled dot products, each row sees itself and older rows
//! x   = x + drop(W2 relu(W1 norm(x) + b1) + b2)
//! s_t = E norm(x_t)                         the score of each item as the one after row t
//! ```
//!
//! The input and the output share `E`. Training minimises the mean over all rows with a row after it of
//! `-ln softmax(s_t)[i_(t+1)]`, where the softmax is over all items or over `negatives` that are drawn for the batch and the
//! row's own target. A history that is longer is cut into sequences from its newest row backwards, so that each row but a
//! user's first is a target once. Values of rows do not count.
//!
//! Users are scored from the state `norm(x_n)` of their newest row, which follows from any history: users without a row in
//! training are served as others are. Sequences are packed: no place without a row is computed. On the host each piece of a
//! batch goes forward and back on one thread (`host`); on other devices Burn's operations do the same (`portable`).

#[cfg(feature = "train")]
mod batches;
mod config;
mod host;
#[cfg(feature = "train")]
mod learner;
mod matrix;
mod model;
#[cfg(feature = "train")]
mod portable;
mod weights;

#[cfg(all(test, feature = "train"))]
mod gradient_tests;

pub use config::{SasrecConfig, SequenceLoss};
#[cfg(feature = "train")]
pub use learner::SasrecLearner;
pub use model::Sasrec;
