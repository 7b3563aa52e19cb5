//! Parquet files: the types of their columns, and damaged ones.

use std::path::{Path, PathBuf};

use burnrec_data::Vocab;
use burnrec_data::read::{Columns, Format, ReadOptions, ReadOutcome, read};
use burnrec_data::table::{TableColumn, write_table};
use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, ParquetWriter, Series, TimeUnit};

use crate::damaged::read_damaged;
use crate::{folder, shown, take};

#[test]
fn parquet_keeps_the_types_of_its_ids() {
    let folder = folder(&[]);
    let path = folder.path().join("p/part-0.parquet");
    let columns = [
        ("user_id", TableColumn::I64(vec![5_000_000_000, i64::MIN])),
        ("item_id", TableColumn::Str(vec!["12".into(), "012".into()])),
        ("rating", TableColumn::F32(vec![0.5, 4.0])),
        ("time", TableColumn::U32(vec![7, 4_000_000_000])),
    ];
    write_table(&path, &columns).unwrap();
    for path in [path.clone(), folder.path().join("p")] {
        let outcome = take(&path);
        assert_eq!(outcome.summary.format, Format::Parquet);
        let dataset = outcome.dataset;
        let expected = ["5000000000 12 0.5 7", "-9223372036854775808 012 4 4000000000"];
        assert_eq!(shown(&dataset, &dataset.interactions), expected);
        assert_eq!(dataset.items, Vocab::from_strs(["12", "012"]));
    }
}

#[test]
fn parquet_times_may_be_dates_or_timestamps_and_ids_small_integers() {
    let folder = folder(&[]);
    let day = 86_400;
    let cases = [
        (DataType::Date, vec![11_016i64, -1], [11_016 * day, -day]),
        (DataType::Datetime(TimeUnit::Milliseconds, None), vec![978_300_760_999, -1], [978_300_760, -1]),
        (DataType::Datetime(TimeUnit::Microseconds, None), vec![978_300_760_000_000, 0], [978_300_760, 0]),
        (DataType::Datetime(TimeUnit::Nanoseconds, None), vec![978_300_760_000_000_000, 0], [978_300_760, 0]),
    ];
    for (dtype, times, expected) in cases {
        let times = Series::new("time".into(), times.clone());
        let times = if dtype == DataType::Date { times.cast(&DataType::Int32).unwrap() } else { times };
        let columns = vec![
            Series::new("user".into(), [1i64, 2]).cast(&DataType::Int16).unwrap().into_column(),
            Series::new("item".into(), [200i64, 7]).cast(&DataType::UInt8).unwrap().into_column(),
            times.cast(&dtype).unwrap().into_column(),
        ];
        let path = folder.path().join("t.parquet");
        let mut table = DataFrame::new(2, columns).unwrap();
        ParquetWriter::new(std::fs::File::create(&path).unwrap()).finish(&mut table).unwrap();
        let rows = take(&path).dataset.interactions;
        assert_eq!(rows.times, expected, "{dtype:?}");
    }
}

#[test]
fn a_damaged_parquet_file() {
    let folder = folder(&[]);
    let path = folder.path().join("r.parquet");
    let columns =
        [("user", TableColumn::I64((0..1000).collect())), ("item", TableColumn::I64((0..1000).collect()))];
    write_table(&path, &columns).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for end in [0, 3, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..end]).unwrap();
        let found = read(&path, &ReadOptions::default()).unwrap_err().to_string();
        assert!(found.contains("r.parquet: found ") && found.contains(", expected "), "{end} bytes: {found}");
    }
    write_table(&path, &[("user", TableColumn::F32(vec![1.0])), ("item", TableColumn::U32(vec![1]))])
        .unwrap();
    let found = read(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(
        found.ends_with("column \"user\" of type Float32, expected integers or strings as user ids"),
        "{found}"
    );
    let nan = [
        ("user", TableColumn::U32(vec![1])),
        ("item", TableColumn::U32(vec![1])),
        ("rating", TableColumn::F32(vec![f32::NAN])),
    ];
    write_table(&path, &nan).unwrap();
    let found = read(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(found.ends_with("found NaN in row 1, expected a finite number as rating"), "{found}");
}

#[test]
fn damaged_parquet_files_are_read_or_refused() {
    let folder = folder(&[]);
    let path = folder.path().join("p/part.parquet");
    let columns = [
        ("user", TableColumn::I64((0..300).map(|k| k % 17).collect())),
        ("item", TableColumn::Str((0..300).map(|k| format!("i{}", k % 23)).collect())),
        ("rating", TableColumn::F32((0..300).map(|k| (k % 5) as f32).collect())),
    ];
    write_table(&path, &columns).unwrap();
    let files = vec![("p/part.parquet".to_owned(), std::fs::read(&path).unwrap())];
    let (good, bad) = read_damaged(folder.path(), &files, 2000, 2);
    assert!(good + bad == 2000 && bad > 500, "{good} read, {bad} refused");
}

#[test]
fn parquet_times_may_be_texts_or_in_milliseconds() {
    let folder = folder(&[]);
    let times = [
        TableColumn::Str(vec!["2000-12-31 22:12:40+00:00".into(), "978300760".into()]),
        TableColumn::I64(vec![978_300_760_123, 978_300_760]),
    ];
    for (number, times) in times.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.parquet"));
        let columns =
            [("user", TableColumn::I64(vec![1, 2])), ("item", TableColumn::I64(vec![3, 4])), ("time", times)];
        write_table(&path, &columns).unwrap();
        assert_eq!(take(&path).dataset.interactions.times, [978_300_760; 2], "{number}");
    }
}

