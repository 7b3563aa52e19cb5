//! Matrix factorisation by Bayesian personalised ranking, as factors with the bias last.

use burnrec::models::nn::loss::Loss;
use burnrec::models::nn::{NnLearner, NnTraining, Optimizer};
use burnrec::{DeviceChoice, Learner, MfConfig, device};
use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::arrays::bytes;
use crate::matrix::Matrix;
use crate::work;

/// The samples of a step: as many as keep a processor busy, and few enough for thousands of steps on a million rows.
const BATCH: usize = 4096;

/// Trains on the entries of `matrix`, `[n_users, n_items]`, and returns the factors of users and of items as bytes of float32,
/// `[rows, factors + 1]`: an item's last one is its bias, and a user's is 1. After each epoch `listener` is told
/// `("epoch", '{"epoch": 1, "loss": 0.69}')`.
#[pyfunction]
#[pyo3(signature = (matrix, *, factors, learning_rate, reg, epochs, seed, threads=0, listener=None))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn bpr<'py>(
    py: Python<'py>,
    matrix: &Bound<'py, Matrix>,
    factors: usize,
    learning_rate: f64,
    reg: f32,
    epochs: u32,
    seed: u64,
    threads: usize,
    listener: Option<&Bound<'py, PyAny>>,
) -> PyResult<(Bound<'py, PyByteArray>, Bound<'py, PyByteArray>)> {
    let csr = &matrix.get().csr;
    let config = MfConfig { dim: factors, loss: Loss::Bpr, negatives: 1, reg, ..MfConfig::default() };
    let training =
        NnTraining { learning_rate, optimizer: Optimizer::Adam, batch_size: BATCH, ..NnTraining::default() };
    let found = work::long(py, threads, listener, |told| {
        config.validate()?;
        training.validate()?;
        let device = device::open(DeviceChoice::Cpu)?;
        let mut learner = NnLearner::new(csr, &config, &training, seed, &device)?;
        for epoch in 1..=epochs {
            let loss = learner.epoch(told)?.total;
            told.epoch(serde_json::json!({ "epoch": epoch, "loss": loss }).to_string());
        }
        Ok(learner.model().factors())
    })?;
    let factors = found.ok_or_else(|| PyNotImplementedError::new_err("mf has no factors"))?;
    Ok((bytes(py, &factors.users), bytes(py, &factors.items)))
}
