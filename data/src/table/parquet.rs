//! Writes columns as Parquet.

use std::fs::File;
use std::io::{BufWriter, Error, Result};
use std::path::Path;

use polars::prelude::{
    BooleanChunked, Column, DataFrame, DataType, Float32Type, IntoColumn, KeyValueMetadata, ListBuilderTrait,
    ListPrimitiveChunkedBuilder, NamedFrom, ParquetReader, ParquetWriter, SerReader, Series,
};

use super::TableColumn;
use crate::read::guarded;
use crate::write::write_file_with;
use crate::{Id, Vocab};

/// Writes `rows` rows of the columns, with texts by name in the file's metadata.
pub fn write(
    file: &mut File,
    rows: usize,
    columns: &[(&str, TableColumn)],
    metadata: &[(&str, &str)],
) -> Result<()> {
    let columns = columns.iter().map(|(name, column)| build(name, column)).collect();
    let mut table = DataFrame::new(rows, columns).map_err(Error::other)?;
    let metadata = metadata.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
    ParquetWriter::new(BufWriter::new(file))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(metadata)))
        .finish(&mut table)
        .map(|_| ())
        .map_err(Error::other)
}

/// Writes a file again without the rows for which `gone` is set.
pub fn drop_rows(path: &Path, gone: &[bool]) -> crate::Result<()> {
    let open = || File::open(path).map_err(crate::Error::io("read", path));
    let mut reader = ParquetReader::new(open()?);
    let metadata = guarded(path, || Ok(reader.get_metadata()?.key_value_metadata().clone()))?;
    // The schema of Arrow, which the writer adds itself.
    let texts = metadata.unwrap_or_default().into_iter().filter(|entry| entry.key != "ARROW:schema");
    let texts: Vec<(String, String)> =
        texts.filter_map(|entry| Some((entry.key.to_string(), entry.value?.to_string()))).collect();
    let table = ParquetReader::new(open()?);
    let table = guarded(path, || table.finish())?;
    if table.height() != gone.len() {
        let found = format!("{} rows", table.height());
        return Err(crate::Error::malformed(path, found, format!("{}, as before", gone.len())));
    }
    let kept: Vec<bool> = gone.iter().map(|gone| !gone).collect();
    let mut table = guarded(path, || table.filter(&BooleanChunked::new("kept".into(), kept)))?;
    write_file_with(path, |file| {
        ParquetWriter::new(BufWriter::new(file))
            .with_key_value_metadata(Some(KeyValueMetadata::from_static(texts)))
            .finish(&mut table)
            .map(|_| ())
            .map_err(Error::other)
    })
}

fn build(name: &str, column: &TableColumn) -> Column {
    let name = name.into();
    match column {
        TableColumn::I64(values) => Series::new(name, values).into_column(),
        TableColumn::I32(values) => Series::new(name, values).into_column(),
        TableColumn::Str(values) => Series::new(name, values).into_column(),
        TableColumn::F32(values) => Series::new(name, values).into_column(),
        TableColumn::U32(values) => Series::new(name, values).into_column(),
        TableColumn::F32List { dim, values } => {
            let (rows, inner) = (column.len(), DataType::Float32);
            let mut lists = ListPrimitiveChunkedBuilder::<Float32Type>::new(name, rows, values.len(), inner);
            values.chunks_exact((*dim).max(1)).for_each(|row| lists.append_slice(row));
            lists.finish().into_column()
        }
        TableColumn::Ids(Vocab::Int(ids), rows) => {
            let ids: Vec<i64> = rows.iter().map(|&row| ids[row as usize]).collect();
            Series::new(name, ids).into_column()
        }
        TableColumn::Ids(vocab @ Vocab::Str { .. }, rows) => {
            let text = |&row: &u32| match vocab.id(row) {
                Id::Str(id) => id,
                Id::Int(_) => unreachable!("a string vocabulary gives string ids"),
            };
            Series::new(name, rows.iter().map(text).collect::<Vec<&str>>()).into_column()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read_text_columns;
    use crate::table::{self, write_table, write_table_with};

    #[test]
    fn rows_go_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.parquet");
        let columns = [
            ("n", TableColumn::U32(vec![1, 2, 3])),
            ("text", TableColumn::Str(["a", "secret", "c"].map(String::from).to_vec())),
        ];
        write_table_with(&path, &columns, &[("of", "a test")]).unwrap();
        table::drop_rows(&path, &[false, true, false]).unwrap();
        let found = read_text_columns(&path, &["n", "text"]).unwrap();
        assert_eq!(found, [["1", "3"], ["a", "c"]]);
        let mut reader = ParquetReader::new(File::open(&path).unwrap());
        let entries = reader.get_metadata().unwrap().key_value_metadata().clone().unwrap();
        let of = |text: &str| entries.iter().filter(|entry| entry.key == text).count();
        assert_eq!((of("of"), of("ARROW:schema") < 2), (1, true));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|bytes| bytes == b"secret"));
        let error = table::drop_rows(&path, &[true]).unwrap_err().to_string();
        assert!(error.contains("found 2 rows, expected 1"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        table::drop_rows(&path, &[true, true]).unwrap();
        assert_eq!(read_text_columns(&path, &["n"]).unwrap(), [Vec::<String>::new()]);
    }

    #[test]
    fn texts_by_name_are_in_the_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.parquet");
        let column = [("n", TableColumn::U32(vec![1]))];
        write_table_with(&path, &column, &[("burnrec.bias", "the last element is 1")]).unwrap();
        let mut reader = ParquetReader::new(File::open(&path).unwrap());
        let metadata = reader.get_metadata().unwrap().key_value_metadata().clone().unwrap();
        let bias = metadata.iter().find(|entry| entry.key == "burnrec.bias").unwrap();
        assert_eq!(bias.value.as_deref(), Some("the last element is 1"));
    }

    #[test]
    fn lists_keep_their_rows() {
        let folder = tempfile::tempdir().unwrap();
        let list = [("factors", TableColumn::F32List { dim: 2, values: vec![1.0, 2.0, 3.0, 4.0] })];
        let path = folder.path().join("f.parquet");
        write_table(&path, &list).unwrap();
        let file = File::open(&path).unwrap();
        let table = ParquetReader::new(file).finish().unwrap();
        let row = table.column("factors").unwrap().list().unwrap().get_as_series(1).unwrap();
        assert_eq!(row.f32().unwrap().iter().map(Option::unwrap).collect::<Vec<f32>>(), [3.0, 4.0]);
    }
}
