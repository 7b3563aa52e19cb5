//! The arrays of a file of weights that have something of each user: what they have of one, and what is left without it.

use std::collections::BTreeMap;

use burnrec_data::held::HeldRow;
use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::vocab_file::{csr_tensors, lists_tensors, read_csr, read_lists};
use burnrec_data::{Error as DataError, UserIx, Vocab};
use serde::Serialize;

use crate::Result;

/// A part of a file of weights with a row for each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserArray {
    /// The array of this name, whose first axis is users.
    Rows(&'static str),
    /// The matrix `[n_users, n_items]` that [`csr_tensors`] writes under this name.
    Matrix(&'static str),
    /// The lists of items, one for each user, that [`lists_tensors`] writes under this name.
    Lists(&'static str),
    /// The matrix that [`csr_tensors`] writes under this name, whose columns number what a user has at different times.
    Series(&'static str),
}

/// What a [`UserArray`] has of one user.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HeldArray {
    /// The user's row of numbers, such as factors.
    Numbers(Vec<f32>),
    /// The user's items.
    Items(Vec<HeldRow>),
    /// The user's numbers with their times, in Unix seconds, the oldest first.
    Series(Vec<(Option<i64>, f32)>),
}

impl UserArray {
    /// Returns the name of the array, or of the group of arrays.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows(name) | Self::Matrix(name) | Self::Lists(name) | Self::Series(name) => name,
        }
    }

    /// Returns what the array has of a user.
    ///
    /// # Errors
    /// When the file does not have such an array with a row for the user.
    pub fn held(self, file: &TensorFile, user: UserIx, items: &Vocab) -> Result<HeldArray> {
        match self {
            Self::Rows(name) => {
                let tensor = file.tensor(name)?;
                let width = tensor.shape().iter().skip(1).product::<usize>();
                let integers = || Some(tensor.values::<u32>()?.iter().map(|value| *value as f32).collect());
                let values: Option<Vec<f32>> = tensor.values().or_else(integers);
                let row = values.as_ref().and_then(|all| all.get(user.at() * width..(user.at() + 1) * width));
                Ok(HeldArray::Numbers(row.ok_or_else(|| self.lacks(file, user))?.to_vec()))
            }
            Self::Matrix(name) | Self::Series(name) => {
                let matrix = read_csr(file, name)?;
                let row = (user.at() < matrix.n_rows()).then(|| matrix.history(user.at()));
                let row = row.ok_or_else(|| self.lacks(file, user))?;
                Ok(match self {
                    Self::Series(_) => HeldArray::Series(row.iter().map(|of| (of.time, of.value)).collect()),
                    _ => HeldArray::Items(HeldRow::of_history(&row, items)),
                })
            }
            Self::Lists(name) => {
                let lists = read_lists(file, name, items.len())?;
                let row = (user.at() < lists.len()).then(|| lists.row(user.at()));
                let row = row.ok_or_else(|| self.lacks(file, user))?;
                let held = row.iter().map(|item| HeldRow::new(items.id(item.0), 1.0, None));
                Ok(HeldArray::Items(held.collect()))
            }
        }
    }

    /// Puts the array without a user among those of a file that is written again.
    fn leave(
        self,
        file: &TensorFile,
        user: UserIx,
        n_items: usize,
        arrays: &mut BTreeMap<String, Tensor>,
    ) -> Result<()> {
        let lacks = || self.lacks(file, user);
        match self {
            Self::Rows(name) => {
                let left = file.tensor(name)?.without_row(user.at()).ok_or_else(lacks)?;
                arrays.insert(name.to_owned(), left);
            }
            Self::Matrix(name) | Self::Series(name) => {
                let matrix = read_csr(file, name)?;
                let left = (user.at() < matrix.n_rows()).then(|| matrix.without_row(user.at()));
                arrays.extend(csr_tensors(name, &left.ok_or_else(lacks)?));
            }
            Self::Lists(name) => {
                let lists = read_lists(file, name, n_items)?;
                let left = (user.at() < lists.len()).then(|| lists.without(user.at()));
                arrays.extend(lists_tensors(name, &left.ok_or_else(lacks)?));
            }
        }
        Ok(())
    }

    fn lacks(self, file: &TensorFile, user: UserIx) -> crate::Error {
        let expected = format!("a row for the user of row {}", user.0);
        DataError::malformed(file.path(), format!("{:?} with fewer rows", self.name()), expected).into()
    }
}

/// Returns all arrays of a file, some of them without a user.
///
/// # Errors
/// When the file does not have these with a row for the user.
pub fn without_user(
    file: &TensorFile,
    of_users: &[UserArray],
    user: UserIx,
    n_items: usize,
) -> Result<Vec<(String, Tensor)>> {
    let mut arrays = BTreeMap::new();
    for name in file.names() {
        let array = file.tensor(&name)?;
        arrays.insert(name, array);
    }
    of_users.iter().try_for_each(|of| of.leave(file, user, n_items, &mut arrays))?;
    Ok(arrays.into_iter().collect())
}
