//! Reads the rating rows, or columns of texts, of a Parquet file.
//!
//! Ids keep the type they have in the file: a column of integers is integer ids, one of strings or of a dictionary of strings
//! string ids.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::{
    ArrowDataType, Column, DataFrame, DataType, ParquetReader, PolarsResult, SerReader, TimeUnit,
};

use super::columns::{Picked, pick};
use super::number;
use super::options::ReadOptions;
use super::report::{Drops, FileRead, OnBadRow, Reason};
use super::text::Rows;
use crate::id_builder::IdBuilder;
use crate::{Error, Id, Result};

/// Reads a file; returns its entry in the summary, the names of the columns taken, and the rows.
///
/// # Errors
/// When the file cannot be read, is damaged or does not have the columns, and with `OnBadRow::Fail` at the first bad
/// row.
pub fn read_parquet(
    path: &Path,
    options: &ReadOptions,
    drops: &mut Drops,
) -> Result<(FileRead, Vec<String>, Vec<Rows>)> {
    let summary = FileRead::of(path)?;
    let fields = schema(path)?;
    let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
    let picked = pick(path, &names, &options.columns)?;
    check_types(path, &fields, &picked)?;
    let taken: Vec<String> = [Some(picked.user), Some(picked.item), picked.value, picked.time]
        .into_iter()
        .flatten()
        .map(|at| names[at].clone())
        .collect();
    let table = table(path, &taken)?;
    let rows = guarded(path, || Ok(rows(path, &table, &names, &picked, options.on_bad_row, drops)))??;
    Ok((summary, taken, vec![rows]))
}

/// Returns the names and types of a file's columns.
fn schema(path: &Path) -> Result<Vec<(String, ArrowDataType)>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let schema = guarded(path, || ParquetReader::new(file).schema())?;
    Ok(schema.iter().map(|(name, field)| (name.to_string(), field.dtype.clone())).collect())
}

/// Returns the names of a file's columns.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn names(path: &Path) -> Result<Vec<String>> {
    Ok(schema(path)?.into_iter().map(|(name, _)| name).collect())
}

/// Returns columns as text, each with one entry per row.
///
/// # Errors
/// When the file is damaged, or a column cannot be text.
pub fn texts(path: &Path, columns: &[String]) -> Result<Vec<Vec<Option<String>>>> {
    let table = table(path, columns)?;
    let text = |name: &String| {
        guarded(path, || {
            let column = table.column(name)?.strict_cast(&DataType::String)?;
            Ok(column.str()?.iter().map(|text| text.map(str::to_owned)).collect())
        })
    };
    columns.iter().map(text).collect()
}

/// Returns a column of integers and a column of lists of numbers, a list for each row.
///
/// # Errors
/// When the file is damaged, a column is not there or of another type, or a value is missing.
pub fn vectors(path: &Path, id: &str, vector: &str) -> Result<(Vec<i64>, Vec<Vec<f32>>)> {
    let names = names(path)?;
    if let Some(missing) = [id, vector].into_iter().find(|&column| !names.iter().any(|name| name == column)) {
        return Err(Error::malformed(path, format!("columns {names:?}"), format!("a column {missing:?}")));
    }
    let table = table(path, &[id.to_owned(), vector.to_owned()])?;
    let missing = |name: &str, row: usize| {
        let found = format!("nothing in {name:?} of row {}", row + 1);
        Error::malformed(path, found, "a value in every row")
    };
    let of_type = |name: &str, dtype: &DataType, expected: &str| {
        let column = guarded(path, || table.column(name).cloned())?;
        let known = match dtype {
            DataType::List(_) => matches!(column.dtype(), DataType::List(_)),
            _ => column.dtype().is_integer(),
        };
        let found = || format!("column {name:?} of type {}", column.dtype());
        let cast = if known { column.strict_cast(dtype).ok() } else { None };
        cast.ok_or_else(|| Error::malformed(path, found(), expected))
    };
    let ids = of_type(id, &DataType::Int64, "integers as ids")?;
    let lists = of_type(vector, &DataType::List(Box::new(DataType::Float32)), "lists of numbers")?;
    let ids = guarded(path, || Ok(ids.i64()?.iter().collect::<Vec<Option<i64>>>()))?;
    let id_of = |(row, value): (usize, Option<i64>)| value.ok_or_else(|| missing(id, row));
    let ids = ids.into_iter().enumerate().map(id_of).collect::<Result<Vec<i64>>>()?;
    let list_of = |row: usize| {
        let list =
            guarded(path, || Ok(lists.list()?.get_as_series(row)))?.ok_or_else(|| missing(vector, row))?;
        let values = guarded(path, || Ok(list.f32()?.iter().collect::<Option<Vec<f32>>>()))?;
        values.ok_or_else(|| missing(vector, row))
    };
    let lists = (0..ids.len()).map(list_of).collect::<Result<Vec<Vec<f32>>>>()?;
    Ok((ids, lists))
}

