//! A text file in memory, and the layout of its lines.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::columns::{is_header, pick, pick_without_header};
use super::format::Format;
use super::layout::Layout;
use super::names::extension;
use super::options::ReadOptions;
use super::record::{line_at, record};
use super::report::{Drops, FileRead};
use super::separator::Separator;
use super::text::{Rows, rows};
use crate::{Error, Result, hash};

/// A file of delimited text. It is mapped, so that its bytes are read as they are needed and never copied; one that is
/// compressed, or has carriage returns alone at its line ends, is unpacked into memory.
pub struct TextFile {
    path: PathBuf,
    map: Mmap,
    unpacked: Option<Vec<u8>>,
}

impl TextFile {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read, is no text, or is empty.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_any(path)?.with_text()
    }

    /// Opens a file to look at its first lines: of a compressed one no more than [`START`] is unpacked.
    ///
    /// # Errors
    /// As [`TextFile::open`].
    pub fn open_start(path: &Path) -> Result<Self> {
        Self::unpacked(path, START)?.with_text()
    }

    /// Opens a file, which may be empty.
    pub fn open_any(path: &Path) -> Result<Self> {
        Self::unpacked(path, u64::MAX)
    }

    fn with_text(self) -> Result<Self> {
        if self.bytes().trim_ascii().is_empty() {
            return Err(Error::malformed(&self.path, "an empty file", "lines of fields"));
        }
        Ok(self)
    }

    /// Opens a file, and unpacks at most so many bytes of a compressed one.
    fn unpacked(path: &Path, most: u64) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        // SAFETY: the map is only read. That no other program cuts the file short in the meantime is asked of the
        // caller, as by every reader that maps its input.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("read", path))?;
        #[cfg(unix)]
        map.advise(memmap2::Advice::Sequential).map_err(Error::io("read", path))?;
        let unpacked = unpack(path, &map, most)?;
        Ok(Self { path: path.to_owned(), map, unpacked })
    }

    /// Returns the bytes, without a byte order mark.
    pub fn bytes(&self) -> &[u8] {
        let bytes = self.unpacked.as_deref().unwrap_or(&self.map);
        bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
    }

    /// Whether it is a Parquet file, by its first bytes or its name.
    pub fn is_parquet(&self) -> bool {
        self.bytes().starts_with(b"PAR1") || extension(&self.path) == "parquet"
    }

    /// Returns the first line, without its break.
    pub fn first_line(&self) -> &[u8] {
        line_at(self.bytes(), 0)
    }

    /// Returns the text, as UTF-8 if it is that, else as latin-1, in which old MovieLens files are written.
    pub fn text(&self) -> Cow<'_, str> {
        match std::str::from_utf8(self.bytes()) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(self.bytes().iter().map(|&byte| char::from(byte)).collect()),
        }
    }

    /// Returns the file's entry in the summary.
    pub fn summary(&self) -> FileRead {
        FileRead {
            path: self.path.clone(),
            bytes: self.map.len() as u64,
            sha256: hash::hex(&Sha256::digest(&self.map)),
        }
    }
}

/// Reads the rating rows of a text file; returns its entry in the summary, the names of the columns taken, and
/// the rows. An empty file has no rows; Spark writes such part files.
///
/// # Errors
/// When the file cannot be read or does not have the columns, and with `OnBadRow::Fail` at the first bad row.
pub fn read_text(
    path: &Path,
    format: Format,
    options: &ReadOptions,
    drops: &mut Drops,
) -> Result<(FileRead, Vec<String>, Vec<Rows>)> {
    let file = TextFile::open_any(path)?;
    if file.bytes().is_empty() {
        return Ok((file.summary(), Vec::new(), Vec::new()));
    }
    let (layout, start, names) = layout(&file, format, options)?;
    let (summary, rows) =
        rayon::join(|| file.summary(), || rows(path, file.bytes(), start, &layout, options, drops));
    Ok((summary, names, rows?))
}

