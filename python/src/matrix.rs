//! Sparse matrices of scipy.

use std::sync::Arc;

use burnrec::Csr;
use burnrec::data::{Foreign, Shared};
use burnrec::models::Error as ModelError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Array, ArrayMut};
use crate::error::{Raised, of_model};
use crate::work;

/// A matrix of sparse rows, whose columns ascend and do not repeat. Of float32 values and int32 indices nothing is copied but
/// the row pointers.
#[pyclass(frozen, module = "burnrec._native")]
pub struct Matrix {
    pub csr: Csr,
}

#[pymethods]
impl Matrix {
    /// Takes the arrays of a `csr_matrix`.
    #[new]
    fn new(
        py: Python<'_>,
        indptr: &Bound<'_, PyAny>,
        indices: &Bound<'_, PyAny>,
        data: &Bound<'_, PyAny>,
        shape: [usize; 2],
    ) -> PyResult<Self> {
        let [n_rows, n_cols] = shape;
        if u32::try_from(n_rows.max(n_cols)).is_err() {
            let text =
                format!("matrix: found shape {shape:?}, expected at most {} rows and columns", u32::MAX);
            return Err(PyValueError::new_err(text));
        }
        let offsets = indices_of(indptr, "indptr", |at: i64| usize::try_from(at))?;
        let cols: Shared<u32> = match Array::<u32>::of(indices, "indices") {
            Ok(cols) => (Arc::new(cols) as Foreign<u32>).into(),
            Err(_) => indices_of(indices, "indices", |at: i64| u32::try_from(at))?.into(),
        };
        let values: Foreign<f32> = Arc::new(Array::<f32>::of(data, "data")?);
        if offsets.len() != n_rows + 1 {
            let text = format!(
                "matrix: found {} row pointers, expected {} for {n_rows} rows",
                offsets.len(),
                n_rows + 1
            );
            return Err(PyValueError::new_err(text));
        }
        let csr = work::caught(|| py.detach(|| Csr::of_arrays(n_cols, offsets, cols, values)))?;
        Ok(Self { csr: csr.raised()? })
    }

    /// `(rows, columns)`
    #[getter]
    fn shape(&self) -> (usize, usize) {
        (self.csr.n_rows(), self.csr.n_cols())
    }

    /// The number of entries.
    #[getter]
    fn nnz(&self) -> usize {
        self.csr.nnz()
    }

    /// Refuses values that are not finite.
    fn check_finite(&self) -> PyResult<()> {
        let Some(at) = self.csr.values().iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let user = self.csr.offsets().partition_point(|&start| start <= at) - 1;
        let (item, found) = (self.csr.cols()[at], self.csr.values()[at]);
        Err(of_model(&ModelError::Value { user, item, found, expected: "a finite number" }))
    }

    /// Returns the transpose.
    fn transpose(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(Self { csr: work::short(py, 0, || self.csr.transpose())? })
    }

    /// Writes the arrays of a `csr_matrix`: int32 `[rows + 1]`, int32 `[nnz]` and float32 `[nnz]`, each as a matrix of one row.
    fn write(
        &self,
        indptr: &Bound<'_, PyAny>,
        indices: &Bound<'_, PyAny>,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let (n_rows, nnz) = (self.csr.n_rows(), self.csr.nnz());
        let mut indptr = ArrayMut::<i32>::of(indptr, "indptr", [1, n_rows + 1], &[])?;
        let mut indices = ArrayMut::<i32>::of(indices, "indices", [1, nnz], &[])?;
        let mut data = ArrayMut::<f32>::of(data, "data", [1, nnz], &[])?;
        indptr.values().iter_mut().zip(self.csr.offsets()).for_each(|(out, &at)| *out = at as i32);
        indices.values().iter_mut().zip(self.csr.cols()).for_each(|(out, &col)| *out = col as i32);
        data.values().copy_from_slice(self.csr.values());
        Ok(())
    }

    fn __repr__(&self) -> String {
        let csr = &self.csr;
        format!("<Matrix of {} x {} with {} entries>", csr.n_rows(), csr.n_cols(), csr.nnz())
    }
}

/// Returns an array of int32 or int64, each converted.
fn indices_of<T, E>(
    array: &Bound<'_, PyAny>,
    name: &str,
    convert: impl Fn(i64) -> Result<T, E>,
) -> PyResult<Vec<T>> {
    let convert = |index: i64| {
        convert(index).map_err(|_| PyValueError::new_err(format!("{name}: found {index}, expected an index")))
    };
    match Array::<i32>::of(array, name) {
        Ok(array) => array.values().iter().map(|&index| convert(index.into())).collect(),
        Err(_) => Array::<i64>::of(array, name)?.values().iter().map(|&index| convert(index)).collect(),
    }
}