/// Returns some columns of a file.
fn table(path: &Path, columns: &[String]) -> Result<DataFrame> {
    let mut columns = columns.to_vec();
    columns.sort();
    columns.dedup();
    let file = File::open(path).map_err(Error::io("read", path))?;
    guarded(path, || ParquetReader::new(file).with_columns(Some(columns)).finish())
}

/// Runs a step of the Parquet reader, whose decoders may panic on damaged bytes.
pub(crate) fn guarded<T>(path: &Path, step: impl FnOnce() -> PolarsResult<T>) -> Result<T> {
    let found = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        Err(_) => "bytes that cannot be decoded".to_owned(),
    };
    Err(Error::malformed(path, found, "a whole Parquet file"))
}

/// Refuses columns whose types do not fit their use.
pub(super) fn check_types(path: &Path, fields: &[(String, ArrowDataType)], picked: &Picked) -> Result<()> {
    use ArrowDataType::{
        Binary, BinaryView, Date32, Date64, Decimal, Decimal32, Decimal64, Decimal256, Dictionary, Float32,
        Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, Timestamp, UInt8, UInt16, UInt32, UInt64,
        Utf8, Utf8View,
    };
    let columns = [
        (Some(picked.user), "integers or strings as user ids"),
        (Some(picked.item), "integers or strings as item ids"),
        (picked.value, "numbers as ratings"),
        (picked.time, "Unix seconds, timestamps, dates or texts of these as times"),
    ];
    for (place, (at, expected)) in columns.into_iter().enumerate() {
        let Some((name, dtype)) = at.map(|at| &fields[at]) else { continue };
        let of_values = if let Dictionary(_, values, _) = dtype { values } else { dtype };
        let known = match of_values {
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => true,
            Decimal(_, scale) | Decimal32(_, scale) | Decimal64(_, scale) | Decimal256(_, scale) => {
                place >= 2 || *scale == 0
            }
            Float32 | Float64 => place >= 2,
            Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => place != 2,
            Date32 | Date64 | Timestamp(..) => place == 3,
            _ => false,
        };
        if !known {
            return Err(Error::malformed(path, format!("column {name:?} of type {dtype:?}"), expected));
        }
    }
    Ok(())
}

/// The ids of a column, row by row.
enum Ids<'a> {
    Int(Box<dyn Iterator<Item = Option<i64>> + 'a>),
    Str(Box<dyn Iterator<Item = Option<&'a str>> + 'a>),
}

