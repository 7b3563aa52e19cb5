//! Parquet files: the types of their columns, and damaged ones.

use burnrec_data::Vocab;
use burnrec_data::read::{Format, ReadOptions, read};
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
