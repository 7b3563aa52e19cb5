//! `burnrec._native.spark`: what `burnrec.spark` computes in the workers of an engine.
//!
//! ALS on blocks of rows, and scores of a saved run for batches of ids. Results are bytes, which numpy takes with `frombuffer`.
//! Each call has a pool of `threads` of its own: an engine runs several tasks on a machine, each with its share of the cores.

use burnrec::data::{Id, Index, Vocab};
use burnrec::models::als::block::{Block, BlockRows, Whole, first, gram, improves, pick};
use burnrec::models::als::{AlsConfig, AlsLearner};
use burnrec::{Csr, ItemIx, Learner, Query, UserIx};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyTuple};

use crate::arrays::{Array, bytes};
use crate::error::{Raised, of_model};
use crate::recommender::Recommender;
use crate::work;

/// The functions of `burnrec.spark`.
#[pymodule]
#[pyo3(name = "spark")]
pub mod functions {
    #[pymodule_export]
    use super::{
        als_alone, als_block, als_config, als_first, als_gram, als_send, als_solve, best, ids, rows, scores,
    };
}

/// The row of an id that is unknown.
const UNKNOWN: u32 = u32::MAX;

/// Checks settings of ALS, a JSON object with the keys of a config file, and returns whether its solver improves a row's
/// current factors, which an engine must then keep.
#[pyfunction]
fn als_config(config: &str) -> PyResult<bool> {
    Ok(improves(&read(config)?))
}

/// Makes a block of interactions: `own[k]`, of the side of the block, with `other[k]`, of the other, which has `blocks`.
///
/// Returns ids (int32), offsets (int64), columns (uint32), values (float32), the ids needed of the other side block by block
/// (int32), and their number in each block (int64).
#[pyfunction]
fn als_block<'py>(
    py: Python<'py>,
    own: &Bound<'py, PyAny>,
    other: &Bound<'py, PyAny>,
    values: &Bound<'py, PyAny>,
    blocks: usize,
    threads: usize,
) -> PyResult<Bound<'py, PyTuple>> {
    let (own, other) = (Array::<i32>::of(own, "own")?, Array::<i32>::of(other, "other")?);
    let values = Array::<f32>::of(values, "values")?;
    let block = || Block::new(own.values(), other.values(), values.values(), blocks);
    let block = work::short(py, threads, block)?.map_err(|error| of_model(&error))?;
    let Block { ids, offsets, cols, values, needs, counts } = block;
    let wide = |values: &[usize]| bytes(py, &values.iter().map(|&value| value as i64).collect::<Vec<i64>>());
    let arrays = [
        bytes(py, &ids),
        wide(&offsets),
        bytes(py, &cols),
        bytes(py, &values),
        bytes(py, &needs),
        wide(&counts),
    ];
    PyTuple::new(py, arrays)
}

/// Draws the first factors of the rows `ids`, `[ids, dim]` float32: those of a run on one machine whose rows have these
/// indices.
#[pyfunction]
fn als_first<'py>(
    py: Python<'py>,
    config: &str,
    seed: u64,
    ids: &Bound<'py, PyAny>,
    threads: usize,
) -> PyResult<Bound<'py, PyByteArray>> {
    let (config, ids) = (read(config)?, Array::<i32>::of(ids, "ids")?);
    Ok(bytes(py, &work::short(py, threads, || first(&config, seed, ids.values()))?))
}

/// Returns the factors of the rows `wanted` of a block, `[wanted, dim]` float32; `ids` are those of its rows, ascending.
#[pyfunction]
fn als_send<'py>(
    py: Python<'py>,
    ids: &Bound<'py, PyAny>,
    factors: &Bound<'py, PyAny>,
    wanted: &Bound<'py, PyAny>,
    dim: usize,
    threads: usize,
) -> PyResult<Bound<'py, PyByteArray>> {
    let (ids, wanted) = (Array::<i32>::of(ids, "ids")?, Array::<i32>::of(wanted, "wanted")?);
    let factors = Array::<f32>::of(factors, "factors")?;
    let picked = work::short(py, threads, || pick(ids.values(), factors.values(), wanted.values(), dim))?;
    Ok(bytes(py, &picked.map_err(|error| of_model(&error))?))
}

