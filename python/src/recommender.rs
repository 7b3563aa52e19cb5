//! A trained model that answers in outside ids.

use std::path::PathBuf;
use std::sync::Arc;

use burnrec::models::FoldedUser;
use burnrec::{DeviceChoice, EvaluateOn, Progress, Query, ScoredItem, UserIx, evaluate_run};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::arrays::bytes;
use crate::error::Raised;
use crate::ids::{OutsideId, of_id, of_rows};
use crate::prepared::Prepared;
use crate::work;

/// A model with the ids, titles and histories around it.
#[pyclass(frozen, module = "burnrec._native")]
pub struct Recommender {
    inner: Arc<burnrec::Recommender>,
}

/// An item for Python: id, score, title.
type Item = (Py<PyAny>, f32, Option<String>);

/// Lists of items as columns: users, ranks from 1, items and scores. Ids are the bytes of int64 or a list of texts.
type Lists<'py> = (Bound<'py, PyAny>, Bound<'py, PyByteArray>, Bound<'py, PyAny>, Bound<'py, PyByteArray>);

impl Recommender {
    /// Takes a recommender.
    pub fn new(inner: burnrec::Recommender) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Returns what it is over.
    pub fn inner(&self) -> &burnrec::Recommender {
        &self.inner
    }

    fn items(&self, py: Python<'_>, items: &[ScoredItem]) -> PyResult<Vec<Item>> {
        let item = |item: &ScoredItem| {
            let row = self.inner.item(&item.id).raised()?;
            let id = of_id(py, self.inner.items.vocab().id(row.0))?;
            Ok((id, item.score, item.title.clone()))
        };
        items.iter().map(item).collect()
    }

    /// Folds a user in and asks for something, in one piece of work.
    fn folded<T: Send>(
        &self,
        py: Python<'_>,
        history: Vec<(OutsideId, f32)>,
        ask: impl FnOnce(&FoldedUser<'_>) -> burnrec::models::Result<T> + Send,
    ) -> PyResult<T> {
        let history: Vec<(String, f32)> =
            history.into_iter().map(|(item, value)| (item.to_string(), value)).collect();
        work::short(py, 0, || ask(&self.inner.fold_in(&history)?))?.raised()
    }
}

fn query(k: usize, include_seen: bool, only: Option<Vec<OutsideId>>, without: Vec<OutsideId>) -> Query {
    let query = Query { k, include_seen, ..Query::default() }.without(without);
    match only {
        Some(only) => query.only(only),
        None => query,
    }
}

#[pymethods]
impl Recommender {
    /// Opens a run directory; networks score on `device`.
    #[staticmethod]
    #[pyo3(signature = (path, *, device))]
    fn open(py: Python<'_>, path: PathBuf, device: &str) -> PyResult<Self> {
        let device = device.parse::<DeviceChoice>().raised()?;
        work::long(py, 0, None, |_| Ok(burnrec::Recommender::open_on(&path, device)?)).map(Self::new)
    }

    /// Writes a run directory.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        work::short(py, 0, || self.inner.save(&path))?.raised()
    }

