//! ALS and best items over factors in arrays of numpy, in the convention of the library `implicit`.

use burnrec::AlsConfig;
use burnrec::models::als::{Convention, Objective, RowSolver, Solver};
use burnrec::models::least_squares::Dots;
use burnrec::models::scorer::Vectors;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Array, ArrayMut};
use crate::error::of_model;
use crate::matrix::Matrix;
use crate::query::{Best, Only, top_lists};
use crate::work;

/// Returns the settings of the convention of `implicit`, with `cg_steps` steps of conjugate gradients, or exact.
fn config(dim: usize, reg: f32, alpha: f32, cg_steps: Option<usize>) -> PyResult<AlsConfig> {
    let solver = if cg_steps.is_some() { Solver::Cg } else { Solver::Cholesky };
    let default = AlsConfig::implicit(Convention::Implicit);
    let config =
        AlsConfig { dim, reg, alpha, solver, cg_steps: cg_steps.unwrap_or(default.cg_steps), ..default };
    config.validate().map_err(|error| of_model(&error))?;
    Ok(config)
}

/// Refuses factors that do not belong to the rows, or the columns, of a matrix.
fn check_rows(name: &str, found: [usize; 2], rows: usize, dim: usize) -> PyResult<()> {
    if found == [rows, dim] {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("{name}: found shape {found:?}, expected {:?}", [rows, dim])))
}

/// Solves the rows of `out`, `[rows, dim]`, with `fixed`, `[columns, dim]`, as it is: half an iteration of ALS over `matrix`.
/// By conjugate gradients the rows start from what is there, and end where a row's part of the loss is above its minimum by about
/// `share` of what it is for a row of zeros.
#[pyfunction]
#[pyo3(signature = (matrix, fixed, out, *, reg, alpha, cg_steps, share=0.0, threads=0))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn als_solve(
    py: Python<'_>,
    matrix: &Bound<'_, Matrix>,
    fixed: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
    reg: f32,
    alpha: f32,
    cg_steps: Option<usize>,
    share: f32,
    threads: usize,
) -> PyResult<()> {
    let csr = &matrix.get().csr;
    let fixed = Array::<f32>::of(fixed, "factors")?;
    let found = fixed.matrix("factors")?;
    check_rows("factors", found, csr.n_cols(), found[1])?;
    let config = config(found[1], reg, alpha, cg_steps)?;
    let mut out = ArrayMut::<f32>::of(out, "solved factors", [csr.n_rows(), found[1]], &[&fixed])?;
    work::long(py, threads, None, |_| {
        let solver = RowSolver::new(&config, fixed.values()).ending_at(share);
        solver.solve_all(fixed.values(), csr, out.values(), &|_| {});
        Ok(())
    })
}

/// Returns the loss of factors as `implicit` computes it: the objective over the sum of the weights of all cells.
#[pyfunction]
#[pyo3(signature = (matrix, users, items, *, reg, alpha, threads=0))]
pub fn als_loss(
    py: Python<'_>,
    matrix: &Bound<'_, Matrix>,
    users: &Bound<'_, PyAny>,
    items: &Bound<'_, PyAny>,
    reg: f32,
    alpha: f32,
    threads: usize,
) -> PyResult<f64> {
    let csr = &matrix.get().csr;
    let (users, items) = (Array::<f32>::of(users, "user_factors")?, Array::<f32>::of(items, "item_factors")?);
    let dim = users.matrix("user_factors")?[1];
    check_rows("user_factors", users.matrix("user_factors")?, csr.n_rows(), dim)?;
    check_rows("item_factors", items.matrix("item_factors")?, csr.n_cols(), dim)?;
    let config = config(dim, reg, alpha, None)?;
    work::long(py, threads, None, |_| {
        let objective = Objective::new(&config, csr, users.values(), items.values());
        let observed: f64 = csr.values().iter().map(|&value| f64::from(alpha * value.abs())).sum();
        let cells = csr.n_rows() as f64 * csr.n_cols() as f64;
        Ok(objective.total() / (observed + cells - csr.nnz() as f64))
    })
}

/// Writes for each row of `users`, `[n, dim]`, the `k` of `items`, `[n_items, dim]`, with the highest dot products, each times
/// its factor in `factors`, without the columns of its row in `exclude`: int32 and float32, `[n, k]`.
#[pyfunction]
#[pyo3(signature = (users, items, ids, scores, *, exclude=None, only=None, without=None, factors=None, threads=0))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn top_k(
    py: Python<'_>,
    users: &Bound<'_, PyAny>,
    items: &Bound<'_, PyAny>,
    ids: &Bound<'_, PyAny>,
    scores: &Bound<'_, PyAny>,
    exclude: Option<&Bound<'_, Matrix>>,
    only: Option<&Bound<'_, PyAny>>,
    without: Option<&Bound<'_, PyAny>>,
    factors: Option<&Bound<'_, PyAny>>,
    threads: usize,
) -> PyResult<()> {
    let (users, items) = (Array::<f32>::of(users, "users")?, Array::<f32>::of(items, "items")?);
    let ([n, dim], [n_items, width]) = (users.matrix("users")?, items.matrix("items")?);
    if dim != width || dim == 0 {
        let text =
            format!("items: found vectors of {width}, expected {dim}, as those of the users, and at least 1");
        return Err(PyValueError::new_err(text));
    }
    let factors = factors.map(|factors| Array::<f32>::of(factors, "factors")).transpose()?;
    if let Some(found) =
        factors.as_ref().map(|factors| factors.values().len()).filter(|&found| found != n_items)
    {
        return Err(PyValueError::new_err(format!("factors: found {found}, expected {n_items}")));
    }
    let exclude = exclude.map(|exclude| &exclude.get().csr);
    let allowed = Only::of(only, without, exclude, [n, n_items])?;
    let mut best = Best::of(ids, scores, n)?;
    let k = best.k();
    let lists = work::long(py, threads, None, |told| {
        let (users, items) =
            (Vectors { values: users.values(), dim }, Vectors { values: items.values(), dim });
        let scorer = match &factors {
            Some(factors) => Dots::new(users, items).scaled(factors.values().to_vec()),
            None => Dots::new(users, items),
        };
        let seen = |at: usize| exclude.map_or(&[][..], |exclude| exclude.row(at).0);
        Ok(top_lists(told, &scorer, n, k, seen, allowed.allowed()))
    })?;
    best.write(&lists);
    Ok(())
}