/// Solves the rows of a block and returns their factors, `[rows, dim]` float32.
///
/// `needs` are the factors of the ids that the block needs, in its order, `gram` the Gram matrix of the whole other side,
/// which has `n_fixed` rows, and `x` the rows' current factors, which are read where the solver improves them.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "the arrays of a block are columns of their own")]
fn als_solve<'py>(
    py: Python<'py>,
    config: &str,
    offsets: &Bound<'py, PyAny>,
    cols: &Bound<'py, PyAny>,
    values: &Bound<'py, PyAny>,
    needs: &Bound<'py, PyAny>,
    gram: &Bound<'py, PyAny>,
    n_fixed: usize,
    x: &Bound<'py, PyAny>,
    threads: usize,
) -> PyResult<Bound<'py, PyByteArray>> {
    let config = read(config)?;
    let (offsets, cols) = (Array::<i64>::of(offsets, "offsets")?, Array::<u32>::of(cols, "cols")?);
    let (values, needs) = (Array::<f32>::of(values, "values")?, Array::<f32>::of(needs, "needs")?);
    let (gram, x) = (Array::<f64>::of(gram, "gram")?, Array::<f32>::of(x, "x")?);
    let solved = work::short(py, threads, || {
        // An offset below 0 is refused as one beyond the entries.
        let offsets: Vec<usize> =
            offsets.values().iter().map(|&at| usize::try_from(at).unwrap_or(usize::MAX)).collect();
        let rows = BlockRows { offsets: &offsets, cols: cols.values(), values: values.values() };
        let mut x = x.values().to_vec();
        let whole = Whole { gram: gram.values(), rows: n_fixed };
        rows.solve(&config, needs.values(), whole, &mut x).map(|()| x)
    })?;
    Ok(bytes(py, &solved.map_err(|error| of_model(&error))?))
}

/// Returns the Gram matrix of factors `[rows, dim]`, `[dim, dim]` float64.
#[pyfunction]
fn als_gram<'py>(
    py: Python<'py>,
    factors: &Bound<'py, PyAny>,
    dim: usize,
    threads: usize,
) -> PyResult<Bound<'py, PyByteArray>> {
    let factors = Array::<f32>::of(factors, "factors")?;
    let n = factors.values().len();
    if dim == 0 || !n.is_multiple_of(dim) {
        let message = format!("factors: found {n} values, expected a multiple of dim = {dim}");
        return Err(PyValueError::new_err(message));
    }
    Ok(bytes(py, &work::short(py, threads, || gram(factors.values(), dim))?))
}

/// Trains on one machine: what a run in blocks is held to. Row `k` of the matrix is `users[k]`, `items[k]`, `values[k]`, with
/// indices from 0; returns the factors of users and of items, float32.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
fn als_alone<'py>(
    py: Python<'py>,
    config: &str,
    seed: u64,
    users: &Bound<'py, PyAny>,
    items: &Bound<'py, PyAny>,
    values: &Bound<'py, PyAny>,
    sweeps: usize,
    threads: usize,
) -> PyResult<Bound<'py, PyTuple>> {
    let config = read(config)?;
    let (users, items) = (Array::<u32>::of(users, "users")?, Array::<u32>::of(items, "items")?);
    let values = Array::<f32>::of(values, "values")?;
    let n_rows = |ids: &[u32]| ids.iter().max().map_or(0, |&id| id as usize + 1);
    let factors = work::long(py, threads, None, |told| {
        let of_users: Vec<UserIx> = users.values().iter().map(|&user| UserIx(user)).collect();
        let of_items: Vec<ItemIx> = items.values().iter().map(|&item| ItemIx(item)).collect();
        let shape = (n_rows(users.values()), n_rows(items.values()));
        let train = Csr::from_rows(shape.0, shape.1, &of_users, &of_items, values.values());
        let mut learner = AlsLearner::new(&train, config, seed)?;
        for _ in 0..sweeps {
            learner.epoch(told)?;
        }
        let (users, items) = learner.factors();
        Ok([users.to_vec(), items.to_vec()])
    })?;
    PyTuple::new(py, factors.map(|factors| bytes(py, &factors)))
}

/// Returns the rows of ids, uint32, with 2^32 - 1 for one that the run does not know. `side` is `"user"` or `"item"`; `numbers`
/// are int64, or else `texts` are UTF-8, one after the other, with the `ends` (int64) of each and the start of the first.
#[pyfunction]
#[pyo3(signature = (run, side, *, numbers=None, texts=None, ends=None))]
fn rows<'py>(
    py: Python<'py>,
    run: &Bound<'py, Recommender>,
    side: &str,
    numbers: Option<&Bound<'py, PyAny>>,
    texts: Option<&[u8]>,
    ends: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyByteArray>> {
    let run = run.get().inner();
    let of_users = index(run, side)?.1;
    let row = |id: Id<'_>| match of_users {
        true => run.user_row(id).map_or(UNKNOWN, |user| user.0),
        false => run.item_row(id).map_or(UNKNOWN, |item| item.0),
    };
    let found = match (numbers, texts, ends) {
        (Some(numbers), None, None) => {
            let numbers = Array::<i64>::of(numbers, "numbers")?;
            work::short(py, 1, || numbers.values().iter().map(|&id| row(Id::Int(id))).collect::<Vec<u32>>())?
        }
        (None, Some(texts), Some(ends)) => {
            let ends = Array::<i64>::of(ends, "ends")?;
            let text = |ends: &[i64]| {
                let place = |at: i64| usize::try_from(at).ok();
                let bytes = texts.get(place(ends[0])?..place(ends[1])?)?;
                std::str::from_utf8(bytes).ok().map(|text| row(Id::Str(text)))
            };
            let found = || ends.values().windows(2).map(text).collect::<Option<Vec<u32>>>();
            work::short(py, 1, found)?.ok_or_else(|| {
                PyValueError::new_err("texts: found ends that cut no UTF-8, expected those of each text")
            })?
        }
        _ => return Err(PyValueError::new_err("expected numbers, or texts with their ends")),
    };
    Ok(bytes(py, &found))
}

