//! Training.

use std::path::PathBuf;

use burnrec::models::registry;
use burnrec::train::run::Trained;
use burnrec::{Begin, DeviceChoice, TrainConfig, Training};
use pyo3::prelude::*;
use toml::Table;

use crate::error::Raised;
use crate::prepared::Prepared;
use crate::recommender::Recommender;
use crate::work::{self, Epochs};

/// Reads the settings of a training, a flat table as JSON.
fn config(settings: &str) -> PyResult<TrainConfig> {
    let bad = |error: serde_json::Error| {
        burnrec::models::Error::config("settings", error, "numbers, texts, lists and tables of them")
    };
    let table: Table = serde_json::from_str(settings).map_err(bad).raised()?;
    TrainConfig::from_table(table).raised()
}

/// Returns the settings, a flat table as JSON, with every default.
#[pyfunction]
pub fn check_settings(settings: &str) -> PyResult<String> {
    Ok(serde_json::to_string(&config(settings)?.to_table()).unwrap_or_default())
}

/// Returns the names of all models.
#[pyfunction]
pub fn model_names() -> Vec<&'static str> {
    registry::names()
}

/// Trains a model on prepared data, into the run directory `out` where one is given, and returns what answers by it.
#[pyfunction]
#[pyo3(signature = (data, settings, *, out, replace, device, threads, listener))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn train(
    py: Python<'_>,
    data: &Bound<'_, Prepared>,
    settings: &str,
    out: Option<PathBuf>,
    replace: bool,
    device: &str,
    threads: usize,
    listener: Option<&Bound<'_, PyAny>>,
) -> PyResult<Recommender> {
    let config = config(settings)?;
    let device = device.parse::<DeviceChoice>().raised()?;
    let prepared = data.get();
    let begin = if replace { Begin::Replace } else { Begin::New };
    let Trained { recommender, .. } = work::long(py, threads, listener, |told| {
        let training = Training::new(config).device(device).progress(told);
        let mut epochs = Epochs(told);
        match &out {
            Some(out) => training.watched(out, begin, &prepared.data, prepared.dir.as_deref(), &mut epochs),
            None => training.run_watched(&prepared.data, &mut epochs),
        }
    })?;
    Ok(Recommender::new(recommender))
}
