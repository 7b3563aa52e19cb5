//! Writes a dataset as MovieLens files, so that it can be read as real ones are.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::write::{write_file, write_file_with};
use crate::{Dataset, Error, ItemIx, Result};

/// The file that marks a directory of ratings as synthetic. Its first line is the name of the dataset.
pub const SYNTHETIC_MARK: &str = "SYNTHETIC";

/// Returns the name of the synthetic dataset in a directory, or beside a file; none where there is no mark.
pub fn synthetic_name(path: &Path) -> Option<String> {
    let dir = if path.is_dir() { path } else { path.parent()? };
    let mark = fs::read_to_string(dir.join(SYNTHETIC_MARK)).ok()?;
    Some(mark.lines().next().unwrap_or_default().to_owned())
}

/// Writes `ratings.csv` (`userId,movieId,rating,timestamp`), `movies.csv` (`movieId,title,genres`) and, for
/// synthetic data, the mark [`SYNTHETIC_MARK`], first, so that there is never a file without it.
///
/// # Errors
/// When a file cannot be written, or the directory holds ratings that are not synthetic.
pub fn write_movielens(dataset: &Dataset, dir: &Path) -> Result<()> {
    let ratings = dir.join("ratings.csv");
    if ratings.exists() && !dir.join(SYNTHETIC_MARK).exists() {
        let expected = "an empty directory, or one with synthetic ratings to replace";
        return Err(Error::malformed(dir, "ratings.csv without a mark as synthetic", expected));
    }
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    if dataset.synthetic {
        let text = format!(
            "{}\nThese ratings were drawn at random by `burnrec synth`; nobody gave them.\n",
            dataset.name
        );
        write_file(&dir.join(SYNTHETIC_MARK), text.as_bytes())?;
    }
    write_file_with(&dir.join("movies.csv"), |file| {
        let mut out = BufWriter::new(file);
        writeln!(out, "movieId,title,genres")?;
        for row in 0..dataset.items.len() as u32 {
            let title =
                dataset.titles.as_ref().and_then(|titles| titles.get(ItemIx(row))).unwrap_or_default();
            let id = dataset.items.id(row).to_string();
            writeln!(out, "{},{},(no genres listed)", quoted(&id), quoted(title))?;
        }
        out.flush()
    })?;
    let ids = |vocab: &crate::Vocab| -> Vec<String> {
        (0..vocab.len() as u32).map(|row| quoted(&vocab.id(row).to_string())).collect()
    };
    let (users, items) = (ids(&dataset.users), ids(&dataset.items));
    write_file_with(&ratings, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let rows = &dataset.interactions;
        writeln!(out, "userId,movieId,rating,timestamp")?;
        for k in 0..rows.len() {
            let (user, item) = (&users[rows.users[k].at()], &items[rows.items[k].at()]);
            writeln!(out, "{user},{item},{:?},{}", rows.values[k], rows.times[k])?;
        }
        out.flush()
    })
}

/// Returns a CSV field (RFC 4180): in quotes where it holds a comma, a quote or a line end.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}
