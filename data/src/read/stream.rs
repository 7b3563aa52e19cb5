//! Reads the rating rows of a data frame, which comes as a stream of the Arrow C stream interface
//! (<https://arrow.apache.org/docs/format/CStreamInterface.html>): that of polars, pandas, pyarrow, DuckDB.

use std::ffi::c_void;
use std::path::Path;
use std::ptr::NonNull;

use polars::prelude::{ArrowDataType, ArrowField, Column, DataFrame, PolarsResult, Series};
use polars_arrow::array::{ArrayRef, StructArray};
use polars_arrow::ffi::{ArrowArrayStream, ArrowArrayStreamReader};

use super::assemble::{Joined, assemble};
use super::columns::{Columns, pick};
use super::ncf::CandidateIds;
use super::parquet::{check_types, guarded, rows};
use super::report::{Drops, OnBadRow};
use crate::{Dataset, Error, Result, Stop};

/// What messages call the frame.
const FRAME: &str = "frame";

/// Reads the rating rows of an Arrow stream of record batches: integers and strings as ids, which keep their type, numbers as
/// values, and times as in a Parquet file. Columns that are not asked for are found by their usual names. The dataset is called
/// `name`.
///
/// # Errors
/// When the stream fails, has no rows or not the columns, a column's type does not fit its use, or a row has no id, no time, or
/// no finite value, rows counted from 1; when it is asked to stop.
///
/// # Safety
/// `stream` points to an `ArrowArrayStream` that fulfils the C stream interface. It is moved out, and what is left behind is
/// marked as released.
pub unsafe fn read_stream(
    stream: NonNull<c_void>,
    columns: &Columns,
    name: &str,
    stop: &Stop,
) -> Result<Dataset> {
    // SAFETY: the caller says that a stream is there, and the interface lets it be moved.
    let stream = unsafe { stream.cast::<ArrowArrayStream>().replace(ArrowArrayStream::empty()) };
    let path = Path::new(FRAME);
    // SAFETY: the caller says that the stream fulfils the interface.
    let mut reader = guarded(path, || unsafe { ArrowArrayStreamReader::try_new(Box::new(stream)) })?;
    let ArrowDataType::Struct(fields) = reader.field().dtype().clone() else {
        let found = format!("a stream of {:?}", reader.field().dtype());
        return Err(Error::malformed(path, found, "one of record batches"));
    };
    let names: Vec<String> = fields.iter().map(|field| field.name.to_string()).collect();
    let types: Vec<(String, ArrowDataType)> =
        names.iter().cloned().zip(fields.iter().map(|field| field.dtype.clone())).collect();
    let picked = pick(path, &names, columns)?;
    check_types(path, &types, &picked)?;
    let mut taken: Vec<usize> =
        [Some(picked.user), Some(picked.item), picked.value, picked.time].into_iter().flatten().collect();
    taken.sort_unstable();
    taken.dedup();

    let mut chunks: Vec<Vec<ArrayRef>> = vec![Vec::new(); taken.len()];
    // SAFETY: as above.
    while let Some(batch) = guarded(path, || unsafe { reader.next() }.transpose())? {
        stop.check()?;
        let Some(batch) = batch.as_any().downcast_ref::<StructArray>() else {
            return Err(Error::malformed(path, "a batch of another type", "record batches of one schema"));
        };
        for (chunks, &at) in chunks.iter_mut().zip(&taken) {
            chunks.push(batch.values()[at].clone());
        }
    }
    let n_rows: usize = chunks[0].iter().map(|chunk| chunk.len()).sum();
    if n_rows == 0 || u32::try_from(n_rows).is_err() {
        return Err(Error::malformed(
            path,
            format!("{n_rows} rows"),
            format!("between 1 and {} rows", u32::MAX),
        ));
    }
    stop.check()?;
    let table = guarded(path, || table(&fields, &taken, chunks))?;
    let mut drops = Drops::default();
    let rows = guarded(path, || Ok(rows(path, &table, &names, &picked, OnBadRow::Fail, &mut drops)))??;
    stop.check()?;
    let Joined { users, items, interactions, .. } = assemble(vec![rows], CandidateIds::default())?;
    Ok(Dataset { name: name.to_owned(), synthetic: false, interactions, users, items, titles: None })
}

/// Puts the chunks of the columns that are taken together to a table.
fn table(fields: &[ArrowField], taken: &[usize], chunks: Vec<Vec<ArrayRef>>) -> PolarsResult<DataFrame> {
    let columns = taken.iter().zip(chunks);
    let column = |(&at, chunks)| Series::try_from((&fields[at], chunks)).map(Column::from);
    DataFrame::new_infer_height(columns.map(column).collect::<PolarsResult<_>>()?)
}
