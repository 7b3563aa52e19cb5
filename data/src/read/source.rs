//! Finds the files that a path stands for, and their format.

use std::fs;
use std::path::{Path, PathBuf};

use super::columns::{Columns, is_header};
use super::file::{TextFile, header_of};
use super::format::Format;
use super::record::Separator;
use crate::{Error, Result};

/// The files to read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Their format, never `Auto`.
    pub format: Format,
    /// What to call the dataset.
    pub name: String,
    /// The rating rows, in this order.
    pub files: Vec<PathBuf>,
    /// The test rows that the format brings.
    pub test: Option<PathBuf>,
    /// The candidates of the test rows.
    pub candidates: Option<PathBuf>,
    /// The titles beside the ratings.
    pub titles: Option<PathBuf>,
}

/// Finds the files that `path` (a file, a directory or a prefix) stands for.
///
/// # Errors
/// When nothing is there, or nothing that fits the format; with `Format::Auto`, nothing that fits any format.
pub fn find(path: &Path, format: Format, columns: &Columns) -> Result<Source> {
    let format = match format {
        Format::Auto => recognise(path, columns)?,
        format => format,
    };
    let ratings = match format {
        Format::Auto => unreachable!("recognised above"),
        Format::Ncf => return ncf(path),
        Format::Ml100k => {
            if let Some(base) = fold(path) {
                return Ok(Source {
                    name: format!("{}-{}", folder_name(&base), stem(&base)),
                    titles: beside(&base, "u.item"),
                    test: Some(base.with_extension("test")),
                    files: vec![base],
                    format,
                    candidates: None,
                });
            }
            inside(path, "u.data")?
        }
        Format::Ml1m => inside(path, "ratings.dat")?,
        Format::MlCsv => inside(path, "ratings.csv")?,
        Format::Csv | Format::Tsv | Format::Parquet if path.is_dir() => {
            let files = part_files(path, format)?;
            if files.is_empty() {
                return Err(unknown(path, &format!("files that end in .{format}")));
            }
            let name = file_name(path);
            return Ok(Source { format, name, files, test: None, candidates: None, titles: None });
        }
        Format::Csv | Format::Tsv | Format::Parquet => path.to_owned(),
    };
    let titles = match format {
        Format::Ml100k => beside(&ratings, "u.item"),
        Format::Ml1m => beside(&ratings, "movies.dat"),
        Format::MlCsv => beside(&ratings, "movies.csv"),
        _ => None,
    };
    let known = ["u.data", "ratings.dat", "ratings.csv"].contains(&file_name(&ratings).as_str());
    let name = if known { folder_name(&ratings) } else { stem(&ratings) };
    Ok(Source { format, name, files: vec![ratings], test: None, candidates: None, titles })
}

fn recognise(path: &Path, columns: &Columns) -> Result<Format> {
    if with_suffix(path, ".train.rating").is_file() || file_name(path).ends_with(".train.rating") {
        return Ok(Format::Ncf);
    }
    if path.is_dir() {
        let has = |name: &str| path.join(name).is_file();
        if has("u.data") {
            return Ok(Format::Ml100k);
        }
        if has("ratings.dat") {
            return Ok(Format::Ml1m);
        }
        if has("ratings.csv") {
            return Ok(Format::MlCsv);
        }
        if !train_files(path)?.is_empty() {
            return Ok(Format::Ncf);
        }
        for format in [Format::Parquet, Format::Csv, Format::Tsv] {
            if !part_files(path, format)?.is_empty() {
                return Ok(format);
            }
        }
        let expected = "a format it knows: u.data (ml-100k), ratings.dat (ml-1m, ml-10m, movietweetings), \
                        ratings.csv (ml-csv), PREFIX.train.rating (ncf), or .parquet, .csv or .tsv files";
        return Err(unknown(path, expected));
    }
    if fold(path).is_some() || file_name(path) == "u.data" {
        return Ok(Format::Ml100k);
    }
    let file = TextFile::open(path)?;
    if file.bytes().starts_with(b"PAR1") || extension(path) == "parquet" {
        return Ok(Format::Parquet);
    }
    let line = file.first_line();
    let lossy = String::from_utf8_lossy(line);
    match extension(path).as_str() {
        _ if lossy.contains("::") => Ok(Format::Ml1m),
        "tsv" => Ok(Format::Tsv),
        "csv" => Ok(csv(&file, columns)),
        _ if lossy.contains('\t') => Ok(Format::Tsv),
        _ if lossy.contains(',') => Ok(csv(&file, columns)),
        _ => Err(Error::malformed(
            path,
            format!("a first line {}", crate::error::cite(line)),
            "fields separated by \",\", a tab or \"::\", or a Parquet file",
        )),
    }
}

