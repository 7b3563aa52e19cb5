//! What the bench of all models needs from a frame: a ratings file, and the configs that come with the program.

use std::path::PathBuf;

use burnrec::data::read::Columns;
use burnrec::data::table::{TableColumn, write_table};
use burnrec::program::DEMO_CONFIGS;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::error::Raised;
use crate::prepared::dataset;
use crate::work;

/// Writes the ratings of a frame's Arrow stream to a Parquet file.
#[pyfunction]
#[pyo3(signature = (stream, path, *, user, item, value, time))]
pub fn write_ratings(
    py: Python<'_>,
    stream: &Bound<'_, PyCapsule>,
    path: PathBuf,
    user: Option<String>,
    item: Option<String>,
    value: Option<String>,
    time: Option<String>,
) -> PyResult<()> {
    let data = dataset(py, stream, &Columns { user, item, value, time, title: None }, "frame")?;
    let written = work::short(py, 0, || {
        let rows = data.interactions;
        let columns = [
            ("user", TableColumn::Ids(&data.users, rows.users.iter().map(|user| user.0).collect())),
            ("item", TableColumn::Ids(&data.items, rows.items.iter().map(|item| item.0).collect())),
            ("rating", TableColumn::F32(rows.values)),
            ("timestamp", TableColumn::I64(rows.times)),
        ];
        write_table(&path, &columns)
    })?;
    written.raised()
}

/// Returns the names and texts of the configs of `burnrec demo`; the first is that of its bench.
#[pyfunction]
pub fn demo_configs() -> Vec<(&'static str, &'static str)> {
    DEMO_CONFIGS.to_vec()
}
