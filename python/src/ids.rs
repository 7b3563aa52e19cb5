//! Outside ids, as Python has them.

use std::fmt;

use burnrec::data::{Id, Vocab};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::arrays::bytes;

/// The id of a user or an item: an integer, of Python or of numpy, or a text.
pub enum OutsideId {
    Int(i64),
    Str(String),
}

impl<'py> FromPyObject<'_, 'py> for OutsideId {
    type Error = PyErr;

    fn extract(id: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if id.is_instance_of::<PyString>() {
            return Ok(Self::Str(id.extract()?));
        }
        match id.extract::<i64>() {
            Ok(id) => Ok(Self::Int(id)),
            // An integer that i64 does not hold is an id by its text.
            Err(_) if id.hasattr("__index__")? => Ok(Self::Str(id.str()?.to_string())),
            Err(_) => {
                let found = id.get_type().name()?;
                Err(PyTypeError::new_err(format!("id: found a {found}, expected an int or a str")))
            }
        }
    }
}

impl fmt::Display for OutsideId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(id) => id.fmt(f),
            Self::Str(id) => f.write_str(id),
        }
    }
}

/// Returns the ids of some rows of a vocabulary: the bytes of int64, or a list of texts.
pub fn of_rows<'py>(py: Python<'py>, vocab: &Vocab, rows: &[u32]) -> PyResult<Bound<'py, PyAny>> {
    Ok(match vocab {
        Vocab::Int(ids) => {
            bytes(py, &rows.iter().map(|&row| ids[row as usize]).collect::<Vec<i64>>()).into_any()
        }
        Vocab::Str { .. } => {
            // Each text is made once, however often it is listed.
            let mut made: Vec<Option<Bound<'py, PyString>>> = vec![None; vocab.len()];
            let texts = rows.iter().map(|&row| {
                let text = || PyString::new(py, &vocab.id(row).to_string());
                made[row as usize].get_or_insert_with(text).clone()
            });
            PyList::new(py, texts.collect::<Vec<_>>())?.into_any()
        }
    })
}

/// Returns an id as Python has it.
pub fn of_id(py: Python<'_>, id: Id<'_>) -> PyResult<Py<PyAny>> {
    Ok(match id {
        Id::Int(id) => id.into_pyobject(py)?.into_any().unbind(),
        Id::Str(id) => id.into_pyobject(py)?.into_any().unbind(),
    })
}