/// Returns the layout of a file's lines, where its rows start, and the names of the columns taken.
pub fn layout(
    file: &TextFile,
    format: Format,
    options: &ReadOptions,
) -> Result<(Layout, usize, Vec<String>)> {
    let columns = &options.columns;
    let fixed = |separator| {
        let names = ["user", "item", "rating", "time"].map(str::to_owned).to_vec();
        Ok((Layout { separator, n_fields: 4, user: 0, item: 1, value: Some(2), time: Some(3) }, 0, names))
    };
    let separator = match format {
        Format::Ml1m => return fixed(Separator::Colons),
        Format::Ml100k | Format::Ncf => return fixed(Separator::Plain(b'\t')),
        Format::Tsv => Separator::Plain(b'\t'),
        _ => csv_separator(file.bytes()),
    };
    let separator = options.separator.unwrap_or(separator).with_quotes(options.quotes.asked());
    let line = header_of(file, separator)?;
    let header = is_header(&line, columns);
    let picked = if header {
        pick(&file.path, &line, columns)?
    } else {
        pick_without_header(&file.path, &line, columns)?
    };
    let start = if header { record_end(file.bytes(), separator) } else { 0 };
    let taken = [Some(picked.user), Some(picked.item), picked.value, picked.time];
    let name = |at: usize| if header { line[at].clone() } else { at.to_string() };
    let names = taken.into_iter().flatten().map(name).collect();
    let layout = Layout {
        separator,
        n_fields: line.len(),
        user: picked.user,
        item: picked.item,
        value: picked.value,
        time: picked.time,
    };
    Ok((layout, start, names))
}

/// Returns the separator of a text that is called CSV: a comma, unless its lines say another.
pub fn csv_separator(text: &[u8]) -> Separator {
    match Separator::recognise(text) {
        Some(mark @ (Separator::Quoted(_) | Separator::Plain(b'|' | b'\t'))) => mark,
        _ => Separator::Quoted(b','),
    }
}

/// The bytes in which the first lines of a file are looked for.
const START: u64 = 1 << 20;

/// Returns the text of a file that does not hold it as it stands, at most so many bytes of it.
fn unpack(path: &Path, bytes: &[u8], most: u64) -> Result<Option<Vec<u8>>> {
    let damaged = |what: &'static str| {
        move |error: std::io::Error| {
            Error::malformed(path, format!("damaged {what}, {error}"), "a whole file")
        }
    };
    let unpacked = if bytes.starts_with(b"\x1f\x8b") {
        let mut text = Vec::new();
        MultiGzDecoder::new(bytes).take(most).read_to_end(&mut text).map_err(damaged("gzip"))?;
        Some(text)
    } else if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        let mut text = Vec::new();
        let decoder = zstd::Decoder::with_buffer(bytes).map_err(damaged("zstd"))?;
        decoder.take(most).read_to_end(&mut text).map_err(damaged("zstd"))?;
        Some(text)
    } else {
        None
    };
    let text = unpacked.as_deref().unwrap_or(bytes);
    if is_utf16(text) {
        let expected = "UTF-8, as `iconv -f UTF-16 -t UTF-8` writes it";
        return Err(Error::malformed(path, "text in UTF-16", expected));
    }
    let ends = text.iter().position(|&byte| byte == b'\n' || byte == b'\r');
    let carriage_returns = ends.is_some_and(|at| text[at] == b'\r' && text.get(at + 1) != Some(&b'\n'));
    if carriage_returns && !text.contains(&b'\n') {
        let line_end = |&byte: &u8| if byte == b'\r' { b'\n' } else { byte };
        return Ok(Some(text.iter().map(line_end).collect()));
    }
    Ok(unpacked)
}

/// Whether a text is in UTF-16: it begins with the mark of that, or every second of its first bytes is 0.
fn is_utf16(text: &[u8]) -> bool {
    let start = &text[..text.len().min(64) / 2 * 2];
    let zeros = |odd: usize| start.len() >= 8 && start.iter().skip(odd).step_by(2).all(|&byte| byte == 0);
    text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") || zeros(0) || zeros(1)
}

/// Returns the fields of the first line.
///
/// # Errors
/// When one of them is none.
pub fn header_of(file: &TextFile, separator: Separator) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    match record(file.bytes(), 0, separator, &mut fields) {
        Ok(_) => {
            let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
            Ok(fields.iter().map(|field| text(field.bytes(file.bytes()))).collect())
        }
        Err(bad) => Err(Error::Malformed {
            path: file.path.clone(),
            line: Some(1),
            found: bad.found(file.first_line()),
            expected: bad.expected(),
        }),
    }
}

fn record_end(file: &[u8], separator: Separator) -> usize {
    record(file, 0, separator, &mut Vec::new()).unwrap_or_else(|_| line_at(file, 0).len() + 1).min(file.len())
}
