//! Prepared data: ratings of a frame or of a file, filtered and split.

use std::path::PathBuf;
use std::sync::Arc;

use burnrec::data::read::{Columns, read_stream};
use burnrec::data::{Dataset, Error as DataError};
use burnrec::models::Error as ModelError;
use burnrec::{Filters, PrepareOptions, ReadOptions, SplitConfig};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use serde::de::DeserializeOwned;

use crate::error::{Raised, of_model};
use crate::work;

/// A split that every model of it is trained and judged on.
#[pyclass(frozen, module = "burnrec._native")]
pub struct Prepared {
    pub data: Arc<burnrec::Prepared>,
    /// Where it is saved, if it is.
    pub dir: Option<PathBuf>,
}

/// Decodes settings from JSON.
fn decoded<T: DeserializeOwned>(key: &str, json: &str, expected: &str) -> PyResult<T> {
    serde_json::from_str(json).map_err(|error| of_model(&ModelError::config(key, error, expected)))
}

fn options(
    columns: Columns,
    name: Option<String>,
    split: Option<&str>,
    filters: &str,
    seed: u64,
) -> PyResult<PrepareOptions> {
    let filters = decoded::<Filters>("filters", filters, "duplicates, positive_from, min_user, min_item")?;
    let split = split.map(|split| decoded::<SplitConfig>("split", split, "a protocol with its settings"));
    let read = ReadOptions { columns, name, ..ReadOptions::default() };
    Ok(PrepareOptions { read, filters, split: split.transpose()?, seed })
}

/// Reads the rows of a frame's `__arrow_c_stream__()`.
pub fn dataset(
    py: Python<'_>,
    stream: &Bound<'_, PyCapsule>,
    columns: &Columns,
    name: &str,
) -> PyResult<Dataset> {
    let stream = Stream(stream.pointer_checked(Some(c"arrow_array_stream"))?);
    work::long(py, 0, None, |told| {
        let stream = stream;
        // SAFETY: the name of the capsule says that such a stream is in it, and Python keeps it until this returns.
        Ok(unsafe { read_stream(stream.0, columns, name, &told.stop) }?)
    })
}

/// A stream that is read by another thread, as its interface allows.
struct Stream(std::ptr::NonNull<std::ffi::c_void>);

// SAFETY: the C stream interface forbids only calls at the same time.
unsafe impl Send for Stream {}

#[pymethods]
impl Prepared {
    /// Filters and splits the rows of a frame's Arrow stream.
    #[staticmethod]
    #[pyo3(signature = (stream, *, name, user, item, value, time, split, filters, seed))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn of_stream(
        py: Python<'_>,
        stream: &Bound<'_, PyCapsule>,
        name: &str,
        user: Option<String>,
        item: Option<String>,
        value: Option<String>,
        time: Option<String>,
        split: Option<&str>,
        filters: &str,
        seed: u64,
    ) -> PyResult<Self> {
        let columns = Columns { user, item, value, time, title: None };
        let options = options(columns.clone(), None, split, filters, seed)?;
        let dataset = dataset(py, stream, &columns, name)?;
        let data = work::long(py, 0, None, |_| burnrec::prepare_dataset(dataset, &options))?;
        Ok(Self { data: Arc::new(data), dir: None })
    }

    /// Reads, filters and splits a ratings file, or a folder with one.
    #[staticmethod]
    #[pyo3(signature = (path, *, name, user, item, value, time, split, filters, seed))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn of_file(
        py: Python<'_>,
        path: PathBuf,
        name: Option<String>,
        user: Option<String>,
        item: Option<String>,
        value: Option<String>,
        time: Option<String>,
        split: Option<&str>,
        filters: &str,
        seed: u64,
    ) -> PyResult<Self> {
        let columns = Columns { user, item, value, time, title: None };
        let mut options = options(columns, name, split, filters, seed)?;
        let data = work::long(py, 0, None, |told| {
            options.read.stop = told.stop.clone();
            burnrec::prepare(&path, &options)
        })?;
        Ok(Self { data: Arc::new(data), dir: None })
    }

    /// Opens a directory that `save`, or `burnrec prepare`, wrote.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        std::fs::metadata(&path).map_err(DataError::io("open", &path)).raised()?;
        let data = work::long(py, 0, None, |_| Ok(burnrec::Prepared::open(&path)?))?;
        Ok(Self { data: Arc::new(data), dir: Some(path) })
    }

    /// Writes a directory, which `burnrec train` reads.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        work::short(py, 0, || self.data.save(&path))?.raised()
    }

    /// The name of the data.
    #[getter]
    fn name(&self) -> &str {
        &self.data.name
    }

    /// The hash of the split.
    #[getter]
    fn hash(&self) -> &str {
        &self.data.manifest.hash
    }

    /// The number of users.
    #[getter]
    fn n_users(&self) -> usize {
        self.data.users.len()
    }

    /// The number of items.
    #[getter]
    fn n_items(&self) -> usize {
        self.data.items.len()
    }

    /// The numbers of rows of train, valid and test.
    #[getter]
    fn n_rows(&self) -> (usize, usize, usize) {
        let split = &self.data.split;
        let held_out = |holdout: &burnrec::Holdout| holdout.relevant.nnz();
        (split.train.len(), held_out(&split.valid), held_out(&split.test))
    }

    /// Says what was read, filtered and split.
    #[getter]
    fn summary(&self) -> String {
        self.data.manifest.to_string()
    }
}