/// Returns the rating rows of a table; messages name `path`.
pub(super) fn rows(
    path: &Path,
    table: &DataFrame,
    names: &[String],
    picked: &Picked,
    on_bad_row: OnBadRow,
    drops: &mut Drops,
) -> Result<Rows> {
    let damaged = |error: polars::error::PolarsError| {
        Error::malformed(path, error.to_string(), "numbers that fit the column's use")
    };
    let column = |at: usize| table.column(&names[at]).map_err(damaged);
    let id_column = |at: usize| {
        let column = column(at)?;
        match is_text(column.dtype()) {
            true => column.strict_cast(&DataType::String),
            // Integers that an i64 does not hold are ids by their texts.
            false => column.strict_cast(&DataType::Int64).or_else(|_| column.strict_cast(&DataType::String)),
        }
        .map_err(damaged)
    };
    let (users, items) = (id_column(picked.user)?, id_column(picked.item)?);
    let cast = |at: usize, dtype: &DataType| column(at)?.strict_cast(dtype).map_err(damaged);
    let values = picked.value.map(|at| cast(at, &DataType::Float32)).transpose()?;
    let (mut times, mut unit) = (None, Unit { factor: 1, divisor: 0 });
    if let Some(at) = picked.time {
        let dtype = column(at)?.dtype();
        unit = Unit::of(dtype);
        times = Some(match dtype {
            dtype if is_text(dtype) => cast(at, &DataType::String)?,
            DataType::Float32 | DataType::Float64 | DataType::Decimal(..) => cast(at, &DataType::Float64)?,
            _ => cast(at, &DataType::Int64)?,
        });
    }
    fn ids(column: &Column) -> PolarsResult<Ids<'_>> {
        Ok(match column.dtype() {
            DataType::String => Ids::Str(Box::new(column.str()?.iter())),
            _ => Ids::Int(Box::new(column.i64()?.iter())),
        })
    }
    let (mut users, mut items) = (ids(&users).map_err(damaged)?, ids(&items).map_err(damaged)?);
    let mut values = match &values {
        Some(values) => Some(values.f32().map_err(damaged)?.iter()),
        None => None,
    };
    let mut times = match &times {
        Some(times) => Some(seconds(times, unit).map_err(damaged)?),
        None => None,
    };
    let mut out = Rows::default();
    for row in 0..table.height() {
        let value = values.as_mut().map_or(Some(1.0), |values| values.next().flatten());
        let time = times.as_mut().map_or(Some(0), |times| times.next().flatten());
        let (user, item) = (users.next(), items.next());
        let bad = match (value, time, user, item) {
            (Some(value), Some(time), Some(user), Some(item)) if value.is_finite() => {
                push(user, &mut out.users);
                push(item, &mut out.items);
                out.values.push(value);
                out.times.push(time);
                continue;
            }
            (None, ..) => (Reason::Number, "no rating".to_owned(), "a number as rating"),
            (_, None, ..) => (Reason::Time, "no time".to_owned(), "Unix seconds or an ISO date as time"),
            (.., None, _) => (Reason::MissingId, "no user id".to_owned(), "an id as user"),
            (.., None) => (Reason::MissingId, "no item id".to_owned(), "an id as item"),
            (Some(value), ..) => (Reason::NotFinite, value.to_string(), "a finite number as rating"),
        };
        let (reason, found, expected) = bad;
        let found = format!("{found} in row {}", row + 1);
        let error = Error::malformed(path, found, expected);
        if on_bad_row == OnBadRow::Fail {
            return Err(error);
        }
        drops.add(1, error, reason);
    }
    Ok(out)
}

/// Whether the values of a column are texts; bytes are taken for UTF-8.
fn is_text(dtype: &DataType) -> bool {
    matches!(dtype, DataType::String | DataType::Binary | DataType::Categorical(..) | DataType::Enum(..))
}

/// The unit of a column of times: its numbers are of `factor` / `divisor` seconds. The divisor is 0 where the unit is the one
/// that [`number::believed`] takes.
#[derive(Clone, Copy)]
struct Unit {
    factor: i64,
    divisor: i64,
}

impl Unit {
    fn of(dtype: &DataType) -> Self {
        let (factor, divisor) = match dtype {
            DataType::Date => (86_400, 1),
            DataType::Datetime(TimeUnit::Milliseconds, _) => (1, 1_000),
            DataType::Datetime(TimeUnit::Microseconds, _) => (1, 1_000_000),
            DataType::Datetime(TimeUnit::Nanoseconds, _) => (1, 1_000_000_000),
            _ => (1, 0),
        };
        Self { factor, divisor }
    }
}

/// Returns the times of a column in Unix seconds; none where there is no time.
fn seconds(times: &Column, unit: Unit) -> PolarsResult<Box<dyn Iterator<Item = Option<i64>> + '_>> {
    let Unit { factor, divisor } = unit;
    Ok(match times.dtype() {
        DataType::String => {
            let text = |text: Option<&str>| text.and_then(|text| number::seconds(text.trim().as_bytes()));
            Box::new(times.str()?.iter().map(text))
        }
        DataType::Float64 => Box::new(times.f64()?.iter().map(|time| time.and_then(number::whole_seconds))),
        _ if divisor == 0 => Box::new(times.i64()?.iter().map(|time| time.and_then(number::believed))),
        _ => Box::new(
            times.i64()?.iter().map(move |time| time.map(|time| (time * factor).div_euclid(divisor))),
        ),
    })
}

impl<'a> Ids<'a> {
    /// Returns the id of the next row, if it has one.
    fn next(&mut self) -> Option<Id<'a>> {
        match self {
            Ids::Int(ids) => ids.next().flatten().map(Id::Int),
            Ids::Str(ids) => ids.next().flatten().filter(|id| !id.is_empty()).map(Id::Str),
        }
    }
}

/// Appends an id and keeps its type: a string stays one, even where it looks like an integer.
fn push(id: Id<'_>, column: &mut IdBuilder) {
    match id {
        Id::Int(id) => column.push_int(id),
        Id::Str(id) => column.strings().push(id),
    }
}
