//! Reads vectors with the ids of their rows, such as factors, and columns of texts, from Parquet files.

use std::path::Path;

use super::parquet;
use crate::{Error, Result};

/// Vectors of one length, each with the integer id of its row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IdVectors {
    /// `[rows]`
    pub ids: Vec<i64>,
    /// The length of each vector.
    pub dim: usize,
    /// `[rows, dim]`, row-major.
    pub values: Vec<f32>,
}

/// Reads the vectors of length `dim` in the column `vector` of a Parquet file, lists of numbers, and the ids beside them in the
/// column `id`, integers.
///
/// # Errors
/// When the file cannot be read or is damaged, a column is not there or of another type, an id or a number is missing, or a
/// list has another length than `dim`; the error names the row, counted from 1.
pub fn read_vectors(path: &Path, id: &str, vector: &str, dim: usize) -> Result<IdVectors> {
    let (ids, lists) = parquet::vectors(path, id, vector)?;
    let mut values = Vec::with_capacity(ids.len() * dim);
    for (row, list) in lists.into_iter().enumerate() {
        if list.len() != dim {
            let found = format!("{} numbers in {vector:?} of row {}", list.len(), row + 1);
            return Err(Error::malformed(path, found, format!("{dim}")));
        }
        values.extend(list);
    }
    Ok(IdVectors { ids, dim, values })
}

/// Reads columns of a Parquet file as texts, one in every row.
///
/// # Errors
/// When the file cannot be read or is damaged, a column is not there or cannot be text, or a text is missing.
pub fn read_text_columns(path: &Path, columns: &[&str]) -> Result<Vec<Vec<String>>> {
    let names: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
    let whole = |(name, texts): (&String, Vec<Option<String>>)| {
        let text = |(row, text): (usize, Option<String>)| {
            let found = format!("nothing in {name:?} of row {}", row + 1);
            text.ok_or_else(|| Error::malformed(path, found, "a value in every row"))
        };
        texts.into_iter().enumerate().map(text).collect()
    };
    names.iter().zip(parquet::texts(path, &names)?).map(whole).collect()
}

#[cfg(all(test, feature = "parquet"))]
mod tests {
    use super::*;
    use crate::Vocab;
    use crate::table::{TableColumn, write_table};

    #[test]
    fn vectors_and_texts_come_back_and_what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.parquet");
        let vocab = Vocab::from_strs(["a", "b"]);
        let values = vec![1.0, 2.0, 3.0, -4.0];
        let columns = [
            ("id", TableColumn::I32(vec![-7, i32::MAX])),
            ("features", TableColumn::F32List { dim: 2, values: values.clone() }),
            ("name", TableColumn::Ids(&vocab, vec![1, 0])),
        ];
        write_table(&path, &columns).unwrap();
        let read = read_vectors(&path, "id", "features", 2).unwrap();
        assert_eq!(read, IdVectors { ids: vec![-7, i64::from(i32::MAX)], dim: 2, values });
        assert_eq!(read_text_columns(&path, &["name", "id"]).unwrap()[0], ["b", "a"]);
        assert_eq!(read_text_columns(&path, &["name", "id"]).unwrap()[1], ["-7", "2147483647"]);
        let error = |id, vector, dim| read_vectors(&path, id, vector, dim).unwrap_err().to_string();
        let long = error("id", "features", 3);
        assert!(long.ends_with("found 2 numbers in \"features\" of row 1, expected 3"), "{long}");
        assert!(error("id", "factors", 2).contains("factors"));
        assert!(error("name", "features", 2).contains("name"), "{}", error("name", "features", 2));
        assert!(error("id", "name", 2).contains("name"), "{}", error("id", "name", 2));
    }
}
