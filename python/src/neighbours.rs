//! Item-item nearest neighbours over sparse matrices of scipy.

use burnrec::models::item_item::{Histories, ItemMatrix, Itself, nearest as nearest_items};
use burnrec::{KnnConfig, Similarity};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::matrix::Matrix;
use crate::query::{Best, Only, top_lists};
use crate::work;

/// Returns the `k` items that are most like each, itself among them, `[n_items, n_items]`, by the dot products of the columns of
/// `matrix`, weighted as `similarity` says: `cosine`, `tfidf`, `bm25`, or None for as they are.
#[pyfunction]
#[pyo3(signature = (matrix, similarity, k, *, k1=1.2, b=0.75, threads=0, listener=None))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn nearest(
    py: Python<'_>,
    matrix: &Bound<'_, Matrix>,
    similarity: Option<&str>,
    k: usize,
    k1: f32,
    b: f32,
    threads: usize,
    listener: Option<&Bound<'_, PyAny>>,
) -> PyResult<Matrix> {
    let similarity = match similarity {
        None => None,
        Some("cosine") => Some(Similarity::Cosine),
        Some("tfidf") => Some(Similarity::Tfidf),
        Some("bm25") => Some(Similarity::Bm25),
        Some(other) => {
            let text = format!("similarity: found {other:?}, expected cosine, tfidf, bm25 or None");
            return Err(PyValueError::new_err(text));
        }
    };
    if k == 0 {
        return Err(PyValueError::new_err("K: found 0, expected at least 1"));
    }
    let csr = &matrix.get().csr;
    let csr = work::long(py, threads, listener, |told| {
        Ok(match similarity {
            Some(similarity) => {
                KnnConfig { similarity, k, k1, b, ..KnnConfig::default() }.nearest(csr, told)?
            }
            None => nearest_items(csr, &vec![1.0; csr.n_cols()], k, Itself::Kept, told)?,
        })
    })?;
    Ok(Matrix { csr })
}

/// Recommends by an item-item matrix.
#[pyclass(frozen, module = "burnrec._native")]
pub struct Neighbours {
    matrix: ItemMatrix,
}

#[pymethods]
impl Neighbours {
    /// Takes the matrix `[n_items, n_items]`: in each row the items that score for having the row's item, and how much.
    #[new]
    fn new(similarity: &Bound<'_, Matrix>) -> PyResult<Self> {
        let csr = &similarity.get().csr;
        if csr.n_rows() != csr.n_cols() {
            let text =
                format!("similarity: found shape {:?}, expected a square", [csr.n_rows(), csr.n_cols()]);
            return Err(PyValueError::new_err(text));
        }
        Ok(Self { matrix: ItemMatrix::Sparse(csr.clone()) })
    }

    /// Writes for each row of `histories`, `[n, n_items]`, the items with the highest scores, int32 and float32 `[n, k]`: the sum of
    /// their similarities to the items of the row, each times its value. Items that are like none of them are left out, with
    /// `unseen` those of the row too.
    #[pyo3(signature = (histories, ids, scores, *, unseen, only=None, without=None, threads=0))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn recommend(
        &self,
        py: Python<'_>,
        histories: &Bound<'_, Matrix>,
        ids: &Bound<'_, PyAny>,
        scores: &Bound<'_, PyAny>,
        unseen: bool,
        only: Option<&Bound<'_, PyAny>>,
        without: Option<&Bound<'_, PyAny>>,
        threads: usize,
    ) -> PyResult<()> {
        let histories = &histories.get().csr;
        let n = histories.n_rows();
        let allowed = Only::of(only, without, Some(histories), [n, self.matrix.n_items()])?;
        let mut best = Best::of(ids, scores, n)?;
        let k = best.k();
        let mut lists = work::long(py, threads, None, |told| {
            let scorer = Histories { matrix: &self.matrix, histories };
            let seen = |at: usize| if unseen { histories.row(at).0 } else { &[] };
            Ok(top_lists(told, &scorer, n, k, seen, allowed.allowed()))
        })?;
        lists.iter_mut().for_each(|list| list.retain(|(_, score)| *score != 0.0));
        best.write(&lists);
        Ok(())
    }
}