    /// The name of the model.
    #[getter]
    fn model(&self) -> &'static str {
        self.inner.kind()
    }

    /// What a score means.
    #[getter]
    fn score_is(&self) -> &'static str {
        self.inner.output.name()
    }

    /// `(users, items)` that have training rows.
    #[getter]
    fn n_known(&self) -> (usize, usize) {
        (self.inner.trained().users().len(), self.inner.trained().items().len())
    }

    /// The record of the run, as JSON.
    #[getter]
    fn record(&self) -> String {
        self.inner.record.to_string()
    }

    /// What the run was trained on: name and hash.
    #[getter]
    fn data(&self) -> (String, String) {
        (self.inner.data.name.clone(), self.inner.data.hash.clone())
    }

    /// The best items for a user.
    #[pyo3(signature = (user, k, *, include_seen, only, without))]
    fn recommend(
        &self,
        py: Python<'_>,
        user: OutsideId,
        k: usize,
        include_seen: bool,
        only: Option<Vec<OutsideId>>,
        without: Vec<OutsideId>,
    ) -> PyResult<Vec<Item>> {
        let query = query(k, include_seen, only, without);
        let user = user.to_string();
        let items = work::short(py, 0, || self.inner.recommend(&user, query))?.raised()?;
        self.items(py, &items)
    }

    /// The best items for some users, or for all that have training rows, as columns.
    #[pyo3(signature = (users, k, *, include_seen, only, without, threads))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn recommend_many<'py>(
        &self,
        py: Python<'py>,
        users: Option<Vec<OutsideId>>,
        k: usize,
        include_seen: bool,
        only: Option<Vec<OutsideId>>,
        without: Vec<OutsideId>,
        threads: usize,
    ) -> PyResult<Lists<'py>> {
        let query = query(k, include_seen, only, without);
        let users: Vec<UserIx> = match users {
            None => self.inner.trained().users().to_vec(),
            Some(users) => {
                let rows = users.iter().map(|user| self.inner.user(user));
                rows.collect::<burnrec::models::Result<_>>().raised()?
            }
        };
        let (of_user, rank, item, score) = work::long(py, threads, None, |told| {
            let (mut of_user, mut rank, mut item, mut score) =
                (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for users in users.chunks(work::USERS).take_while(|_| !told.interrupted()) {
                for (user, list) in users.iter().zip(&self.inner.top_rows(users, &query)?) {
                    for (at, (best, logit)) in list.iter().enumerate() {
                        of_user.push(user.0);
                        rank.push(at as i32 + 1);
                        item.push(best.0);
                        score.push(self.inner.shown(*logit));
                    }
                }
            }
            Ok((of_user, rank, item, score))
        })?;
        let users = of_rows(py, self.inner.users.vocab(), &of_user)?;
        let items = of_rows(py, self.inner.items.vocab(), &item)?;
        Ok((users, bytes(py, &rank), items, bytes(py, &score)))
    }

    /// The score of each pair as bytes of float32, NaN where the user or the item is unknown.
    fn score<'py>(
        &self,
        py: Python<'py>,
        users: Vec<OutsideId>,
        items: Vec<OutsideId>,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        if users.len() != items.len() {
            let text =
                format!("items: found {} of them, expected {}, one for each user", items.len(), users.len());
            return Err(PyValueError::new_err(text));
        }
        let pairs: Vec<(String, String)> =
            users.iter().zip(&items).map(|(user, item)| (user.to_string(), item.to_string())).collect();
        let scores = work::long(py, 0, None, |told| {
            let now = pairs.chunks(work::USERS).take_while(|_| !told.interrupted());
            Ok(now.flat_map(|pairs| self.inner.score(pairs)).collect::<Vec<_>>())
        })?;
        Ok(bytes(py, &scores.into_iter().map(|score| score.unwrap_or(f32::NAN)).collect::<Vec<_>>()))
    }

    /// Refuses a user who is unknown, and an item.
    #[pyo3(signature = (user=None, item=None))]
    fn check_known(&self, user: Option<OutsideId>, item: Option<OutsideId>) -> PyResult<()> {
        user.map_or(Ok(()), |user| self.inner.user(user).map(|_| ())).raised()?;
        item.map_or(Ok(()), |item| self.inner.item(item).map(|_| ())).raised()
    }

    /// The items most like an item.
    fn similar(&self, py: Python<'_>, item: OutsideId, k: usize) -> PyResult<Vec<Item>> {
        let item = item.to_string();
        let items = work::short(py, 0, || self.inner.similar(&item, k))?.raised()?;
        self.items(py, &items)
    }

    /// Refuses a history that no user can be folded in from.
    fn check_history(&self, py: Python<'_>, history: Vec<(OutsideId, f32)>) -> PyResult<()> {
        self.folded(py, history, |_| Ok(()))
    }

    /// The best items for a user with this history, the oldest item first.
    #[pyo3(signature = (history, k, *, include_seen, only, without))]
    fn recommend_folded(
        &self,
        py: Python<'_>,
        history: Vec<(OutsideId, f32)>,
        k: usize,
        include_seen: bool,
        only: Option<Vec<OutsideId>>,
        without: Vec<OutsideId>,
    ) -> PyResult<Vec<Item>> {
        let query = query(k, include_seen, only, without);
        let items = self.folded(py, history, |user| user.recommend(query))?;
        self.items(py, &items)
    }

    /// The scores of items for a user with this history, as bytes of float32.
    fn score_folded<'py>(
        &self,
        py: Python<'py>,
        history: Vec<(OutsideId, f32)>,
        items: Vec<OutsideId>,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        let items: Vec<String> = items.iter().map(OutsideId::to_string).collect();
        let scores = self.folded(py, history, |user| Ok(user.score(&items)))?;
        Ok(bytes(py, &scores.into_iter().map(|score| score.unwrap_or(f32::NAN)).collect::<Vec<_>>()))
    }

    /// Judges the model again on valid or test of the split that it was trained on; the scores as JSON.
    #[pyo3(signature = (data, on, *, threads, listener))]
    fn evaluate(
        &self,
        py: Python<'_>,
        data: &Bound<'_, Prepared>,
        on: &str,
        threads: usize,
        listener: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let on = match on {
            "valid" => EvaluateOn::Valid,
            "test" => EvaluateOn::Test,
            other => {
                return Err(PyValueError::new_err(format!("on: found {other:?}, expected valid or test")));
            }
        };
        let data = &data.get().data;
        let scores = work::long(py, threads, listener, |told| evaluate_run(&self.inner, data, on, told))?;
        Ok(serde_json::to_string(&scores).unwrap_or_default())
    }
}
