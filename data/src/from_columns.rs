//! Builds a [`Dataset`] from columns in memory, such as those of a data frame.

use crate::id_builder::{IdBuilder, join};
use crate::{Dataset, Error, Interactions, ItemIx, Result, UserIx};

/// A column of outside ids, one per row, for [`Dataset::from_columns`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdColumn {
    /// Integer ids.
    Int(Vec<i64>),
    /// String ids; none may be empty.
    Str(Vec<String>),
}

impl IdColumn {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Int(ids) => ids.len(),
            Self::Str(ids) => ids.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Turns the column into the input of [`join`]; an error names the column `name`.
    fn builder(self, name: &str) -> Result<IdBuilder> {
        let ids = match self {
            Self::Int(ids) => return Ok(IdBuilder::Int(ids)),
            Self::Str(ids) => ids,
        };
        let mut builder = IdBuilder::default();
        let strings = builder.strings();
        for (row, id) in ids.iter().enumerate() {
            if id.is_empty() {
                return Err(Error::setting(
                    name,
                    format!("an empty id in row {}", row + 1),
                    "an id in every row",
                ));
            }
            strings.push(id);
        }
        Ok(builder)
    }
}

impl From<Vec<i64>> for IdColumn {
    fn from(ids: Vec<i64>) -> Self {
        Self::Int(ids)
    }
}

impl From<&[i64]> for IdColumn {
    fn from(ids: &[i64]) -> Self {
        Self::Int(ids.to_vec())
    }
}

impl From<Vec<String>> for IdColumn {
    fn from(ids: Vec<String>) -> Self {
        Self::Str(ids)
    }
}

impl From<Vec<&str>> for IdColumn {
    fn from(ids: Vec<&str>) -> Self {
        ids.as_slice().into()
    }
}

impl From<&[&str]> for IdColumn {
    fn from(ids: &[&str]) -> Self {
        Self::Str(ids.iter().map(|&id| id.to_owned()).collect())
    }
}

impl Dataset {
    /// Builds a dataset from columns of equal length, row by row a user, an item, a value (1 without `values`) and a
    /// time in Unix seconds (0 without `times`). Ids keep their type: integers become a vocabulary of integers, strings
    /// one of strings. The dataset is called `columns` and has no titles; both are fields to set.
    ///
    /// ```
    /// use burnrec_data::Dataset;
    ///
    /// let users = vec!["ann", "ann", "bob"];
    /// let items = vec![10, 11, 10];
    /// let dataset = Dataset::from_columns(users, items, Some(vec![4.0, 3.5, 5.0]), None)?;
    /// assert_eq!((dataset.users.len(), dataset.items.len()), (2, 2));
    /// assert_eq!(dataset.users.find("bob"), Some(1));
    ///
    /// let error = Dataset::from_columns(vec![1, 2], vec![10, 11], Some(vec![4.0, f32::NAN]), None).unwrap_err();
    /// assert_eq!(error.to_string(), "values: found NaN in row 2, expected finite numbers");
    /// # Ok::<(), burnrec_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no row, there are more than `u32::MAX`, a column has another length than `users`, a value is NaN
    /// or infinite, or a string id is empty. Rows are counted from 1.
    pub fn from_columns(
        users: impl Into<IdColumn>,
        items: impl Into<IdColumn>,
        values: Option<Vec<f32>>,
        times: Option<Vec<i64>>,
    ) -> Result<Self> {
        let (users, items) = (users.into(), items.into());
        let n = users.len();
        if n == 0 || u32::try_from(n).is_err() {
            let expected = format!("between 1 and {} rows", u32::MAX);
            return Err(Error::setting("users", format!("{n} rows"), expected));
        }
        let lengths = [
            ("items", Some(items.len())),
            ("values", values.as_ref().map(Vec::len)),
            ("times", times.as_ref().map(Vec::len)),
        ];
        for (name, length) in lengths {
            if let Some(length) = length.filter(|&length| length != n) {
                return Err(Error::setting(name, format!("{length} rows"), format!("{n}, as users has")));
            }
        }
        let values = values.unwrap_or_else(|| vec![1.0; n]);
        if let Some(row) = values.iter().position(|value| !value.is_finite()) {
            let found = format!("{} in row {}", values[row], row + 1);
            return Err(Error::setting("values", found, "finite numbers"));
        }
        let (user_vocab, users) = join(vec![users.builder("users")?], UserIx);
        let (item_vocab, items) = join(vec![items.builder("items")?], ItemIx);
        let times = times.unwrap_or_else(|| vec![0; n]);
        Ok(Self {
            name: "columns".to_owned(),
            synthetic: false,
            interactions: Interactions { users, items, values, times },
            users: user_vocab,
            items: item_vocab,
            titles: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vocab;

    #[test]
    fn rows_and_ids_are_those_given() {
        let ids = &["b", "007", "b"][..];
        let dataset = Dataset::from_columns(vec![7, -1, 7], ids, None, Some(vec![3, 2, 1])).unwrap();
        assert_eq!(dataset.users, Vocab::from_ints(vec![-1, 7]));
        assert_eq!(dataset.items, Vocab::from_strs(["007", "b"]));
        let expected = Interactions {
            users: [1, 0, 1].map(UserIx).to_vec(),
            items: [1, 0, 1].map(ItemIx).to_vec(),
            values: vec![1.0; 3],
            times: vec![3, 2, 1],
        };
        assert_eq!(dataset.interactions, expected);
        let strings = vec!["7".to_owned(), "8".to_owned()];
        let dataset = Dataset::from_columns(strings, vec![1, 1], None, None).unwrap();
        assert_eq!(dataset.users, Vocab::from_strs(["7", "8"]), "strings stay strings");
        assert_eq!(dataset.users.row(crate::Id::Int(8)), Some(1));
    }

    #[test]
    fn columns_that_are_no_dataset_are_refused() {
        let refused = |users: IdColumn, items: IdColumn, values, times| {
            Dataset::from_columns(users, items, values, times).unwrap_err().to_string()
        };
        let ints = |n: i64| IdColumn::Int((0..n).collect());
        let cases = [
            (
                refused(ints(0), ints(0), None, None),
                "users: found 0 rows, expected between 1 and 4294967295 rows",
            ),
            (refused(ints(2), ints(3), None, None), "items: found 3 rows, expected 2, as users has"),
            (
                refused(ints(2), ints(2), Some(vec![1.0]), None),
                "values: found 1 rows, expected 2, as users has",
            ),
            (refused(ints(1), ints(1), None, Some(vec![])), "times: found 0 rows, expected 1, as users has"),
            (
                refused(ints(2), ints(2), Some(vec![1.0, f32::INFINITY]), None),
                "values: found inf in row 2, expected finite numbers",
            ),
            (
                refused(ints(2), vec!["a", ""].into(), None, None),
                "items: found an empty id in row 2, expected an id in every row",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }
}
