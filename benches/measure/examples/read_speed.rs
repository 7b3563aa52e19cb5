//! Times burnrec's reader against polars's own read of the same columns, and prints peak memory.
//!
//! ```sh
//! cargo run --release --example read_speed -- ours|polars ratings.csv
//! ```
//!
//! A process runs one reader only, so that the peak memory is that reader's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burnrec_data::read::{ReadOptions, read};
use burnrec_train::machine::peak_memory_bytes;
use polars::prelude::{CsvParseOptions, CsvReadOptions, DataType, SerReader};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (who, path) =
        (args.next().ok_or("ours or polars")?, PathBuf::from(args.next().ok_or("a ratings file")?));
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        let rows = if who == "ours" {
            read(&path, &ReadOptions::default())?.dataset.interactions.len()
        } else {
            by_polars(&path)?
        };
        let seconds = start.elapsed().as_secs_f64();
        best = best.min(seconds);
        println!("{who}: {rows} rows in {seconds:.3} s");
    }
    println!("{who}: best {best:.3} s, peak {} MB", peak_memory_bytes() / 1_000_000);
    Ok(())
}

/// Reads the columns user, item, rating and time with polars, as integers, `f32` and integers, and returns the row
/// count.
fn by_polars(path: &std::path::Path) -> Result<usize, polars::error::PolarsError> {
    let colons = path.extension().is_some_and(|extension| extension == "dat");
    let types = |n: usize| -> Vec<DataType> {
        let mut types = vec![DataType::Int64; n];
        types[if colons { 4 } else { 2 }] = DataType::Float32;
        types
    };
    let options = CsvReadOptions::default()
        .with_has_header(!colons)
        .with_dtype_overwrite(Some(Arc::new(types(if colons { 7 } else { 4 }))))
        .with_projection(Some(Arc::new(if colons { vec![0, 2, 4, 6] } else { vec![0, 1, 2, 3] })))
        .with_parse_options(CsvParseOptions::default().with_separator(if colons { b':' } else { b',' }));
    Ok(options.try_into_reader_with_file_path(Some(path.to_owned()))?.finish()?.height())
}