/// Returns the file of columns that `fixtures/write_parquet.py` writes.
fn columns_of_all_types() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/columns.parquet")
}

/// Reads the fixture with these columns as item, value and time; the users are 3, 1 and 2.
fn with(item: &str, value: &str, time: &str) -> burnrec_data::Result<ReadOutcome> {
    let some = |name: &str| Some(name.to_owned());
    let columns = Columns {
        user: some("int64"),
        item: some(item),
        value: some(value),
        time: some(time),
        ..Columns::default()
    };
    read(&columns_of_all_types(), &ReadOptions { columns, ..ReadOptions::default() })
}

#[test]
fn ids_of_every_type_are_integers_or_the_texts_they_are() {
    let ids = |item: &str| {
        let dataset =
            with(item, "float64", "date32").unwrap_or_else(|error| panic!("{item}: {error}")).dataset;
        let rows = dataset.interactions.items.iter();
        (
            matches!(dataset.items, Vocab::Int(_)),
            rows.map(|row| dataset.items.id(row.0).to_string()).collect(),
        )
    };
    let integers = |ids: [i64; 3]| (true, ids.map(|id| id.to_string()).to_vec());
    for item in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"] {
        assert_eq!(ids(item), integers([3, 1, 2]), "{item}");
    }
    for item in ["decimal_id", "dictionary_of_int64"] {
        assert_eq!(ids(item), integers([3, 1, 2]), "{item}");
    }
    let texts = |ids: [&str; 3]| (false, ids.map(str::to_owned).to_vec());
    assert_eq!(ids("large_uint64"), texts(["9223372036854775808", "7", "18446744073709551615"]));
    assert_eq!(ids("large_decimal_id"), texts(["9223372036854775808", "7", "-5"]));
    for item in [
        "string",
        "large_string",
        "string_view",
        "binary",
        "dictionary_int8",
        "dictionary_int32",
        "dictionary_uint16",
        "dictionary_of_large_strings",
    ] {
        assert_eq!(ids(item), texts(["c", "007", "a, b"]), "{item}");
    }
}

#[test]
fn values_and_times_of_every_type_are_the_numbers_they_stand_for() {
    let rows = |value: &str, time: &str| {
        let read = with("string", value, time).unwrap_or_else(|error| panic!("{value}, {time}: {error}"));
        read.dataset.interactions
    };
    for value in ["float32", "float64", "decimal", "wide_decimal", "dictionary_of_float64"] {
        assert_eq!(rows(value, "date32").values, [0.5, 4.25, -1.0], "{value}");
    }
    for value in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "decimal_id"] {
        assert_eq!(rows(value, "date32").values, [3.0, 1.0, 2.0], "{value}");
    }
    for unit in ["s", "ms", "us", "ns"] {
        for zone in ["", "_utc", "_berlin", "_offset"] {
            let time = format!("timestamp_{unit}{zone}");
            assert_eq!(rows("int8", &time).times, [978_300_760, -1, 0], "{time}");
        }
    }
    for time in ["date32", "date64"] {
        assert_eq!(rows("int8", time).times, [978_220_800, -86_400, 0], "{time}");
    }
    for time in ["time_texts", "time_dictionary"] {
        assert_eq!(rows("int8", time).times, [978_300_760, -1, 0], "{time}");
    }
    assert_eq!(rows("int8", "time_float64").times, [978_300_760, -1, 0]);
    assert_eq!(rows("int8", "time_decimal").times, [978_300_760, -1, 0]);
    assert_eq!(rows("int8", "time_uint64").times, [978_300_760, 978_300_760, 0]);
}

#[test]
fn a_type_that_has_no_such_meaning_is_named() {
    for (item, value, time, expected) in [
        (
            "float64",
            "int8",
            "date32",
            "column \"float64\" of type Float64, expected integers or strings as item ids",
        ),
        (
            "decimal",
            "int8",
            "date32",
            "column \"decimal\" of type Decimal(9, 2), expected integers or strings as item ids",
        ),
        (
            "bool",
            "int8",
            "date32",
            "column \"bool\" of type Boolean, expected integers or strings as item ids",
        ),
        ("int8", "bool", "date32", "column \"bool\" of type Boolean, expected numbers as ratings"),
        ("int8", "float16", "date32", "column \"float16\" of type Float16, expected numbers as ratings"),
        ("int8", "timestamp_ms", "date32", "expected numbers as ratings"),
        ("int8", "dictionary_int8", "date32", "expected numbers as ratings"),
        ("list", "int8", "date32", "column \"list\" of type "),
        ("int8", "int8", "duration", "expected Unix seconds, timestamps, dates or texts of these as times"),
    ] {
        let error = with(item, value, time).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
