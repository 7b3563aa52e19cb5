//! Errors of the library as exceptions of Python's own kinds, with the library's messages.

use std::fs::File;
use std::io::{Error as IoError, ErrorKind};

use burnrec::data::Error as DataError;
use burnrec::models::Error as ModelError;
use burnrec::train::Error as TrainError;
use burnrec::{Error, Result};
use pyo3::PyErr;
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyFloatingPointError, PyKeyError, PyKeyboardInterrupt,
    PyNotImplementedError, PyOSError, PyPermissionError, PyRuntimeError, PyValueError,
};

/// Returns the exception of an error.
pub fn exception(error: Error) -> PyErr {
    match error {
        Error::Data(error) => of_data(&error),
        Error::Model(error) => of_model(&error),
        Error::Train(TrainError::Data(error)) => of_data(&error),
        Error::Train(TrainError::Model(error)) => of_model(&error),
        other => PyValueError::new_err(other.to_string()),
    }
}

/// Returns the exception of the error of a model.
pub fn of_model(error: &ModelError) -> PyErr {
    let text = error.to_string();
    match error {
        ModelError::Data(error) => of_data(error),
        // The error has no kind of its own where the system refused: what cannot be opened says it again.
        ModelError::Run { path, .. } => match File::open(path) {
            Err(refused) => of_io(&refused, text),
            Ok(_) => PyValueError::new_err(text),
        },
        ModelError::UnknownId { .. } | ModelError::Untrained { .. } => PyKeyError::new_err(text),
        ModelError::Unable { .. } => PyNotImplementedError::new_err(text),
        ModelError::Device { .. } => PyRuntimeError::new_err(text),
        ModelError::Diverged { .. } => PyFloatingPointError::new_err(text),
        ModelError::Interrupted => PyKeyboardInterrupt::new_err(()),
        _ => PyValueError::new_err(text),
    }
}

fn of_data(error: &DataError) -> PyErr {
    let text = error.to_string();
    match error {
        DataError::Io { source, .. } => of_io(source, text),
        DataError::Stopped => PyKeyboardInterrupt::new_err(()),
        DataError::Download { .. } => PyOSError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

fn of_io(source: &IoError, text: String) -> PyErr {
    match source.kind() {
        ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
        ErrorKind::PermissionDenied => PyPermissionError::new_err(text),
        ErrorKind::AlreadyExists => PyFileExistsError::new_err(text),
        _ => PyOSError::new_err(text),
    }
}

/// Raises the errors of all crates alike.
pub trait Raised<T> {
    /// Returns the value, or the exception of the error.
    ///
    /// # Errors
    /// The exception.
    fn raised(self) -> pyo3::PyResult<T>;
}

impl<T, E: Into<Error>> Raised<T> for Result<T, E> {
    fn raised(self) -> pyo3::PyResult<T> {
        self.map_err(|error| exception(error.into()))
    }
}