/// Tells MovieLens's CSV, by its header, from any other.
fn csv(file: &TextFile, columns: &Columns) -> Format {
    let header = header_of(file, Separator::Quoted(b','));
    let movie_lens =
        ["userId", "movieId", "rating"].iter().all(|name| header.iter().any(|have| have == name));
    if movie_lens && is_header(&header, columns) { Format::MlCsv } else { Format::Csv }
}

/// Finds the files of the NCF paper; `path` is `PREFIX`, `PREFIX.train.rating`, or a directory with one such file.
fn ncf(path: &Path) -> Result<Source> {
    let prefix = match path.to_str().and_then(|path| path.strip_suffix(".train.rating")) {
        Some(prefix) => PathBuf::from(prefix),
        None if path.is_dir() => match train_files(path)?.as_slice() {
            [train] => path.join(file_name(train).trim_end_matches(".train.rating")),
            found => {
                let found: Vec<String> = found.iter().map(|train| file_name(train)).collect();
                return Err(Error::malformed(path, format!("{found:?}"), "one file PREFIX.train.rating"));
            }
        },
        None => path.to_owned(),
    };
    Ok(Source {
        format: Format::Ncf,
        name: file_name(&prefix),
        files: vec![with_suffix(&prefix, ".train.rating")],
        test: Some(with_suffix(&prefix, ".test.rating")),
        candidates: Some(with_suffix(&prefix, ".test.negative")),
        titles: None,
    })
}

fn train_files(path: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(path)?.into_iter().filter(|file| file_name(file).ends_with(".train.rating")).collect())
}

/// Returns the base of a fold of MovieLens 100K; `path` is `u1.base`, or `u1` where `u1.base` lies beside it.
fn fold(path: &Path) -> Option<PathBuf> {
    if extension(path) == "base" {
        return Some(path.to_owned());
    }
    let base = with_suffix(path, ".base");
    base.is_file().then_some(base)
}

/// Returns the file itself, or the one called `name` in the directory.
fn inside(path: &Path, name: &str) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join(name);
    if file.is_file() { Ok(file) } else { Err(unknown(path, &format!("a file {name}"))) }
}

/// Returns the part files of a directory by name, without hidden ones and those that Spark writes beside them.
fn part_files(path: &Path, format: Format) -> Result<Vec<PathBuf>> {
    let end = format!(".{format}");
    let is_part = |name: &str| name.ends_with(&end) && !name.starts_with(['.', '_']);
    Ok(entries(path)?.into_iter().filter(|file| file.is_file() && is_part(&file_name(file))).collect())
}

fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).map_err(Error::io("read", path))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(Error::io("read", path))?;
    files.sort();
    Ok(files)
}

fn unknown(path: &Path, expected: &str) -> Error {
    let names: Vec<String> = entries(path).unwrap_or_default().iter().map(|file| file_name(file)).collect();
    let found = match names.as_slice() {
        [] => "an empty directory".to_owned(),
        [few @ .., _] if few.len() < 8 => format!("files {names:?}"),
        many => format!("{} files such as {:?}", many.len(), &many[..8]),
    };
    Error::malformed(path, found, expected)
}

fn beside(path: &Path, name: &str) -> Option<PathBuf> {
    let file = path.with_file_name(name);
    file.is_file().then_some(file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// Returns the name of the directory a file lies in, or its own where that has none.
fn folder_name(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match absolute.parent().and_then(Path::file_name) {
        Some(folder) => folder.to_string_lossy().into_owned(),
        None => stem(path),
    }
}
