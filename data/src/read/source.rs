//! Finds the files that a path stands for, and their format.

use std::path::{Path, PathBuf};

use super::columns::is_header;
use super::file::{TextFile, csv_separator, header_of};
use super::format::Format;
use super::names::{COMPRESSED, extension, file_name, stem, uncompressed};
use super::options::ReadOptions;
use super::separator::Separator;
use crate::write::list_dir;
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
    /// The valid rows of a split by folders.
    pub valid: Vec<PathBuf>,
    /// The test rows that the files bring.
    pub test: Vec<PathBuf>,
    /// The candidates of the test rows.
    pub candidates: Option<PathBuf>,
    /// The titles beside the ratings.
    pub titles: Option<PathBuf>,
}

/// Finds the files that `path` (a file, a directory or a prefix) stands for.
///
/// # Errors
/// When nothing is there, or nothing that fits the format; with `Format::Auto`, nothing that fits any format.
pub fn find(path: &Path, options: &ReadOptions) -> Result<Source> {
    let format = match options.format {
        Format::Auto => recognise(path, options)?,
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
                    valid: Vec::new(),
                    test: vec![base.with_extension("test")],
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
            let [files, valid, test] = parts(path, files)?;
            return Ok(Source { format, name, files, valid, test, candidates: None, titles: None });
        }
        Format::Csv | Format::Tsv | Format::Parquet => path.to_owned(),
    };
    let titles = match format {
        Format::Ml100k => beside(&ratings, "u.item"),
        Format::Ml1m => beside(&ratings, "movies.dat"),
        Format::MlCsv => beside(&ratings, "movies.csv"),
        _ => None,
    };
    let known = ["u.data", "ratings.dat", "ratings.csv"].contains(&uncompressed(&file_name(&ratings)));
    let name = if known { folder_name(&ratings) } else { stem(&ratings) };
    let (files, valid, test) = (vec![ratings], Vec::new(), Vec::new());
    Ok(Source { format, name, files, valid, test, candidates: None, titles })
}

fn recognise(path: &Path, options: &ReadOptions) -> Result<Format> {
    if with_suffix(path, ".train.rating").is_file() || file_name(path).ends_with(".train.rating") {
        return Ok(Format::Ncf);
    }
    if path.is_dir() {
        let has = |name: &str| inside(path, name).is_ok();
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
    let file = TextFile::open_start(path)?;
    if file.is_parquet() {
        return Ok(Format::Parquet);
    }
    if options.separator.is_some() {
        return Ok(Format::Csv);
    }
    match (extension(path).as_str(), Separator::recognise(file.bytes())) {
        (_, Some(Separator::Colons)) => Ok(Format::Ml1m),
        ("tsv", _) | (_, Some(Separator::Plain(b'\t'))) => Ok(Format::Tsv),
        ("csv", _) | (_, Some(Separator::Quoted(_) | Separator::Plain(b'|'))) => Ok(csv(&file, options)),
        _ => Err(Error::malformed(
            path,
            format!("a first line {}", crate::error::cite(file.first_line())),
            "fields separated by \",\", a tab, \";\", \"|\" or \"::\", a Parquet file, or a separator asked for",
        )),
    }
}

/// Tells MovieLens's CSV, by its header, from any other.
fn csv(file: &TextFile, options: &ReadOptions) -> Format {
    let header = header_of(file, csv_separator(file.bytes())).unwrap_or_default();
    let movie_lens =
        ["userId", "movieId", "rating"].iter().all(|name| header.iter().any(|have| have == name));
    if movie_lens && is_header(&header, &options.columns) { Format::MlCsv } else { Format::Csv }
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
        valid: Vec::new(),
        test: vec![with_suffix(&prefix, ".test.rating")],
        candidates: Some(with_suffix(&prefix, ".test.negative")),
        titles: None,
    })
}

fn train_files(path: &Path) -> Result<Vec<PathBuf>> {
    Ok(list_dir(path)?.into_iter().filter(|file| file_name(file).ends_with(".train.rating")).collect())
}

/// Returns the base of a fold of MovieLens 100K; `path` is `u1.base`, or `u1` where `u1.base` lies beside it.
fn fold(path: &Path) -> Option<PathBuf> {
    if extension(path) == "base" {
        return Some(path.to_owned());
    }
    let base = with_suffix(path, ".base");
    base.is_file().then_some(base)
}

/// Returns the file itself, or the one called `name` in the directory, compressed or not.
fn inside(path: &Path, name: &str) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let ends = std::iter::once("").chain(COMPRESSED);
    let mut files = ends.map(|end| path.join(format!("{name}{end}")));
    files.find(|file| file.is_file()).ok_or_else(|| unknown(path, &format!("a file {name}")))
}

/// Returns the part files of a directory by name, those in the folders of its partitions (`year=2001`) included, without
/// hidden ones and those that Spark writes beside them.
fn part_files(path: &Path, format: Format) -> Result<Vec<PathBuf>> {
    let end = format!(".{format}");
    let mut files = Vec::new();
    for entry in list_dir(path)? {
        let name = file_name(&entry);
        if name.starts_with(['.', '_']) {
            continue;
        }
        if entry.is_dir() {
            if name.contains('=') {
                files.extend(part_files(&entry, format)?);
            }
        } else if uncompressed(&name).ends_with(&end) {
            files.push(entry);
        }
    }
    Ok(files)
}

/// The folders of a split, as `burnrec.spark.prepare` writes them.
const PARTS: [&str; 3] = ["split=train", "split=valid", "split=test"];

/// Returns the files of train, valid and test, where they are in folders of a split; else all are of train.
fn parts(path: &Path, files: Vec<PathBuf>) -> Result<[Vec<PathBuf>; 3]> {
    let is_in = |file: &Path, part: &str| {
        file.strip_prefix(path)
            .is_ok_and(|inside| inside.components().any(|folder| folder.as_os_str() == part))
    };
    let of = |part| files.iter().filter(|file| is_in(file, part)).cloned().collect::<Vec<_>>();
    let parts = PARTS.map(of);
    match parts.iter().map(Vec::len).sum::<usize>() {
        0 => Ok([files, Vec::new(), Vec::new()]),
        n if n == files.len() && parts.iter().all(|part| !part.is_empty()) => Ok(parts),
        _ => Err(unknown(path, &format!("files in {} and nowhere else", PARTS.join(", ")))),
    }
}

fn unknown(path: &Path, expected: &str) -> Error {
    let names: Vec<String> = list_dir(path).unwrap_or_default().iter().map(|file| file_name(file)).collect();
    let found = match names.as_slice() {
        [] => "an empty directory".to_owned(),
        [few @ .., _] if few.len() < 8 => format!("files {names:?}"),
        many => format!("{} files such as {:?}", many.len(), &many[..8]),
    };
    Error::malformed(path, found, expected)
}

fn beside(path: &Path, name: &str) -> Option<PathBuf> {
    inside(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")), name).ok()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the name of the directory a file lies in, or its own where that has none.
fn folder_name(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match absolute.parent().and_then(Path::file_name) {
        Some(folder) => folder.to_string_lossy().into_owned(),
        None => stem(path),
    }
}
