//! `burnrec._native`: what the Python package calls. Each function takes what Python has (arrays, streams of Arrow, ids of any
//! type), calls the library with the interpreter released, and gives back what Python takes.
//!
//! Importing it starts no thread and changes nothing of the process: threads begin with the first work ([`work`]), and memory
//! comes from the host's allocator, since that of the program is in the program alone.

mod arrays;
mod bench;
mod bpr;
mod error;
mod factors;
mod ids;
mod matrix;
mod neighbours;
mod prepared;
mod query;
mod recommender;
mod spark;
mod train;
mod work;

use std::ffi::OsString;

use burnrec::program::{self, Start};
use pyo3::prelude::*;

/// Runs the program `burnrec` and returns its exit code. `words` is the command line, and `program` the words that start it
/// again. Signals are handled by the program from then on.
#[pyfunction]
fn main(py: Python<'_>, program: Vec<OsString>, words: Vec<OsString>) -> PyResult<u8> {
    work::caught(|| py.detach(|| program::main(Start { program, words }, |_| {})))
}

/// The functions and classes of the Python package that are written in Rust.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::bench::{demo_configs, write_ratings};
    #[pymodule_export]
    use super::bpr::bpr;
    #[pymodule_export]
    use super::factors::{als_loss, als_solve, top_k};
    #[pymodule_export]
    use super::main;
    #[pymodule_export]
    use super::matrix::Matrix;
    #[pymodule_export]
    use super::neighbours::{Neighbours, nearest};
    #[pymodule_export]
    use super::prepared::Prepared;
    #[pymodule_export]
    use super::recommender::Recommender;
    #[pymodule_export]
    use super::spark::functions;
    #[pymodule_export]
    use super::train::{check_settings, model_names, train};

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "it is the name that Python has for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
