//! Which items may be recommended, and the arrays that the best ones are written to.

use burnrec::models::scorer::{Allowed, Scorer};
use burnrec::models::topk::top_k;
use burnrec::{Csr, ItemIx, Progress, UserIx};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;

use crate::arrays::{Array, ArrayMut};
use crate::work::{Told, USERS};

/// The items that may be recommended to all.
pub struct Only(Option<Allowed>);

impl Only {
    /// Takes int64 arrays of the items that alone may be recommended, and of those that may not, and checks that `exclude` has
    /// the shape `[users, items]`.
    ///
    /// # Errors
    /// When an item is not in the model, or the shape is another.
    pub fn of(
        only: Option<&Bound<'_, PyAny>>,
        without: Option<&Bound<'_, PyAny>>,
        exclude: Option<&Csr>,
        shape: [usize; 2],
    ) -> PyResult<Self> {
        let [_, n_items] = shape;
        let rows = |array: &Bound<'_, PyAny>, name: &str, strict: bool| -> PyResult<Vec<ItemIx>> {
            let mut rows = Vec::new();
            for &item in Array::<i64>::of(array, name)?.values() {
                match u32::try_from(item).ok().filter(|&item| (item as usize) < n_items) {
                    Some(item) => rows.push(ItemIx(item)),
                    None if strict => {
                        let text = format!("{name}: found item {item}, expected one of 0 to {n_items} - 1");
                        return Err(PyIndexError::new_err(text));
                    }
                    None => {}
                }
            }
            Ok(rows)
        };
        if let Some(found) =
            exclude.map(|exclude| [exclude.n_rows(), exclude.n_cols()]).filter(|found| *found != shape)
        {
            let text = format!(
                "user_items: found shape {found:?}, expected {shape:?}, a row for each user and a column for each item"
            );
            return Err(PyValueError::new_err(text));
        }
        let mut allowed = None;
        if let Some(only) = only {
            allowed = Some(Allowed::all(n_items).only(&rows(only, "items", true)?));
        }
        if let Some(without) = without {
            let all = allowed.unwrap_or_else(|| Allowed::all(n_items));
            allowed = Some(all.without(&rows(without, "filter_items", false)?));
        }
        Ok(Self(allowed))
    }

    /// Returns the items, `None` for all.
    pub fn allowed(&self) -> Option<&Allowed> {
        self.0.as_ref()
    }
}

/// The arrays of the best items, `[users, k]`. What a user has no item for is the item -1 with the least score.
pub struct Best<'py> {
    k: usize,
    ids: ArrayMut<'py, i32>,
    scores: ArrayMut<'py, f32>,
}

impl<'py> Best<'py> {
    /// Takes arrays of int32 and of float32.
    ///
    /// # Errors
    /// When they are not of one shape with `n_users` rows.
    pub fn of(ids: &Bound<'py, PyAny>, scores: &Bound<'py, PyAny>, n_users: usize) -> PyResult<Self> {
        let k = Array::<i32>::of(ids, "ids")?.matrix("ids")?[1];
        let ids = ArrayMut::of(ids, "ids", [n_users, k], &[])?;
        let scores = ArrayMut::of(scores, "scores", [n_users, k], &[])?;
        Ok(Self { k, ids, scores })
    }

    /// Returns how many items there are room for.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Writes the lists.
    pub fn write(&mut self, lists: &[Vec<(ItemIx, f32)>]) {
        let k = self.k.max(1);
        let rows = self.ids.values().chunks_exact_mut(k).zip(self.scores.values().chunks_exact_mut(k));
        for ((ids, scores), list) in rows.zip(lists) {
            ids.fill(-1);
            scores.fill(f32::MIN);
            for ((id, score), (item, value)) in ids.iter_mut().zip(scores).zip(list) {
                (*id, *score) = (item.0 as i32, *value);
            }
        }
    }
}

/// Lists the `k` best items of each of the first `n` users, until the work is to stop. `seen` are the items that the user at a
/// position must not get.
pub fn top_lists<'a>(
    told: &Told,
    scorer: &dyn Scorer,
    n: usize,
    k: usize,
    seen: impl Fn(usize) -> &'a [u32] + Sync,
    allowed: Option<&Allowed>,
) -> Vec<Vec<(ItemIx, f32)>> {
    let users: Vec<UserIx> = (0..n as u32).map(UserIx).collect();
    let mut lists = Vec::with_capacity(n);
    for users in users.chunks(USERS).take_while(|_| !told.interrupted()) {
        let begin = lists.len();
        lists.extend(top_k(scorer, users, k, |at| seen(begin + at), allowed));
    }
    lists
}