/// Returns all ids of a side in the order of their rows: int64 as bytes, or a list of texts.
#[pyfunction]
fn ids<'py>(py: Python<'py>, run: &Bound<'py, Recommender>, side: &str) -> PyResult<Bound<'py, PyAny>> {
    let (index, _) = index(run.get().inner(), side)?;
    let vocab: &Vocab = index.vocab();
    crate::ids::of_rows(py, vocab, &(0..vocab.len() as u32).collect::<Vec<u32>>())
}

/// Returns the best items for known users, by their rows (uint32): how many each has (int64), their rows (uint32) and scores
/// (float32), user after user and best first.
#[pyfunction]
fn best<'py>(
    py: Python<'py>,
    run: &Bound<'py, Recommender>,
    users: &Bound<'py, PyAny>,
    k: usize,
    include_seen: bool,
    threads: usize,
) -> PyResult<Bound<'py, PyTuple>> {
    let run = run.get().inner();
    let users =
        known(&Array::<u32>::of(users, "users")?, run.users.vocab().len())?.map(UserIx).collect::<Vec<_>>();
    let query = Query { k, include_seen, ..Query::default() };
    let lists = work::short(py, threads, || run.top_rows(&users, &query))?.raised()?;
    let counts: Vec<i64> = lists.iter().map(|list| list.len() as i64).collect();
    let items: Vec<u32> = lists.iter().flatten().map(|(item, _)| item.0).collect();
    let scores: Vec<f32> = lists.iter().flatten().map(|&(_, logit)| run.shown(logit)).collect();
    PyTuple::new(py, [bytes(py, &counts), bytes(py, &items), bytes(py, &scores)])
}

/// Returns the scores of pairs of known users and items, by their rows (uint32), as float32; NaN where the score is not finite.
#[pyfunction]
fn scores<'py>(
    py: Python<'py>,
    run: &Bound<'py, Recommender>,
    users: &Bound<'py, PyAny>,
    items: &Bound<'py, PyAny>,
    threads: usize,
) -> PyResult<Bound<'py, PyByteArray>> {
    let run = run.get().inner();
    let users =
        known(&Array::<u32>::of(users, "users")?, run.users.vocab().len())?.map(UserIx).collect::<Vec<_>>();
    let items =
        known(&Array::<u32>::of(items, "items")?, run.items.vocab().len())?.map(ItemIx).collect::<Vec<_>>();
    if users.len() != items.len() {
        let message = format!("items: found {}, expected {}, one for each user", items.len(), users.len());
        return Err(PyValueError::new_err(message));
    }
    let scores = work::short(py, threads, || {
        let mut logits = vec![0.0; users.len()];
        run.model.score_pairs(&users, &items, &mut logits);
        logits.iter_mut().for_each(|x| *x = if x.is_finite() { run.shown(*x) } else { f32::NAN });
        logits
    })?;
    Ok(bytes(py, &scores))
}

/// Returns the ids of a side, and whether it is that of the users.
fn index<'a>(run: &'a burnrec::Recommender, side: &str) -> PyResult<(&'a Index, bool)> {
    match side {
        "user" => Ok((&run.users, true)),
        "item" => Ok((&run.items, false)),
        other => Err(PyValueError::new_err(format!("side: found {other:?}, expected user or item"))),
    }
}

/// Returns rows that a side of so many has.
fn known(rows: &Array<u32>, n: usize) -> PyResult<impl Iterator<Item = u32>> {
    match rows.values().iter().find(|&&row| row as usize >= n) {
        Some(row) => Err(PyKeyError::new_err(format!("row: found {row}, expected less than {n}"))),
        None => Ok(rows.values().iter().copied()),
    }
}

fn read(config: &str) -> PyResult<AlsConfig> {
    let config: AlsConfig =
        serde_json::from_str(config).map_err(|error| PyValueError::new_err(error.to_string()))?;
    config.validate().map_err(|error| of_model(&error))?;
    Ok(config)
}
